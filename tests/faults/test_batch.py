"""A population run that is told to stop goes on with --resume and ends with the bytes of an undisturbed one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from service.alerts import models
from service.dashboard.queue_page import advice_for
from tests.service.batch.people import AS_OF, population, write_lines
from tests.service.batch.test_interrupted import ended, files_made, start
from tests.service.batch.test_review import rejects, results
from tests.service.batch.test_store import Site


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The lines, and the results of a run that nobody disturbed."""
    folder = write_lines(tmp_path_factory.mktemp("in") / "lines", *population(40))
    out = tmp_path_factory.mktemp("out") / "whole"
    ended(start(folder, out))
    return folder, results(out)


def stopped(folder, tmp_path, way):
    """The output of a run that a signal ended."""
    out = tmp_path / "out"
    run = start(folder, out)
    while run.poll() is None and files_made(out) < 3:
        time.sleep(0.001)
    run.send_signal(way)
    ended(run, 13)
    return out


@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGINT])
def test_stopped_politely_and_resumed_it_ends_with_the_same_bytes(tmp_path, whole, way):
    folder, expected = whole
    out = stopped(folder, tmp_path, way)
    ended(start(folder, out, "--resume"))
    assert results(out) == expected


@pytest.mark.parametrize("wanted", [1, 3, 6])
def test_a_worker_that_dies_once_costs_nothing(tmp_path, whole, wanted):
    """Scanning or reviewing: what it had in hand is done again."""
    folder, expected = whole
    out = tmp_path / "out"
    run = start(folder, out, "--workers", "2")
    workers = []
    while run.poll() is None and not (workers and files_made(out) >= wanted):
        workers = psutil.Process(run.pid).children()
        time.sleep(0.001)
    assert workers, "it was done before the signal came"
    workers[0].send_signal(signal.SIGSEGV)
    ended(run)
    assert results(out) == expected


def crashing(folder, out, *more, patients="p007", way="segv", once="", times=1, slowly=""):
    """A run that dies for these patients."""
    planted = {
        "CRASHES_FOR": patients,
        "CRASHES_BY": way,
        "CRASHES_ONCE": str(once),
        "CRASHES_TIMES": str(times),
        "CRASHES_SLOWLY": slowly,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.crashing", str(folder), "--out", str(out),
         "--as-of", AS_OF, "--quiet", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env=os.environ | planted,
    )  # fmt: skip


def without(expected, *patients):
    """The lines of these results that are about anybody else."""
    names = ("DetectedIssue.ndjson", "recommendations.csv", "gaps.ndjson", "failures.ndjson")
    marks = [name.encode() for name in patients]
    return {
        name: [line for line in expected[name].splitlines() if not any(m in line for m in marks)]
        for name in names
    }


@pytest.mark.parametrize(
    ("way", "workers"), [("segv", 1), ("segv", 3), ("abort", 2), ("killed", 2), ("memory", 1)]
)
def test_a_patient_who_crashes_each_worker_is_named_and_all_others_are_reviewed(
    tmp_path, whole, way, workers
):
    """And it makes no difference how many work."""
    folder, expected = whole
    out = tmp_path / "out"
    run = crashing(folder, out, "--workers", str(workers), patients="p007,p021", way=way)
    said = ended(run, 12)
    assert b"2 set aside" in said
    named = rejects(out)
    assert [(one["patient"], one["code"]) for one in sorted(named, key=lambda one: one["patient"])] == [
        ("p007", "worker-crashed"),
        ("p021", "worker-crashed"),
    ]  # fmt: skip
    assert all(one["file"] and one["line"] for one in named)
    told = json.loads((out / "run.json").read_text())
    assert told["patients"]["in"] == 40
    assert (told["patients"]["reviewed"], told["patients"]["rejected"]) == (38, 2)
    found = results(out)
    everybody = without(expected)
    others = without(expected, "p007", "p021")
    assert everybody != others
    assert without(found) == others


def test_set_aside_with_any_number_of_workers_and_after_a_stop_the_bytes_are_the_same(
    tmp_path, whole
):
    folder, _ = whole
    ended(crashing(folder, tmp_path / "one", "--workers", "1"), 12)
    ended(crashing(folder, tmp_path / "three", "--workers", "3"), 12)
    assert results(tmp_path / "one") == results(tmp_path / "three")
    out = tmp_path / "stopped"
    run = crashing(folder, out, "--workers", "2", slowly="1")
    while run.poll() is None and not any(out.glob(".work/under-review-*")):
        time.sleep(0.001)
    run.kill()
    run.communicate(timeout=120)
    assert run.returncode == -signal.SIGKILL, "it was done before the signal came"
    ended(crashing(folder, out, "--workers", "2", "--resume"), 12)
    assert results(out) == results(tmp_path / "one")


@pytest.mark.parametrize("times", [1, 2])
def test_a_patient_who_lives_through_a_review_alone_is_not_to_blame(tmp_path, whole, times):
    """Crashed among others, and again when the shard was done anew: it may have been the hour, or a neighbour."""
    folder, expected = whole
    crashed = tmp_path / "crashed"
    run = crashing(folder, tmp_path / "out", "--workers", "2", once=crashed, times=times)
    ended(run)
    assert crashed.stat().st_size == times
    assert results(tmp_path / "out") == expected


def test_the_record_tells_who_was_set_aside(tmp_path, whole, monkeypatch):
    """Silence about them would look like safety."""
    site = Site(f"sqlite:///{tmp_path / 'store.sqlite'}", tmp_path)
    for name, value in site.settings.items():
        monkeypatch.setenv(name, value)
    more = ("--workers", "2", "--store", "--client", "developer")
    ended(crashing(whole[0], tmp_path / "out", *more), 12)
    faults = site.rows(models.alert, models.alert.c.kind == "not-evaluated")
    assert [one.about for one in faults].count("worker-crashed") == 1
    assert site.alerts("vka-mk7-new")
    assert "crashed" in advice_for("worker-crashed").title
