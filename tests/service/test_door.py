"""A call is answered the same through the short way in as through the routes of the framework."""

import json
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from rules.errors import EngineError, Unavailable
from service.app import create_app
from service.cds_hooks import routes
from service.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
VIEW = "/cds-services/vitamin-dk-patient-view"
LOCAL = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def app():
    return create_app(
        Settings(dev=True, engine="compiled", max_body_bytes=200_000), clock=lambda: NOON
    )


@pytest.fixture(scope="module")
def ask(app):
    with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as client:

        def both(path, body, kind="application/json"):
            """The answer at the address itself, and at the same one written so that only a route takes it."""
            headers = {"content-type": kind, "origin": LOCAL}
            return [client.post(path + end, content=body, headers=headers) for end in ("", "/")]

        yield both


@pytest.fixture(scope="module")
def body(root):
    return json.loads((root / "examples" / "01-warfarin-new-mk7-coded.json").read_text())


def told(answer):
    return answer.status_code, dict(answer.headers), answer.content


def test_cards_are_the_same_by_either_way(ask, body):
    short, routed = ask(VIEW, json.dumps(body))
    assert short.status_code == 200
    assert short.json()["cards"]
    assert told(short) == told(routed)


@pytest.mark.parametrize(
    ("path", "sent", "kind", "status"),
    [
        (VIEW, "{", "application/json", 400),
        (VIEW, "{}", "text/plain", 415),
        (VIEW, " " * 200_001, "application/json", 413),
        ("/cds-services/nobody", "{}", "application/json", 404),
        (VIEW.replace("patient-view", "order-sign"), None, "application/json", 400),
        (VIEW, "without medications", "application/json", 412),
    ],
)
def test_refusals_are_the_same_by_either_way(ask, body, path, sent, kind, status):
    if sent is None:
        sent = json.dumps(body)
    elif sent == "without medications":
        sent = json.dumps(body | {"prefetch": {}})
    short, routed = ask(path, sent, kind)
    assert short.status_code == status
    assert told(short) == told(routed)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (EngineError("broken"), 503),
        (Unavailable("later", retry_after=7), 503),
        (KeyError("x"), 500),
    ],
)
def test_faults_are_told_the_same_by_either_way(ask, body, monkeypatch, error, status):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(routes, "review", broken)
    short, routed = ask(VIEW, json.dumps(body))
    assert short.status_code == status
    assert short.json()["resourceType"] == "OperationOutcome"
    assert told(short) == told(routed)


def test_an_application_below_another_path_answers_too(app, body):
    from fastapi import FastAPI

    host = FastAPI()
    host.mount("/below", app)
    with TestClient(host, base_url=LOCAL) as client:
        answer = client.post(f"/below{VIEW}", json=body)
    assert answer.status_code == 200
    assert answer.json()["cards"]
