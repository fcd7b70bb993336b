"""How far a run is: plain lines in a file, a bar with rate and time left on a terminal, and nothing when told to be quiet."""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from service.batch.progress import Progress
from tests.service.batch.people import AS_OF, population, write_lines

ROOT = Path(__file__).parents[3]


def test_plain_lines_say_what_was_done_in_the_unit_of_each_step(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("service.batch.progress.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = Progress(stream)
    progress.begin("scanning", 40_000_000, "bytes")
    progress.skip(20_000_000)
    now[0] += 11
    progress.step(10_000_000)
    now[0] += 9
    progress.step(10_000_000)
    progress.end()
    progress.begin("comparing versions", 3, "tasks")
    for _ in range(3):
        progress.step(1)
    progress.end()
    progress.begin("reviewing", 4, "shards")
    now[0] += 2
    progress.step(4, patients=3_000)
    progress.end()
    assert stream.getvalue().splitlines() == [
        "scanning: 75 %  1 MB/s, about 11 s left",
        "scanning: 100 %  1 MB/s",
        "comparing versions: 100 %  3 of 3 tasks",
        "reviewing: 100 %  1,500 patients/s",
    ]


def test_quiet_means_nothing_at_all():
    stream = io.StringIO()
    progress = Progress(stream, quiet=True)
    progress.begin("scanning", 1, "bytes")
    progress.step(1)
    progress.end()
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar(tmp_path):
    folder = write_lines(tmp_path / "in", *population(3))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "service.cli", "review", str(folder), "--out", str(tmp_path / "out"), "--as-of", AS_OF]  # fmt: skip
    run = subprocess.Popen(
        command, stderr=theirs, stdout=subprocess.DEVNULL, cwd=ROOT, env=os.environ | {"TERM": "xterm"}
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end of a terminal is closed
            break
        if not piece:
            break
        said += piece
    assert run.wait(timeout=60) == 0
    shown = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", said).decode()
    assert re.search(r"scanning.*100 %\s+[\d,]+ MB/s", shown)
    assert re.search(r"reviewing.*100 %\s+[\d,]+ patients/s\s+0:00:00", shown)
