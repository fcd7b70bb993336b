"""The whole service with its record: a call becomes an alert, its card finds its feedback, its answer its replay."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from rules.errors import EngineError
from service.alerts import models
from service.alerts.access import mint_token, new_account
from service.app import create_app
from service.replay import replay
from service.settings import Settings
from tests.service.alerts import kill, outage
from tests.service.alerts.patience import wait_until

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
VIEW = "/cds-services/vitamin-dk-patient-view"
T = "developer"


@pytest.fixture
def request_body():
    return json.loads((kill.EXAMPLES / "01-warfarin-new-mk7-coded.json").read_text())


@pytest.fixture
def running(database_url, tmp_path):
    settings = Settings(
        dev=True,
        store_url=database_url,
        spool_dir=tmp_path / "spool",
        keyring=tmp_path / "keys.json",
    )
    with TestClient(
        create_app(settings, clock=lambda: NOON), base_url="http://127.0.0.1:8080"
    ) as client:
        yield client


def wait_for(running, table, *where):
    """Rows of a table, as soon as there are any."""
    database = running.app.state.recorder.database

    def rows():
        with database.reading() as connection:
            return connection.execute(select(table).where(*where)).all()

    return wait_until(rows)


def test_a_call_becomes_an_alert_that_can_be_answered_and_replayed(running, request_body):
    answer = running.post(VIEW, json=request_body).json()
    card = answer["cards"][0]
    alert = wait_for(running, models.alert)[0]
    assert (alert.tenant, alert.indicator, alert.summary) == (T, card["indicator"], card["summary"])
    told = {"feedback": [{"card": card["uuid"], "outcome": "overridden", "outcomeTimestamp": "2026-11-22T12:00:05Z",
                          "overrideReason": {"reason": card["overrideReasons"][0]}}]}  # fmt: skip
    assert running.post(f"{VIEW}/feedback", json=told).status_code == 200
    (kept,) = wait_for(running, models.feedback, models.feedback.c.matched == 1)
    assert kept.reason_code == card["overrideReasons"][0]["code"]
    wait_for(running, models.pack_archive)
    record = running.app.state.recorder
    done = replay(record.store(), T, alert.evaluation, today=running.app.state.engine)
    assert done.same
    assert done.since == {"added": [], "gone": [], "changed": []}


def test_what_was_dismissed_is_not_said_again_until_it_changes(running, request_body):
    card = running.post(VIEW, json=request_body).json()["cards"][0]
    told = {"feedback": [{"card": card["uuid"], "outcome": "overridden", "outcomeTimestamp": "2026-11-22T11:59:00Z",
                          "overrideReason": {"reason": card["overrideReasons"][0]}}]}  # fmt: skip
    running.post(f"{VIEW}/feedback", json=told)
    wait_for(running, models.answer, models.answer.c.outcome == "overridden")
    again = {**request_body, "hookInstance": "00000000-0000-4000-8000-000000000001"}

    def is_silent():  # a store that takes too long to tell what was dismissed delays no card
        answer = running.post(VIEW, json=again).json()
        return card["summary"] not in [one["summary"] for one in answer["cards"]]

    wait_until(is_silent, looks=200)
    wait_for(running, models.evaluation, models.evaluation.c.hook_instance.endswith("0001"))
    (alert, *_) = wait_for(running, models.alert, models.alert.c.summary == card["summary"])
    assert alert.state == "new", "the pharmacist still sees it"


@pytest.mark.parametrize(
    ("key", "kind"), [("inr", "Observation"), ("medicationStatements", "MedicationStatement")]
)
def test_a_record_taken_back_marks_the_alerts_that_rest_on_it(running, key, kind):
    body = json.loads((kill.EXAMPLES / "08-low-inr-on-k2.json").read_text())
    running.post(VIEW, json=body)
    alerts = wait_for(running, models.alert)
    record = body["prefetch"][key]["entry"][0]["resource"]
    reference = f"{kind}/{record['id']}"
    resting = {one.id for one in alerts if reference in json.loads(one.sources)}
    assert resting
    record["status"] = "entered-in-error"
    body["hookInstance"] = "00000000-0000-4000-8000-000000000002"
    answer = running.post(VIEW, json=body).json()
    assert "gaps" not in answer["extension"]["org.dekacard.review"], (
        "an error that was taken back is no gap"
    )
    marked = wait_for(running, models.alert, models.alert.c.evidence_state == "withdrawn")
    assert {one.id for one in marked} == resting
    wait_for(running, models.event, models.event.c.action == "evidence-withdrawn")


def test_a_call_that_breaks_the_engine_is_a_503_and_an_alert(running, request_body, monkeypatch):
    def broken(*_args, **_more):
        raise EngineError("the sentinel is missing")

    monkeypatch.setattr(running.app.state.engine, "assess", broken)
    assert running.post(VIEW, json=request_body).status_code == 503
    (alert,) = wait_for(running, models.alert)
    assert (alert.kind, alert.about) == ("not-evaluated", "engine-fault")


def test_a_call_whose_cards_cannot_be_written_is_an_alert_too(running, request_body, monkeypatch):
    def broken(*_args, **_more):
        raise EngineError("no words")

    monkeypatch.setattr(running.app.state.parts.cards, "write", broken)
    assert running.post(VIEW, json=request_body).status_code == 503
    (alert,) = wait_for(running, models.alert)
    assert (alert.kind, alert.about) == ("not-evaluated", "engine-fault")


def test_the_interface_stands_in_openapi_and_answers_to_a_token(running, request_body):
    paths = running.get("/openapi.json").json()["paths"]
    assert {
        "/api/v1/alerts",
        "/api/v1/alerts/{number}/actions",
        "/api/v1/rules",
        "/api/v1/runs",
    } <= paths.keys()
    running.post(VIEW, json=request_body)
    wait_for(running, models.alert)
    record, given = running.app.state.recorder, {"tenant": T, "actor": "operator", "now": NOON}
    new_account(record.database, record.keyring, name="ann", role="pharmacist", **given)
    token = mint_token(record.database, record.keyring, account="ann", **given)
    assert running.get("/api/v1/alerts").status_code == 401
    answer = running.get("/api/v1/alerts", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["alerts"][0]["state"] == "new"


def test_kills_of_the_service_lose_nothing_that_was_answered(database_url, database, tmp_path):
    database.close()
    answered = kill.kill_the_service(tmp_path, database_url, 2)
    result = kill.unrecorded(tmp_path, database_url, answered)
    assert result["answered"] >= 2
    assert (result["lost"], result["twice"], result["unaudited"], result["faults"]) == (0, 0, 0, 0)
    assert Path(tmp_path / "spool").is_dir()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_hooks_and_feedback_are_answered_while_the_store_is_away_and_all_of_it_is_kept(
    tmp_path, request_body, kind
):
    """From request to card, with everything else that a call asks the store for: modes, silences, earlier answers."""
    with outage.store_that_goes(tmp_path, kind) as (url, away):
        settings = Settings(
            dev=True, store_url=url, spool_dir=tmp_path / "spool", keyring=tmp_path / "keys.json",
            engine="compiled",
        )  # fmt: skip
        serving = create_app(settings, clock=lambda: NOON)
        with TestClient(serving, base_url="http://127.0.0.1:8080") as client:

            def call(number):
                instance = f"00000000-0000-4000-8000-{number:012d}"
                answer = client.post(VIEW, json={**request_body, "hookInstance": instance})
                assert answer.status_code == 200
                return answer.json()["cards"]

            cards = call(0)
            wait_for(client, models.evaluation)
            with away():
                for number in range(1, 21):
                    assert [card["summary"] for card in call(number)] == [cards[0]["summary"]]
                told = {"feedback": [{"card": cards[0]["uuid"], "outcome": "accepted",
                                      "outcomeTimestamp": "2026-11-22T12:00:05Z"}]}  # fmt: skip
                assert client.post(f"{VIEW}/feedback", json=told).status_code == 200
            wait_for(client, models.feedback, models.feedback.c.matched == 1)
            kept = wait_for(
                client, models.evaluation, models.evaluation.c.hook_instance.endswith("20")
            )
            assert kept
            with serving.state.recorder.database.reading() as connection:
                counted = connection.scalar(select(func.count()).select_from(models.evaluation))
                seen = connection.scalar(select(models.alert.c.seen_count))
            assert (counted, seen) == (21, 21)
