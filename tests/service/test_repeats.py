"""A card that order-select has just shown is not shown again at order-sign, where the client asks for it and only then."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from fastapi.testclient import TestClient

from service.alerts.record import open_record
from service.alerts.values import RecordOptions
from service.app import create_app
from service.cds_hooks.minting import make_key, mint_token
from service.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BASE = "https://cds.hospital.example"
ISSUER = "https://ehr.hospital.example"


class Desk:
    """A clinician at a client whose profile is as given; time moves only when told."""

    def __init__(self, folder, example, *, wanted, deadline_ms=2000):
        self.key, self.now, self.folder = make_key("ES384", "k"), NOON, folder
        self.sign_body = example
        profile = {
            "id": "desk", "title": "Desk", "rules": {"mode": "live", "accept_draft": True},
            "trust": {"issuers": [ISSUER], "jwks": self.key.public_set(), "audience_base": BASE},
            "deadline_ms": deadline_ms, "drop_repeats_between_select_and_sign": wanted,
        }  # fmt: skip
        (folder / "clients").mkdir()
        (folder / "clients" / "desk.yaml").write_text(yaml.safe_dump(profile))
        self.used = folder / "used.sqlite"
        self.settings = Settings(
            engine="compiled", clients=folder / "clients", jti_store=f"sqlite:///{self.used}",
            store_url=f"sqlite:///{folder}/record.sqlite", spool_dir=folder / "spool",
            keyring=folder / "keys.json",
        )  # fmt: skip
        options = RecordOptions(
            database_url=self.settings.store_url, spool=str(folder / "spool"), keyring=str(folder / "keys.json")
        )  # fmt: skip
        open_record(options, create_keys=True, upgrade=True, clock=lambda: NOON).close()
        self.worker = TestClient(self.new_app())

    def new_app(self):
        return create_app(self.settings, clock=lambda: self.now)

    def body(self, hook, **context):
        drafts = self.sign_body["context"]["draftOrders"]
        names = [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in drafts["entry"]]
        chosen = {"selections": names} if hook == "order-select" else {}
        context = self.sign_body["context"] | chosen | context
        return self.sign_body | {"hook": hook, "hookInstance": f"{hook}-1", "context": context}

    def call(self, hook, body=None, worker=None, **context):
        path = f"/cds-services/vitamin-dk-{hook}"
        token = mint_token(self.key, issuer=ISSUER, audience=BASE + path, now=self.now.timestamp())
        answer = (worker or self.worker).post(
            path, json=body or self.body(hook, **context), headers={"authorization": f"Bearer {token}"}
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        return answer.json()


def topics(answer):
    return {card["source"]["topic"]["code"] for card in answer["cards"]}


@pytest.fixture
def example(root):
    return json.loads((root / "examples" / "07-mechanical-valve-order-sign.json").read_text())


@pytest.fixture
def desk(tmp_path, example):
    made = Desk(tmp_path, example, wanted=True)
    yield made
    made.worker.app.state.parts.recorder.close()


@pytest.fixture
def about_draft(desk):
    """Topics of what is said about the draft when it is signed at once."""
    return topics(desk.call("order-sign"))


def test_the_same_card_about_the_same_draft_is_shown_once(desk, about_draft):
    shown = topics(desk.call("order-select"))
    assert shown & about_draft
    signed = desk.call("order-sign")
    assert not topics(signed) & shown & about_draft
    report = signed["extension"]["org.dekacard.review"]
    assert {"reason": "shown at order-select"}.items() <= report["suppressed"][0].items()
    assert report["suppressed"][0]["rule"] in {one["rule"] for one in report["rules"]}


def test_another_worker_knows_it_too(desk, about_draft):
    shown = topics(desk.call("order-select"))
    other = TestClient(desk.new_app())
    assert not topics(desk.call("order-sign", worker=other)) & shown & about_draft
    other.app.state.parts.recorder.close()


def test_signing_twice_says_it_twice(desk, about_draft):
    assert topics(desk.call("order-sign")) == about_draft != set()


def test_order_select_says_it_every_time(desk):
    assert topics(desk.call("order-select")) == topics(desk.call("order-select")) != set()


def with_more_refills(body):
    draft = body["context"]["draftOrders"]["entry"][0]["resource"]
    draft["dispenseRequest"] = {"numberOfRepeatsAllowed": 3}  # no rule reads it
    return body


@pytest.mark.parametrize(
    "change",
    [
        lambda body: with_more_refills(json.loads(json.dumps(body))),
        lambda body: body | {"context": body["context"] | {"userId": "Practitioner/another"}},
        lambda body: body | {"context": body["context"] | {"encounterId": "another"}},
    ],
    ids=["draft changed", "another user", "another encounter"],
)
def test_whatever_differs_is_shown_again(desk, about_draft, change):
    desk.call("order-select")
    assert topics(desk.call("order-sign", change(desk.body("order-sign")))) >= about_draft


def test_a_rewritten_meta_is_no_change(desk, about_draft):
    shown = topics(desk.call("order-select"))
    body = json.loads(json.dumps(desk.body("order-sign")))
    body["context"]["draftOrders"]["entry"][0]["resource"]["meta"] = {"versionId": "9"}
    assert not topics(desk.call("order-sign", body)) & shown & about_draft


def test_after_half_an_hour_it_is_shown_again(desk, about_draft):
    desk.call("order-select")
    desk.now += timedelta(minutes=31)
    assert topics(desk.call("order-sign")) == about_draft


def test_without_the_wish_nothing_is_left_out(tmp_path, example):
    desk = Desk(tmp_path, example, wanted=False)
    shown = topics(desk.call("order-select"))
    assert topics(desk.call("order-sign")) & shown
    desk.worker.app.state.parts.recorder.close()


def test_an_answer_past_its_deadline_does_not_count_as_shown(desk, about_draft, monkeypatch):
    moments = iter(range(0, 10_000, 10))
    monkeypatch.setattr("service.cds_hooks.routes.time.perf_counter", lambda: next(moments))
    desk.call("order-select")
    monkeypatch.undo()
    assert topics(desk.call("order-sign")) == about_draft


def test_when_the_memory_cannot_be_asked_the_card_is_shown(desk, about_draft, monkeypatch):
    desk.call("order-select")

    class Locked:
        def execute(self, statement, *given):
            if "expires >=" in statement:
                raise sqlite3.OperationalError
            return real.execute(statement, *given)

    store = desk.worker.app.state.parts.shown._store
    real = store._open()
    monkeypatch.setattr(store, "_open", Locked)
    assert topics(desk.call("order-sign")) == about_draft
