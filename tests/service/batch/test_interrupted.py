"""A run that is killed anywhere goes on with --resume and ends with the same bytes."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.batch.run import Run
from service.batch.values import OutputRefused
from tests.service.batch.people import AS_OF, population, write_lines
from tests.service.batch.test_review import options, results

# Small stretches make many checkpoints, so that a kill at any moment finds some done and some not.
_START = (
    "import service.batch.inputs as i; i.tasks_of.__defaults__ = (6000,); "
    "import tests.service.batch.slowly; "
    "from service.batch.cli import app; app()"
)


def start(folder, out, *more):
    command = [sys.executable, "-c", _START, str(folder), "--out", str(out), "--as-of", AS_OF]
    return subprocess.Popen(
        [*command, "--workers", "1", "--quiet", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )


@pytest.fixture
def folder(tmp_path):
    return write_lines(tmp_path / "in", *population(40))


def files_made(out):
    """How far a run is; 0 before it begins and after it ended."""
    try:
        return len(list((out / ".work").iterdir()))
    except FileNotFoundError:
        return 0


def ended(run, code=0):
    _, said = run.communicate(timeout=120)
    assert run.returncode == code, said.decode()
    return said


def test_killed_at_ten_random_points_and_resumed(tmp_path, folder):
    whole = start(folder, tmp_path / "whole")
    most = 0
    while whole.poll() is None:
        most = max(most, files_made(tmp_path / "whole"))
    ended(whole)
    rng = random.Random(6)
    killed = 0
    while killed < 10:
        out = tmp_path / f"killed-{killed}-{rng.random()}"
        run = start(folder, out)
        wanted = rng.randrange(1, most)
        while run.poll() is None and files_made(out) < wanted:
            time.sleep(0.0005)
        run.kill()
        run.communicate(timeout=60)
        if run.returncode == 0:
            continue  # it was done before the signal came
        killed += 1
        begun = (out / ".work" / "plan.json").exists()
        ended(start(folder, out, *["--resume"] * begun))
        assert results(out) == results(tmp_path / "whole")
        assert not (out / ".work").exists()


@pytest.mark.parametrize("made", ["scanned-??????", "outdated", "report-????"])
def test_what_tells_that_a_piece_is_done_comes_after_all_that_belongs_to_it(tmp_path, folder, made):
    ended(start(folder, tmp_path / "whole"))
    for turn in range(3):
        _, _, out = stopped(folder, tmp_path / str(turn), signal.SIGKILL, made)
        ended(start(folder, out, "--resume"))
        assert results(out) == results(tmp_path / "whole")


def stopped(folder, beside, way, made="scanned-*"):
    """A run that got the signal when it was under way, and where it wrote; one that was too quick does not count."""
    number = 0
    while True:
        number += 1
        out = beside / f"out-{number}"
        run = start(folder, out)
        while run.poll() is None and not any(out.glob(f".work/{made}")):
            time.sleep(0.0005)
        run.send_signal(way)
        said = run.communicate(timeout=120)[1]
        if run.returncode != 0:
            return run, said, out


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
def test_stopped_politely_it_says_how_to_go_on(tmp_path, folder, way):
    run, said, out = stopped(folder, tmp_path, way)
    assert run.returncode == 13
    assert b"--resume" in said
    ended(start(folder, out, "--resume"))


def test_it_does_not_go_on_with_other_data_or_options(tmp_path, folder):
    _, _, out = stopped(folder, tmp_path, signal.SIGKILL)
    with pytest.raises(OutputRefused, match="interrupted run: go on"):
        Run(out).review([folder], options())
    with pytest.raises(OutputRefused, match="other inputs"):
        Run(out).review([folder], options(verbosity="education"), resume=True)
    with (folder / "Patient.000.ndjson").open("a") as file:
        file.write("\n")
    with pytest.raises(OutputRefused, match="other inputs"):
        Run(out).review([folder], options(), resume=True)
