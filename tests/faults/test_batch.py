"""A population run that is told to stop goes on with --resume and ends with the bytes of an undisturbed one."""

import signal
import time

import psutil
import pytest

from tests.service.batch.people import population, write_lines
from tests.service.batch.test_interrupted import ended, files_made, start
from tests.service.batch.test_review import results


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The lines, and the results of a run that nobody disturbed."""
    folder = write_lines(tmp_path_factory.mktemp("in") / "lines", *population(40))
    out = tmp_path_factory.mktemp("out") / "whole"
    ended(start(folder, out))
    return folder, results(out)


@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGINT])
def test_stopped_politely_and_resumed_it_ends_with_the_same_bytes(tmp_path, whole, way):
    folder, expected = whole
    out = tmp_path / "out"
    run = start(folder, out)
    while run.poll() is None and files_made(out) < 3:
        time.sleep(0.001)
    run.send_signal(way)
    run.communicate(timeout=120)
    assert run.returncode == 13, "it was done before the signal came"
    ended(start(folder, out, "--resume"))
    assert results(out) == expected


def test_a_worker_that_crashes_ends_the_run_with_how_to_go_on_and_nothing_is_lost(tmp_path, whole):
    """A native crash takes its process only; the run never ends as if it had been complete."""
    folder, expected = whole
    out = tmp_path / "out"
    run = start(folder, out, "--workers", "2")
    workers = []
    while run.poll() is None and not (workers and files_made(out) >= 3):
        workers = psutil.Process(run.pid).children()
        time.sleep(0.001)
    workers[0].send_signal(signal.SIGSEGV)
    _, said = run.communicate(timeout=120)
    assert run.returncode == 13, "it was done before the signal came"
    assert b"--resume" in said
    ended(start(folder, out, "--resume"))
    assert results(out) == expected
