"""Every refusal of the service: FHIR's OperationOutcome, readable in a browser, and nothing of what was sent in it."""

import copy
import json
import logging
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import yaml
from fastapi.testclient import TestClient

from rules.errors import EngineError
from service.alerts.access import mint_token as api_token
from service.alerts.access import new_account
from service.alerts.record import open_record
from service.app import create_app
from service.bootstrap import record_options
from service.cds_hooks.minting import make_key, mint_token
from service.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BASE, ISSUER = "https://cds.example.org", "https://ehr.example.org"
VIEW = "/cds-services/vitamin-dk-patient-view"
CANARIES = ("canary-token", "Canaria", "canary-patient")
LIMIT = 40


@pytest.fixture(scope="module")
def house(tmp_path_factory, root):
    """The service as in production: one client with signed tokens, a record, and people who may use the interface."""
    folder = tmp_path_factory.mktemp("house")
    key = make_key("ES384", "k")
    profile = {
        "id": "st-elsewhere", "title": "St Elsewhere", "calls_per_minute": LIMIT, "origins": [ISSUER],
        "rules": {"mode": "live", "accept_draft": True}, "fhir": {"fetch": False},
        "trust": {"issuers": [ISSUER], "jwks": key.public_set(), "audience_base": BASE},
    }  # fmt: skip
    (folder / "clients").mkdir()
    (folder / "clients" / "one.yaml").write_text(yaml.safe_dump(profile))
    settings = Settings(
        clients=folder / "clients", engine="compiled", max_body_bytes=200_000, jti_store=f"sqlite:///{folder}/jti",
        store_url=f"sqlite:///{folder}/record.sqlite", spool_dir=folder / "spool", keyring=folder / "keys",
    )  # fmt: skip
    open_record(record_options(settings), create_keys=True, upgrade=True).close()
    app = create_app(settings, clock=lambda: NOON)
    body = json.loads((root / "examples" / "01-warfarin-new-mk7-coded.json").read_text())
    patient = body["context"]["patientId"]
    body = json.loads(json.dumps(body).replace(patient, "canary-patient"))
    body["prefetch"]["patient"] |= {"name": [{"family": "Canaria"}]}
    body |= {"fhirServer": ISSUER, "fhirAuthorization": {"access_token": "canary-token"}}
    record, now = app.state.recorder, app.state.clock()
    keys: dict[str, str] = {}
    for role in ("pharmacist", "auditor"):
        given = {"tenant": "st-elsewhere", "actor": "operator", "now": now}
        new_account(record.database, record.keyring, name=role, role=role, **given)
        keys[role] = api_token(record.database, record.keyring, account=role, **given)

    tokens: list[str] = []

    def ask(method, path, *, content=None, bearer=None, kind="application/json", **more):
        audience = BASE + path.rstrip("/")
        token = bearer or mint_token(key, issuer=ISSUER, audience=audience, now=NOON.timestamp())
        tokens.append(token)
        headers = {"origin": ISSUER, "authorization": f"Bearer {token}", "content-type": kind}
        sent = json.dumps(body).encode() if content is None and method == "POST" else content
        return client.request(
            method, path, content=sent, headers=headers, follow_redirects=False, **more
        )

    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
        yield SimpleNamespace(ask=ask, client=client, body=body, keys=keys, app=app, tokens=tokens)


@pytest.fixture
def logged(house, caplog, capfd):
    """What a call left in the log; no token is ever in it, nor anything of the record."""
    house.tokens.clear()
    caplog.set_level(logging.DEBUG)
    caplog.set_level(
        logging.WARNING, "httpx2"
    )  # who calls in these tests tells of its own requests

    def read():
        told = caplog.text + "".join(capfd.readouterr())
        assert not [token for token in house.tokens if token in told]
        assert not [canary for canary in CANARIES if canary in told]
        return told

    return read


def assert_refused(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert answer.headers["access-control-allow-origin"] == ISSUER
    issue = answer.json()["issue"][0]
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert issue["severity"] == "error"
    assert issue["details"]["text"]
    told = answer.text + str(answer.headers)
    assert not [canary for canary in CANARIES if canary in told]


def without_medications(house):
    body = copy.deepcopy(house.body)
    del body["prefetch"]["medicationStatements"], body["prefetch"]["medicationRequests"]
    return json.dumps(body).encode()


# status -> how a caller gets it
CALLS = {
    400: lambda house: house.ask("POST", VIEW, content=b'{"hook": "Canaria", "canary-token"'),
    401: lambda house: house.ask("POST", VIEW, bearer="canary-token"),
    403: lambda house: house.ask(
        "POST", "/api/v1/alerts/1/actions", bearer=house.keys["auditor"],
        content=json.dumps({"action": "acknowledge", "version": 1, "note": "Canaria"}).encode(),
    ),
    404: lambda house: house.ask("POST", "/cds-services/Canaria"),
    405: lambda house: house.ask("GET", VIEW),
    412: lambda house: house.ask("POST", VIEW, content=without_medications(house)),
    413: lambda house: house.ask("POST", VIEW, content=b'{"x": "' + b"Canaria" * 40_000 + b'"}'),
    415: lambda house: house.ask("POST", VIEW, kind="text/canary-token"),
    422: lambda house: house.ask(
        "GET", "/api/v1/alerts", bearer=house.keys["pharmacist"], params={"size": "Canaria"}
    ),
}  # fmt: skip


@pytest.mark.requirement("C16", "C35", "C68", "C73")
@pytest.mark.parametrize("status", CALLS)
def test_a_refusal_is_an_outcome_that_a_browser_may_read_and_repeats_nothing(house, status, logged):
    assert_refused(CALLS[status](house), status)
    assert house.tokens
    assert ("caller refused" in logged()) == (status in {401, 403})


@pytest.mark.requirement("C68", "C73")
@pytest.mark.parametrize(
    ("fault", "status", "told"),
    [
        (ValueError("Canaria"), 500, "unexpected ValueError at test_statuses.py"),
        (EngineError("nothing was evaluated"), 503, "nothing was evaluated"),
    ],
)
def test_so_is_a_fault_of_ours(house, monkeypatch, fault, status, told, logged):
    def broken(*_, **__):
        raise fault

    monkeypatch.setattr(house.app.state.parts.engine, "assess", broken)
    answer = house.ask("POST", VIEW)
    assert_refused(answer, status)
    assert str(fault) not in answer.text
    assert told in logged()


@pytest.mark.requirement("C68")
def test_a_preflight_from_elsewhere_is_refused_as_everything_is(house):
    asked = {"origin": "https://canary-token.example", "access-control-request-method": "POST"}
    answer = house.client.options(VIEW, headers=asked)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert answer.json()["issue"][0]["code"] == "security"
    assert "access-control-allow-origin" not in answer.headers
    assert "canary-token" not in answer.text + str(answer.headers)
    allowed = house.client.options(VIEW, headers=asked | {"origin": ISSUER})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ISSUER


@pytest.mark.requirement("C5")
@pytest.mark.parametrize("end", ["", "/"])
def test_with_or_without_a_last_slash_and_never_by_a_redirect(house, end):
    said = {"card": "x", "outcome": "accepted", "outcomeTimestamp": "2026-11-22T12:00:00Z"}
    feedback = json.dumps({"feedback": [said]}).encode()
    assert house.ask("POST", f"{VIEW}{end}").status_code == 200
    assert house.ask("POST", f"{VIEW}/feedback{end}", content=feedback).status_code == 200
    assert_refused(house.ask("GET", f"{VIEW}{end}"), 405)
    for method in ("GET", "HEAD"):
        answer = house.ask(method, f"/cds-services{end}")
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ISSUER
        assert answer.headers["content-length"] != "0"
        assert bool(answer.content) == (method == "GET")


@pytest.mark.requirement("C68", "C73")
def test_so_is_a_call_beyond_the_limit(house, logged):
    answers = [house.ask("POST", VIEW, content=b"{}") for _ in range(LIMIT + 1)]
    assert "429 to client st-elsewhere: hook beyond its limit" in logged()
    assert_refused(answers[-1], 429)
    assert int(answers[-1].headers["retry-after"]) >= 1
