"""The packs of a running service change without a restart: new words at the next call, broken packs refused."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from rules.rulebook import load_rulebook
from service.alerts.access import mint_token, new_account
from service.alerts.database import Database
from service.alerts.keyring import open_keyring
from service.app import create_app
from service.settings import Settings
from tests.service.alerts import kill
from tests.service.alerts.patience import wait_until

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
VIEW = "/cds-services/vitamin-dk-patient-view"
ADDRESS = "http://127.0.0.1:8080"
BODY = json.loads((kill.EXAMPLES / "01-warfarin-new-mk7-coded.json").read_text())
PACKS = ("core", "vitamin-k-antagonists")


@pytest.fixture
def folder(tmp_path):
    """The pack of the anticoagulants, copied to where a hospital would keep its own."""
    (pack,) = (one for one in load_rulebook(PACKS).packs if one.head.id == "vitamin-k-antagonists")
    made = tmp_path / "packs" / pack.folder.name
    shutil.copytree(pack.folder, made, ignore=shutil.ignore_patterns("__pycache__"))
    head = made / "pack.toml"
    head.write_text(
        head.read_text().replace('id = "vitamin-k-antagonists"', 'id = "ward-seven"', 1)
    )
    return made


@pytest.fixture
def settings(folder, tmp_path):
    return Settings(
        dev=True, packs=("core", "ward-seven"), pack_dirs=(folder.parent,), store_url=f"sqlite:///{tmp_path}/record.db",
        spool_dir=tmp_path / "spool", keyring=tmp_path / "keys.json", engine="compiled",
    )  # fmt: skip


@pytest.fixture
def running(settings):
    with TestClient(create_app(settings, clock=lambda: NOON), base_url=ADDRESS) as client:
        yield client


def token_of(database, keyring, role, now=NOON):
    given = {"tenant": "developer", "actor": "operator", "now": now}
    new_account(database, keyring, name=role, role=role, **given)
    return {"Authorization": f"Bearer {mint_token(database, keyring, account=role, **given)}"}


def admin(running):
    record = running.app.state.recorder
    return token_of(record.database, record.keyring, "admin")


def say_otherwise(folder, words="REWORDED"):
    """Let every card of the pack begin with another word."""
    cards = folder / "cards.yaml"
    text, changed = re.subn(
        r"^(  summary: [\"']?)", rf"\g<1>{words} ", cards.read_text(), flags=re.MULTILINE
    )
    assert changed
    cards.write_text(text)


def summary(answer):
    return answer["cards"][0]["summary"]


def test_new_words_are_said_at_the_next_call(running, folder):
    who = admin(running)
    assert not summary(running.post(VIEW, json=BODY).json()).startswith("REWORDED")
    before = running.app.state.parts.engine.rulebook.digest
    say_otherwise(folder)
    told = running.post("/api/v1/packs/reload", headers=who)
    assert told.status_code == 200, told.text
    assert told.json()["knowledge"] != before
    assert summary(running.post(VIEW, json=BODY).json()).startswith("REWORDED")


def test_broken_packs_are_refused_with_reasons_and_the_old_ones_stay(running, folder, caplog):
    who = admin(running)
    before = running.post(VIEW, json=BODY).json()
    story = next(
        one for one in (folder / "vignettes").glob("*.yaml") if "expect: nothing" in one.read_text()
    )
    sound = story.read_text()
    story.write_text(sound.replace("expect: nothing", "expect: [vka-inr-high]", 1))
    told = running.post("/api/v1/packs/reload", headers=who)
    assert told.status_code == 409
    assert "vka-inr-high" in told.json()["problems"][0]
    assert "new packs refused" in caplog.text
    story.write_text(sound)
    (folder / "rules.py").write_text("this is no Python")
    told = running.post("/api/v1/packs/reload", headers=who)
    assert (told.status_code, len(told.json()["problems"])) == (409, 1)
    assert running.post(VIEW, json=BODY).json()["cards"] == before["cards"]


def test_calls_go_on_while_packs_are_exchanged(running, folder):
    who, stop, answers = admin(running), threading.Event(), []

    def ask():
        while not stop.is_set():
            answers.append(running.post(VIEW, json=BODY))

    callers = [threading.Thread(target=ask) for _ in range(3)]
    for one in callers:
        one.start()
    try:
        for words in ("FIRST", "SECOND"):
            say_otherwise(folder, words)
            assert running.post("/api/v1/packs/reload", headers=who).status_code == 200
            done = len(answers)
            while len(answers) < done + 6:
                time.sleep(0.01)
    finally:
        stop.set()
        for one in callers:
            one.join()
    assert {one.status_code for one in answers} == {200}
    assert summary(answers[-1].json()).startswith("SECOND FIRST")


def test_only_an_administrator_may_reload(running):
    record = running.app.state.recorder
    lead = token_of(record.database, record.keyring, "lead")
    assert running.post("/api/v1/packs/reload").status_code == 401
    assert running.post("/api/v1/packs/reload", headers=lead).status_code == 403


@pytest.fixture
def service(folder, settings, tmp_path):
    """The real service with two workers, as a process of its own: its process and address."""
    environment = {
        **os.environ, "DEKACARD_PACKS": "core,ward-seven", "DEKACARD_PACK_DIRS": str(folder.parent),
        "DEKACARD_STORE_URL": settings.store_url, "DEKACARD_SPOOL_DIR": str(settings.spool_dir),
        "DEKACARD_KEYRING": str(settings.keyring), "DEKACARD_ENGINE": "compiled",
    }  # fmt: skip
    log = tmp_path / "log.txt"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve", "--dev", "--port", "0", "--workers", "2"],
            env=environment, stderr=out, stdout=out,
        )  # fmt: skip
        try:
            yield process, lambda: re.search(r"http://[\d.:]+", log.read_text()), log
        finally:
            process.terminate()
            process.wait(timeout=30)


def ask(address, path=VIEW, body=BODY, headers=None):
    """One call on a connection of its own, so that any worker may get it."""
    request = urllib.request.Request(
        address + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", **(headers or {})},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def wait_for(found):
    """What ``found`` gives, as soon as it gives something; a service that does not answer yet gives nothing."""

    def look():
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return found()

    return wait_until(look)


def test_a_signal_or_one_call_reloads_every_worker(service, folder, settings):
    process, started, log = service
    address = wait_for(started).group(0)
    wait_for(lambda: ask(address))
    wait_for(lambda: log.read_text().count("Application startup complete") == 2)
    say_otherwise(folder, "SIGNALLED")
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: log.read_text().count("new packs in force") == 2)
    assert all(summary(ask(address)).startswith("SIGNALLED") for _ in range(10))
    say_otherwise(folder, "CALLED")
    opened = Database(settings.store_url)
    who = token_of(opened, open_keyring(settings.keyring, create=False), "admin", datetime.now(UTC))
    opened.close()
    assert ask(address, "/api/v1/packs/reload", {}, who)["accepted"]
    wait_for(lambda: log.read_text().count("new packs in force") == 4)
    assert all(summary(ask(address)).startswith("CALLED") for _ in range(10))
    assert process.poll() is None
    assert "ended with" not in log.read_text()
