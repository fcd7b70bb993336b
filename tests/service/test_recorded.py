"""The hooks with a record behind them: what is said is kept, answered feedback silences, failures are kept too."""

import json
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from rules.errors import EngineError
from service import bootstrap
from service.app import create_app
from service.settings import Settings, SettingsRefused

EXAMPLE = Path(__file__).parents[2] / "examples" / "01-warfarin-new-mk7-coded.json"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
VIEW = "/cds-services/vitamin-dk-patient-view"


@pytest.fixture
def application(tmp_path):
    settings = Settings(
        dev=True,
        engine="compiled",
        store_url=f"sqlite:///{tmp_path}/record.sqlite3",
        spool_dir=tmp_path / "spool",
        keyring=tmp_path / "keys.json",
    )
    return create_app(settings, clock=lambda: NOON)


@pytest.fixture
def body():
    return json.loads(EXAMPLE.read_text(encoding="utf-8"))


def eventually(look):
    for _ in range(400):
        found = look()
        if found:
            return found
        time.sleep(0.05)
    return look()


def count(tmp_path, table):
    with sqlite3.connect(f"file:{tmp_path}/record.sqlite3?mode=ro", uri=True) as store:
        return store.execute(f"select count(*) from {table}").fetchone()[0]


def test_an_answer_reaches_the_store(application, body, tmp_path):
    with TestClient(application, base_url="http://localhost") as client:
        assert client.post(VIEW, json=body).status_code == 200
        assert eventually(lambda: count(tmp_path, "evaluation")) == 1
        assert count(tmp_path, "alert") == 1
        assert count(tmp_path, "issued_card") == 1


def test_feedback_silences_the_same_card_and_says_so(application, body):
    with TestClient(application, base_url="http://localhost") as client:
        (card,) = client.post(VIEW, json=body).json()["cards"]
        entry = {
            "card": card["uuid"],
            "outcome": "overridden",
            "overrideReason": {"reason": {"code": "data-wrong", "system": "s"}},
            "outcomeTimestamp": "2026-11-22T12:00:00Z",
        }
        assert client.post(f"{VIEW}/feedback", json={"feedback": [entry]}).status_code == 200

        def silenced():
            answer = client.post(VIEW, json=body).json()
            return answer if not answer["cards"] else None

        report = eventually(silenced)["extension"]["org.dekacard.review"]
        assert [one["rule"] for one in report["suppressed"]] == ["vka-mk7-new"]


def test_a_call_that_could_not_be_evaluated_is_recorded(application, body, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise EngineError("the sentinel did not fire")

    with TestClient(application, base_url="http://localhost") as client:
        monkeypatch.setattr(application.state.parts.engine, "assess", broken)
        assert client.post(VIEW, json=body).status_code == 503
        assert eventually(lambda: count(tmp_path, "evaluation")) == 1
        with sqlite3.connect(f"{tmp_path}/record.sqlite3") as store:
            rows = store.execute("select * from evaluation").fetchall()
        assert "failed" in rows[0]


def test_clients_are_never_served_without_a_record(tmp_path):
    with pytest.raises(SettingsRefused, match="DEKACARD_STORE_URL"):
        bootstrap._record(Settings(clients=tmp_path), lambda: NOON, 0.0)
