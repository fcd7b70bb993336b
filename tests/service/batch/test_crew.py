"""Workers begun as copies, begun anew, or none at all give the same bytes; none outlives the run."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from service.batch import crew
from service.batch.run import Run
from tests.service.batch.people import AS_OF, population, write_lines
from tests.service.batch.test_review import options, results

_START = (
    "import sys, service.batch.inputs as i; i.tasks_of.__defaults__ = (4000,)\n"
    "import tests.service.batch.slowly\n"
    "from service.batch import crew; alone = crew._alone(); sys.stderr.write(f'alone {alone}')\n"
    "from service.batch.cli import app; app()"
)


@pytest.fixture
def folder(tmp_path):
    return write_lines(tmp_path / "in", *population(30), parts=3)


def start(folder, out, *more):
    command = [
        sys.executable,
        "-c",
        _START,
        str(folder),
        "--out",
        str(out),
        "--as-of",
        AS_OF,
        *more,
    ]
    return subprocess.Popen(
        [*command, "--quiet"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[3]
    )  # fmt: skip


def test_copies_new_processes_and_one_alone_give_the_same_bytes(tmp_path, folder, monkeypatch):
    run = start(folder, tmp_path / "copies", "--workers", "3")
    said = run.communicate(timeout=120)[1]
    assert run.returncode == 0, said.decode()
    assert b"alone True" in said or sys.platform != "linux"
    monkeypatch.setattr("service.batch.inputs.tasks_of.__defaults__", (4000,))
    monkeypatch.setattr(crew, "_alone", lambda: False)
    Run(tmp_path / "new", workers=2).review([folder], options())
    Run(tmp_path / "one").review([folder], options())
    assert results(tmp_path / "copies") == results(tmp_path / "new") == results(tmp_path / "one")


def test_workers_of_a_run_that_was_killed_end_too(tmp_path, folder):
    while True:
        out = tmp_path / f"out-{time.monotonic_ns()}"
        run = start(folder, out, "--workers", "2")
        workers = []
        while run.poll() is None and len(workers) < 2:
            workers = psutil.Process(run.pid).children() if psutil.pid_exists(run.pid) else []
        run.kill()
        run.communicate(timeout=60)
        if run.returncode != 0 and len(workers) == 2:
            break
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive


def test_what_goes_wrong_in_a_worker_is_told_and_ends_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(crew, "_alone", lambda: False)
    broken = tmp_path / "work"
    broken.mkdir()
    (broken / "plan.json").write_text("{}")
    with pytest.raises(crew.Interrupted, match="killed"), crew.Crew(broken, 2) as workers:
        list(workers.do("scan", [0, 1]))
