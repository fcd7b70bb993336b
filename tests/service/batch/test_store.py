"""What a population review finds becomes alerts of one client: by the command, on both databases, once each."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from rules.errors import Unavailable
from service.alerts import models
from service.alerts.access import mint_token, new_account
from service.alerts.database import Database
from service.alerts.keyring import open_keyring
from service.alerts.store import Store
from service.app import create_app
from service.batch.cli import app
from service.batch.storing import Handover
from service.replay import replay
from service.settings import Settings
from tests.service.alerts.conftest import (  # noqa: F401 - fixtures
    database_url,
    postgres_server,
    record_connection,
    record_server,
)
from tests.service.batch.people import (
    WARFARIN,
    lab,
    of_each_type,
    patient,
    request,
    statement,
    write_lines,
)
from tests.service.batch.people import bundle as bundled
from tests.service.batch.test_review import hook_call

NIGHTS = [f"2026-11-{day}T02:00:00+00:00" for day in (19, 20, 21)]
VIEW = "/cds-services/vitamin-dk-patient-view"
RULE = "vka-k-ongoing-unmonitored"


def on_warfarin(key="ada", *more, words="Vitamin K2 MK-7 100 mcg daily"):
    """Somebody on warfarin who has taken vitamin K2 for months, without a recent INR."""
    return [
        patient(key),
        *of_each_type(key),
        request(key, WARFARIN, 1),
        statement(key, None, 1, words=words, start="2026-05-10"),
        lab(key, "6301-6", 2.4, "{INR}", 1, taken="2026-06-01"),
        *more,
    ]


class Site:
    """One installation: its store, and the command as it is run there."""

    def __init__(self, url, folder):
        self.folder = folder
        self.url = url
        self.settings = {
            "DEKACARD_DEV": "true",
            "DEKACARD_STORE_URL": url,
            "DEKACARD_SPOOL_DIR": str(folder / "spool"),
            "DEKACARD_KEYRING": str(folder / "keys.json"),
        }
        self.runs = 0

    def arguments(self, people, as_of, client="developer"):
        self.runs += 1
        given = self.folder / f"in-{self.runs}"
        given.mkdir()
        for number, own in enumerate(people):
            (given / f"{number}.json").write_text(json.dumps(bundled(own)))
        out = self.folder / f"out-{self.runs}"
        return [str(given), "--out", str(out), "--as-of", as_of, "--workers", "1", "--quiet", "--store", "--client", client]  # fmt: skip

    def review(self, people, as_of, client="developer", code=0):
        done = CliRunner(env=self.settings).invoke(app, self.arguments(people, as_of, client))
        assert done.exit_code == code, (done.output, done.exception)
        return done

    def open(self):
        database = Database(self.url)
        return Store(database, open_keyring(self.folder / "keys.json", create=False))

    def rows(self, table, *where):
        database = Database(self.url)
        try:
            with database.reading() as connection:
                return connection.execute(select(table).where(*where)).all()
        finally:
            database.close()

    def alerts(self, rule=RULE):
        return self.rows(models.alert, models.alert.c.rule == rule)

    def service(self, at):
        made = {
            "dev": True,
            "store_url": self.url,
            "spool_dir": self.folder / "spool",
            "keyring": self.folder / "keys.json",
        }
        running = create_app(Settings(**made), clock=lambda: datetime.fromisoformat(at))
        return TestClient(running, base_url="http://127.0.0.1:8080")


@pytest.fixture
def site(database_url, tmp_path):  # noqa: F811
    return Site(database_url, tmp_path)


def settled(service, calls):
    """Wait until the store has taken in that many evaluations of hooks."""
    database = service.app.state.recorder.database
    table = models.evaluation
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with database.reading() as connection:
            if connection.scalar(select(func.count()).where(table.c.run == "")) == calls:
                return
        time.sleep(0.05)
    raise AssertionError("the spool was not taken in")


def test_a_thousand_calls_and_three_runs_of_one_problem_are_one_alert(site):
    own = on_warfarin()
    for night in NIGHTS:
        site.review([own], night)
    with site.service("2026-11-22T12:00:00+00:00") as service:
        body = hook_call(own, [])
        for _ in range(1000):
            assert service.post(VIEW, json=body).status_code == 200
        settled(service, 1000)
    (alert,) = site.alerts()
    assert alert.seen_count == 1003
    seen = {(one.origin.partition("/")[0], one.times) for one in site.rows(models.occurrence, models.occurrence.c.alert == alert.id)}  # fmt: skip
    assert seen == {("run", 1), (f"vitamin-dk-patient-view:{body['hookInstance']}", 1000)}
    assert alert.last_seen > alert.first_seen


def test_the_same_run_again_changes_nothing(site):
    site.review([on_warfarin()], NIGHTS[0])
    before = site.alerts(), len(site.rows(models.evaluation)), len(site.rows(models.event))
    site.review([on_warfarin()], NIGHTS[0])
    assert (site.alerts(), len(site.rows(models.evaluation)), len(site.rows(models.event))) == before  # fmt: skip
    site.review([on_warfarin()], NIGHTS[1])
    assert site.alerts()[0].seen_count == 2


def told_of_record(done):
    """What the command says it did to the record."""
    return re.search(r"Into the record: (.*)\.", done.output)[1]


def test_a_run_says_what_it_opened_saw_again_and_closed_and_not_what_was_done_before(site):
    first = site.review([on_warfarin()], NIGHTS[0])
    assert len(site.rows(models.alert)) == 1
    assert told_of_record(first) == "1 patients, 1 alerts opened"
    same = site.review([on_warfarin()], NIGHTS[0])
    assert told_of_record(same) == "nothing new; 1 patients of this very run were there before"
    audited = site.rows(models.audit, models.audit.c.action == "run")
    assert ["opened=1" in one.after.split(",") for one in audited] == [True, False]
    later = site.review([on_warfarin()], NIGHTS[1])
    assert told_of_record(later) == "1 patients, 1 alerts seen again"
    without = [one for one in on_warfarin() if one.get("id") != "ada-s1"]
    last = site.review([without], NIGHTS[2])
    assert told_of_record(last) == ("1 patients, 1 alerts closed, since their facts no longer hold")


def test_a_run_clears_what_no_longer_holds_only_if_everything_was_read(site):
    site.review([on_warfarin()], NIGHTS[0])
    kept = [one for one in on_warfarin() if one["resourceType"] != "MedicationStatement"]
    site.review([kept], NIGHTS[1])
    assert site.alerts()[0].state == "new"
    without = [one for one in on_warfarin() if one.get("id") != "ada-s1"]
    site.review([without], NIGHTS[2])
    assert site.alerts()[0].state == "cleared"


def test_a_patient_about_whom_nothing_is_said_any_more_is_cleared(site):
    """Nothing at all is left to say about somebody of middle age without medicines; the alert ends all the same."""
    adult = [{**one, "birthDate": "1985-03-04"} if one["resourceType"] == "Patient" else one for one in on_warfarin()]  # fmt: skip
    site.review([adult], NIGHTS[0])
    assert site.alerts()
    quiet = [one for one in adult if one["id"] not in {"ada-s1", "ada-r1", "ada-o1"}]
    site.review([quiet], NIGHTS[1])
    told = (site.folder / "out-2" / "recommendations.csv").read_text().splitlines()
    assert len(told) == 1
    assert {one.state for one in site.rows(models.alert)} == {"cleared"}


def test_silence_about_somebody_known_by_name_alone_ends_an_alert(site, tmp_path):
    """Most of a population are known by their Patient line alone, and are not reviewed one by one."""
    others = {f"p{number}": [patient(f"p{number}", "1985-03-04")] for number in range(20)}
    reader = {"eve": [patient("eve", "1985-03-04"), *of_each_type("eve")]}
    site.review([on_warfarin("zoe")], NIGHTS[0])
    assert {one.state for one in site.rows(models.alert)} == {"new"}
    folder = write_lines(
        tmp_path / "lines", {**others, **reader, "zoe": [patient("zoe", "1985-03-04")]}, []
    )
    arguments = site.arguments([], NIGHTS[1])
    done = CliRunner(env=site.settings).invoke(app, [str(folder), *arguments[1:]])
    assert done.exit_code == 0, done.output
    assert {one.state for one in site.alerts()} == {"cleared"}
    last = site.rows(models.evaluation, models.evaluation.c.as_of > site.alerts()[0].first_seen)
    assert len(last) == 1


def exported(site, moment, request, as_of=""):
    """The command for an export by line, with its manifest: Ada's Patient alone, and all that Bob has."""
    folder = site.folder / f"export-{site.runs}"
    write_lines(folder, {"ada": [patient("ada")], "bob": on_warfarin("bob")}, [], parts=1)
    output = [
        {"type": path.name.partition(".")[0], "url": f"https://x/{path.name}"}
        for path in folder.iterdir()
    ]
    manifest = {"transactionTime": moment, "request": request, "output": output}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    _, *rest = site.arguments([], as_of)
    if not as_of:
        del rest[rest.index("--as-of") : rest.index("--as-of") + 2]
    return [str(folder), *rest]


@pytest.mark.parametrize(
    "narrowed",
    ["_since=2026-11-19T02:00:00Z", "_typeFilter=Observation%3Fstatus%3Dfinal", "_elements=id", ""],
)
def test_an_export_of_a_part_ends_no_alert_and_says_so(site, narrowed):
    site.review([on_warfarin()], NIGHTS[0])
    (alert,) = site.alerts()
    arguments = exported(site, NIGHTS[1], f"https://x/$export?{narrowed}")
    done = CliRunner(env=site.settings).invoke(app, arguments)
    assert done.exit_code == (12 if narrowed else 0), done.output
    state = {one.id: one.state for one in site.alerts()}[alert.id]
    assert state == ("new" if narrowed else "cleared")


def test_an_old_export_is_not_taken_for_newer_than_it_is(site):
    site.review([on_warfarin()], NIGHTS[1])
    arguments = exported(site, NIGHTS[0], "https://x/$export", as_of=NIGHTS[2])
    done = CliRunner(env=site.settings).invoke(app, arguments)
    assert done.exit_code == 1, done.output
    assert "2026-11-19T02:00:00+00:00" in str(done.exception)
    assert [one.state for one in site.alerts()] == ["new"]
    same = exported(site, "2026-11-21T03:00:00+01:00", "https://x/$export", as_of=NIGHTS[2])
    done = CliRunner(env=site.settings).invoke(app, same)
    assert done.exit_code == 0, done.output


def test_a_line_that_may_be_anybodys_keeps_alerts_open(site):
    site.review([on_warfarin()], NIGHTS[0])
    without = [one for one in on_warfarin() if one.get("id") != "ada-s1"]
    arguments = site.arguments([without], NIGHTS[1])
    (Path(arguments[0]) / "MedicationStatement.ndjson").write_text('{"resourceType": "Medicat\n')
    done = CliRunner(env=site.settings).invoke(app, arguments)
    assert done.exit_code == 12
    assert site.alerts()[0].state == "new"


def test_an_older_export_neither_clears_nor_reopens(site):
    site.review([on_warfarin()], NIGHTS[2])
    site.review([[one for one in on_warfarin() if one.get("id") != "ada-s1"]], NIGHTS[0])
    assert site.alerts()[0].state == "new"


def test_amended_and_mistaken_results_mark_their_alerts_by_a_run_and_by_a_hook(site):
    inr = lab("ada", "6301-6", 5.6, "{INR}", 2, taken="2026-11-18")
    own = on_warfarin("ada", inr)
    site.review([own], NIGHTS[0])
    marked = "vka-inr-high-no-otc-k"
    assert [one.evidence_state for one in site.alerts(marked)] == [""]
    wrong = {**inr, "status": "entered-in-error"}
    site.review([[one if one is not inr else wrong for one in own]], NIGHTS[1])
    assert {one.evidence_state for one in site.alerts(marked)} == {"withdrawn"}
    amended = {**inr, "status": "amended", "valueQuantity": {**inr["valueQuantity"], "value": 2.6}}
    bob = [json.loads(json.dumps(one).replace("ada", "bob")) for one in own]
    with site.service("2026-11-22T12:00:00+00:00") as service:
        service.post(VIEW, json=hook_call(bob, []))
        mended = [json.loads(json.dumps(one).replace("ada", "bob")) for one in [*own[:-1], amended]]
        service.post(VIEW, json=hook_call(mended, []))
        settled(service, 2)
    assert sorted(one.evidence_state for one in site.alerts(marked)) == ["amended", "withdrawn"]


def test_a_withdrawn_prescription_marks_its_alert(site):
    own = on_warfarin()
    site.review([own], NIGHTS[0])
    wrong = [{**one, "status": "entered-in-error"} if one.get("id") == "ada-s1" else one for one in own]  # fmt: skip
    site.review([wrong], NIGHTS[1])
    assert site.alerts()[0].evidence_state == "withdrawn"


def test_the_run_stands_in_the_list_and_can_be_replayed(site):
    site.review([on_warfarin()], NIGHTS[0])
    with site.service("2026-11-22T12:00:00+00:00") as service:
        record = service.app.state.recorder
        now = datetime(2026, 11, 22, tzinfo=UTC)
        new_account(record.database, record.keyring, tenant="developer", name="eve", role="reader", actor="operator", now=now)  # fmt: skip
        token = mint_token(record.database, record.keyring, tenant="developer", account="eve", actor="operator", now=now)  # fmt: skip
        (run,) = service.get("/api/v1/runs", headers={"authorization": f"Bearer {token}"}).json()
    assert run["state"] == "done"
    assert run["counts"]["in"] == 1
    assert run["counts"]["opened"] == len(site.rows(models.alert))
    store = site.open()
    try:
        assert replay(store, "developer", site.alerts()[0].evaluation).same
    finally:
        store.database.close()


def test_modes_are_those_of_the_client(site):
    clients = site.folder / "clients"
    clients.mkdir()
    for name, rules in (
        ("careful", {"mode": "live", "accept_draft": False}),
        ("trial", {"mode": "live", "accept_draft": True, "each": {RULE: "off"}}),
    ):
        made = {"id": name, "title": name, "rules": rules}
        made["trust"] = {"issuers": [f"https://{name}.example.org"], "jwks": {"keys": []}, "audience_base": "https://cds.example.org"}  # fmt: skip
        (clients / f"{name}.yaml").write_text(yaml.safe_dump(made))
    site.settings["DEKACARD_CLIENTS"] = str(clients)
    site.review([on_warfarin()], NIGHTS[0], "careful")
    high = lab("ada", "6301-6", 5.6, "{INR}", 2, taken="2026-11-18")
    site.review([on_warfarin("ada", high)], NIGHTS[0], "trial")
    site.review([on_warfarin()], NIGHTS[0], "nobody", code=1)
    assert {(one.tenant, one.mode) for one in site.alerts()} == {("careful", "shadow")}
    others = {(one.tenant, one.mode) for one in site.rows(models.alert, models.alert.c.rule != RULE)}  # fmt: skip
    assert ("trial", "live") in others


def test_what_cannot_be_stored_is_refused_before_anything_is_written(site):
    for wrong in (["--store"], ["--store", "--client", "developer", "--profile", "uk-2026"]):
        done = CliRunner(env=site.settings).invoke(app, [*site.arguments([on_warfarin()], NIGHTS[0])[:6], *wrong])  # fmt: skip
        assert done.exit_code == 2, done.output
    future = f"{datetime.now(UTC).year + 1}-01-01T00:00:00+00:00"
    site.review([on_warfarin()], future, code=1)
    assert not site.rows(models.alert)


_START = (
    "import service.batch.storing as s; s._AT_ONCE = 2; "
    "import time; taken = s.Handover._take; "
    "s.Handover._take = lambda self, lines: (taken(self, lines), time.sleep(0.05))[0]; "
    "from service.batch.cli import app; app()"
)


def test_killed_while_it_is_handed_over_and_resumed_nothing_is_lost_and_nothing_twice(site):
    people = [on_warfarin(f"p{number:02}") for number in range(24)]
    arguments = site.arguments(people, NIGHTS[0])
    environment = {**os.environ, **site.settings}
    whole = len(people)
    for kills, wanted in enumerate((1, 5, 12, 20)):
        command = [sys.executable, "-c", _START, *arguments, *["--resume"] * (kills > 0)]
        run = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
        while run.poll() is None and stored(site) < wanted:
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.communicate(timeout=60)
        assert run.returncode == -signal.SIGKILL
    assert stored(site) < whole
    done = CliRunner(env=site.settings).invoke(app, [*arguments, "--resume"])
    assert done.exit_code == 0, (done.output, done.exception)
    assert stored(site) == whole
    assert {one.seen_count for one in site.alerts()} == {1}
    assert len(site.alerts()) == whole
    assert len(site.rows(models.audit, models.audit.c.action == "review")) == whole


def stored(site):
    try:
        return len(site.rows(models.evaluation))
    except (Unavailable, DBAPIError):  # the store is made by the run itself
        return 0


def test_a_store_that_stops_answering_is_told_and_the_run_goes_on_later(site, monkeypatch):
    def silent(*_):
        raise Unavailable("the store does not answer")

    arguments = site.arguments([on_warfarin()], NIGHTS[0])
    for step in ("_outcome_of", "_with_alerts"):
        with monkeypatch.context() as broken:
            broken.setattr(Handover, step, silent)
            done = CliRunner(env=site.settings).invoke(app, [*arguments, "--resume"])
        assert done.exit_code == 13, done.output
        assert "--resume" in done.output
        Path(arguments[2], ".work", "watched").unlink(missing_ok=True)
    done = CliRunner(env=site.settings).invoke(app, [*arguments, "--resume"])
    assert done.exit_code == 0, done.output
    assert {one.seen_count for one in site.alerts()} == {1}
