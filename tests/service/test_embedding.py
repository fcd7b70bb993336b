"""A plugin in the plain sense: other programs use it in process, as the page for integrators shows."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import yaml
from fastapi import FastAPI
from fastapi.testclient import TestClient
from markdown_it import MarkdownIt

from service.alerts.record import open_record
from service.alerts.values import RecordOptions
from service.bootstrap import assemble
from service.cds_hooks.minting import make_key, mint_token
from service.embedding import include_hooks
from service.settings import Settings, SettingsRefused

BASE = "https://host.example/vitamins"
ISSUER = "https://ehr.example.org"
VIEW = "/cds-services/vitamin-dk-patient-view"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def shown(root, heading):
    """The program below a heading of the page."""
    tokens = MarkdownIt().parse((root / "docs" / "integrators" / "plugin.md").read_text())
    below = next(
        place
        for place, token in enumerate(tokens)
        if token.type == "inline" and token.content == heading
    )
    return next(token.content for token in tokens[below:] if token.type == "fence")


def run(root, heading):
    """Execute it as it stands; gives what it defines."""
    defined = {"__name__": "shown"}
    exec(compile(shown(root, heading), heading, "exec"), defined)
    return defined


@pytest.fixture
def body(root):
    return json.loads((root / "examples" / "01-warfarin-new-mk7-coded.json").read_text())


@pytest.fixture
def clients(tmp_path, monkeypatch):
    """An environment in which clients are served; gives the client's key."""
    key = make_key("ES384", "k")
    profile = {
        "id": "one", "title": "One", "rules": {"mode": "live", "accept_draft": True},
        "trust": {"issuers": [ISSUER], "jwks": key.public_set(), "audience_base": BASE},
    }  # fmt: skip
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "one.yaml").write_text(yaml.safe_dump(profile))
    store = f"sqlite:///{tmp_path}/record.sqlite"
    for name, value in {
        "CLIENTS": tmp_path / "clients", "STORE_URL": store, "SPOOL_DIR": tmp_path / "spool",
        "KEYRING": tmp_path / "keys.json", "JTI_STORE": f"sqlite:///{tmp_path}/used.sqlite",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"DEKACARD_{name}", str(value))
    options = RecordOptions(
        database_url=store, spool=str(tmp_path / "spool"), keyring=str(tmp_path / "keys.json")
    )
    now = datetime.now(UTC)
    open_record(options, create_keys=True, upgrade=True, clock=lambda: now).close()
    return key


def test_a_review_in_process(root, tmp_path, monkeypatch, capsys, body):
    entries = [e for b in body["prefetch"].values() for e in (b or {}).get("entry", [])]
    entries.append({"resource": body["prefetch"]["patient"]})
    (tmp_path / "patient.json").write_text(json.dumps({"resourceType": "Bundle", "entry": entries}))
    monkeypatch.chdir(tmp_path)
    run(root, "A review without a server")
    assert "warfarin" in capsys.readouterr().out.lower()
    assert [file.name for file in tmp_path.iterdir()] == ["patient.json"]


def test_mounted_below_a_path_of_another_application(root, body):
    app = run(root, "Mounted in another FastAPI application")["app"]
    app.add_api_route("/own", lambda: {"host": "unharmed"})
    with TestClient(app, base_url="http://127.0.0.1:8080") as client:
        answer = client.post(f"/decision-support{VIEW}", json=body)
        assert answer.status_code == 200
        assert answer.json()["cards"]
        refused = client.post(f"/decision-support{VIEW}", content=b"{")
        assert refused.status_code == 400
        assert refused.headers["content-type"].startswith("application/fhir+json")
        assert client.get("/own").json() == {"host": "unharmed"}
        assert client.get("/elsewhere").json() == {"detail": "Not Found"}
    outside = TestClient(app, base_url="https://public.example")
    assert outside.post(f"/decision-support{VIEW}", json=body).status_code == 403


def test_as_routes_of_another_application(root, clients, body):
    app = run(root, "As routes of another application")["app"]

    def token(path):
        now = datetime.now(UTC).timestamp()
        signed = mint_token(clients, issuer=ISSUER, audience=BASE + path, now=now)
        return {"authorization": f"Bearer {signed}"}

    with TestClient(app) as client:
        assert len(client.get("/vitamins/cds-services").json()["services"]) == 5
        answer = client.post(f"/vitamins{VIEW}", json=body, headers=token(VIEW))
        assert answer.status_code == 200
        assert answer.json()["cards"]
        stranger = client.post(f"/vitamins{VIEW}", json=body)
        assert stranger.status_code == 401
        assert stranger.json()["resourceType"] == "OperationOutcome"
        assert client.get("/elsewhere").json() == {"detail": "Not Found"}


def test_open_hooks_are_not_added_to_another_application():
    parts = assemble(Settings(dev=True, engine="compiled"), clock=lambda: NOON)
    with pytest.raises(SettingsRefused, match="client profiles"):
        include_hooks(FastAPI(), parts)


def test_two_services_in_one_process_know_nothing_of_each_other(root, body):
    first, second = (
        assemble(Settings(dev=True, engine="compiled", packs=packs), clock=lambda: NOON)
        for packs in (None, ("core", "vitamin-d-status"))
    )
    from service.app import create_app

    answers = []
    for parts in (first, second, first):
        client = TestClient(create_app(parts.settings, parts=parts), base_url="http://localhost")
        answers.append(client.post(VIEW, json=body).json())
    knowledge = [one["extension"]["org.dekacard.review"]["knowledge"].keys() for one in answers]
    assert knowledge[0] == knowledge[2] > knowledge[1] == {"core", "vitamin-d-status"}
    assert answers[0]["cards"]
    assert not answers[1]["cards"]


IMPORTS = """
import gc, os, signal, sys, threading, logging
watched = []
sys.addaudithook(lambda event, args: watched.append((event, args[0] if args else "")) if event in {
    "socket.connect", "socket.bind", "subprocess.Popen", "os.mkdir", "os.remove", "sqlite3.connect", "os.putenv",
} or event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+") else None)
before = (dict(os.environ), [signal.getsignal(s) for s in (2, 15)], logging.root.handlers[:], logging.root.level)
import service.app, service.embedding, service.review, service.bootstrap, service.cli
import fhir_adapter.reader, rules.engine, rules.rulebook
after = (dict(os.environ), [signal.getsignal(s) for s in (2, 15)], logging.root.handlers[:], logging.root.level)
print([one for one in watched if ".pyc" not in str(one[1])])
print(before == after, threading.active_count(), gc.get_freeze_count(), "durable_rules_engine" in sys.modules)
"""


def test_importing_does_nothing(root, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    touched, rest = done.stdout.splitlines()
    assert touched == "[]"
    assert rest == "True 1 0 False"
    assert list(tmp_path.iterdir()) == []
