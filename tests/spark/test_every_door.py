"""One population through every door: hook calls, Bundles, Bulk Data files, Spark. What is said is the same, byte for byte."""

import json
import sys
from datetime import datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from typer.testing import CliRunner

from service.alerts import models
from service.alerts.database import Database
from service.alerts.keyring import open_keyring
from service.app import create_app
from service.batch.cli import app
from service.evidence_vault import fetch
from service.settings import Settings
from tests.service.batch.everybody import chart_opened, everybody
from tests.service.batch.people import AS_OF, bundle, write_bundles, write_lines
from tests.service.batch.test_review import rows
from tests.service.batch.test_store import settled

ROOT = Path(__file__).parents[2]
VIEW = "/cds-services/vitamin-dk-patient-view"
SAME_FILES = ("DetectedIssue.ndjson", "recommendations.csv", "recommendations.parquet", "failures.ndjson", "rejects.ndjson")  # fmt: skip
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Door:
    """One way in, with a record of its own, so that what came in by another cannot colour it."""

    def __init__(self, folder):
        folder.mkdir()
        self.out = folder / "out"
        self.made = {
            "dev": True,
            "store_url": f"sqlite:///{folder}/record.db",
            "spool_dir": folder / "spool",
            "keyring": folder.parent
            / "keys.json",  # of all doors, so that a patient has one name in all records
        }

    def hooks(self, people, shared):
        """The answers to one call for each patient, at a moment of the test's choosing."""
        running = create_app(Settings(**self.made), clock=lambda: datetime.fromisoformat(AS_OF))
        answers = {}
        with TestClient(running, base_url="http://127.0.0.1:8080") as service:
            for key, own in people.items():
                answer = service.post(VIEW, json=chart_opened(own, shared))
                assert answer.status_code == 200, (key, answer.text)
                answers[key] = answer.json()["extension"]["org.dekacard.review"]
            settled(service, len(people))
        return answers

    def review(self, given, *more):
        """The command, as an analyst calls it; nobody's review may fail."""
        settings = {f"DEKACARD_{name.upper()}": str(value) for name, value in self.made.items()}
        arguments = [str(given), "--out", str(self.out), "--as-of", AS_OF, "--quiet", "--store", "--client", "developer", *more]  # fmt: skip
        done = CliRunner(env=settings).invoke(app, arguments)
        assert done.exit_code == 0, (done.output, done.exception)
        return self

    def recorded(self):
        """The whole answer about each patient in canonical bytes, with all reasons and numbers, as the record keeps it."""
        database = Database(self.made["store_url"])
        keyring = open_keyring(self.made["keyring"], create=False)
        table = models.evaluation
        try:
            with database.reading() as connection:
                return {
                    row.patient: fetch(connection, keyring, row.tenant, row.evidence).canonical()
                    for row in connection.execute(select(table))
                }
        finally:
            database.close()

    def files(self):
        return {name: (self.out / name).read_bytes() for name in SAME_FILES}

    def gaps(self, *, all_of_them=False):
        """What could not be read; for patients without a trigger only what matters is told of lines."""
        lines = map(json.loads, (self.out / "gaps.ndjson").read_text().splitlines())
        return [gap for gap in lines if all_of_them or gap["matters"]]


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """Everybody, through all doors."""
    here = tmp_path_factory.mktemp("doors")
    people, shared = everybody()
    alone = write_bundles(here / "bundles", people, shared)
    lines = write_lines(here / "lines", people, shared, parts=3)
    everything = [*shared, *(one for own in people.values() for one in own)]
    (here / "all.json").write_text(json.dumps(bundle(everything)))
    (here / "by-line.ndjson").write_text(
        "".join(json.dumps(bundle([*own, *shared])) + "\n" for own in people.values())
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(ROOT))
        patched.setenv("PYSPARK_PYTHON", sys.executable)
        opened = {name: Door(here / f"door-{name.replace(' ', '-')}") for name in
                  ("hooks", "bundles", "one Bundle", "Bundles by line", "lines", "every line parsed", "Spark")}  # fmt: skip
        answers = opened["hooks"].hooks(people, shared)
        opened["bundles"].review(alone, "--workers", "2")
        opened["one Bundle"].review(here / "all.json", "--workers", "1")
        opened["Bundles by line"].review(here / "by-line.ndjson", "--engine", "durable")
        opened["lines"].review(lines, "--workers", "2")
        opened["every line parsed"].review(lines, "--workers", "1", "--no-sieve")
        opened["Spark"].review(lines, "--spark", "local-cluster[2,1,1024]")
        _stop_spark()
    return people, opened, answers


def _stop_spark():
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    assert running is not None
    running.stop()


BATCH = ["bundles", "one Bundle", "Bundles by line", "every line parsed", "Spark"]


def test_the_population_is_worth_the_comparison(doors):
    people, opened, _ = doors
    told = rows(opened["lines"].out)
    assert len(people) >= 60
    assert len({row["rule"] for row in told}) >= 25
    assert {row["indicator"] for row in told} == {"info", "warning", "critical"}
    assert len({row["patient"] for row in told}) < len(people)


@pytest.mark.parametrize("name", BATCH)
def test_every_door_of_the_batch_writes_the_same_files(doors, name):
    _, opened, _ = doors
    assert opened[name].files() == opened["lines"].files()
    assert opened[name].gaps() == opened["lines"].gaps()


@pytest.mark.parametrize("name", ["one Bundle", "Bundles by line", "every line parsed"])
def test_where_everybody_is_reviewed_all_gaps_are_the_same(doors, name):
    _, opened, _ = doors
    assert opened[name].gaps(all_of_them=True) == opened["bundles"].gaps(all_of_them=True)


def test_spark_tells_the_same_gaps_and_figures_as_one_machine(doors):
    _, opened, _ = doors
    for name in ("gaps.ndjson", "run.json"):
        assert (opened["Spark"].out / name).read_bytes() == (
            opened["lines"].out / name
        ).read_bytes()


def test_patients_with_context_only_are_counted_apart_and_alike_on_spark(doors):
    _, opened, _ = doors
    told = {name: json.loads((door.out / "run.json").read_text())["patients"]
            for name, door in opened.items() if name != "hooks"}  # fmt: skip
    apart = {name: one["untriggered"] for name, one in told.items()}
    assert apart == dict.fromkeys(told, 0) | {"lines": 2, "Spark": 2}
    assert told["lines"]["in"] == told["lines"]["reviewed"] + told["lines"]["rejected"]


def test_hook_calls_name_the_rules_and_gaps_of_the_batch(doors):
    people, opened, answers = doors
    told = rows(opened["lines"].out)
    for key in people:
        fired = [(one["rule"], one["indicator"]) for one in answers[key].get("rules", [])]
        own = [(row["rule"], row["indicator"]) for row in told if row["patient"] == key]
        assert fired == own, key
    said = {(key, one["source"], one["code"], one["says"])
            for key, answer in answers.items() for one in answer.get("gaps", [])}  # fmt: skip
    assert said == {
        (one["patient"], one["source"], one["code"], one["says"])
        for one in opened["bundles"].gaps(all_of_them=True)
    }


@pytest.mark.parametrize("name", [*BATCH, "lines"])
def test_the_record_holds_the_same_answers_whichever_door_they_came_by(doors, name):
    _, opened, _ = doors
    hooks, batch = opened["hooks"].recorded(), opened[name].recorded()
    assert len(batch) > 40
    assert batch == {key: hooks[key] for key in batch}
    silent = hooks.keys() - batch.keys()
    assert all(json.loads(hooks[key])["recommendations"] == [] for key in silent)
