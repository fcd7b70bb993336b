"""A whole population, from files to results, against one pass of orjson over every line.

Each run is a process of its own, start-up included, taken in turn. Costs are processor seconds, which other work on
the machine disturbs least; two workers are compared by the clock. Memory is the largest resident set.

    python -m benchmarks.batch [--patients N] [--share 0.03]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.population import write_population

_BYTES = "import sys,pathlib\nfor p in pathlib.Path(sys.argv[1]).iterdir():\n with p.open('rb') as f:\n  while b:=f.read(1<<24): b.count(b'\\n')"
_ORJSON = "import sys,pathlib,orjson\nfor p in pathlib.Path(sys.argv[1]).iterdir():\n with p.open('rb') as f:\n  for line in f: orjson.loads(line)"
_REVIEW = "from service.batch.cli import app\napp()"
AS_OF = "2026-11-22T12:00:00+00:00"


def measure(*, quick: bool = False, patients: int | None = None) -> dict[str, Any]:
    """Rows for 3 % and 25 % relevant patients, and memory at two sizes."""
    count = patients or (1_000 if quick else 20_000)
    told: dict[str, Any] = {"patients": count}
    with tempfile.TemporaryDirectory() as beside:
        for share in (0.03, 0.25):
            folder = Path(beside) / f"in-{share}"
            size = write_population(folder, count, share)
            told[f"{share:.0%} relevant"] = _row(
                folder, Path(beside), size, count, rounds=1 if quick else 3
            )
    return told


def _row(folder: Path, beside: Path, size: int, patients: int, rounds: int) -> dict[str, Any]:
    times: dict[str, list[float]] = {
        "bytes": [],
        "orjson": [],
        "review": [],
        "review, 2 workers": [],
        "review, no sieve": [],
    }
    clocks: dict[str, list[float]] = {"review": [], "review, 2 workers": []}
    memory = 0.0
    for number in range(rounds):
        times["bytes"].append(_timed([sys.executable, "-c", _BYTES, str(folder)])[0])
        times["orjson"].append(_timed([sys.executable, "-c", _ORJSON, str(folder)])[0])
        for name, more in (
            ("review", ["--workers", "1"]),
            ("review, 2 workers", ["--workers", "2"]),
            ("review, no sieve", ["--workers", "1", "--no-sieve"]),
        ):
            out = beside / f"out-{folder.name}-{name}-{number}"
            spent, clock, peak = _timed(
                [
                    sys.executable,
                    "-c",
                    _REVIEW,
                    str(folder),
                    "--out",
                    str(out),
                    "--as-of",
                    AS_OF,
                    "--quiet",
                    *more,
                ]
            )
            times[name].append(spent)
            if "sieve" not in name:
                clocks[name].append(clock)
            memory = max(memory, peak if name == "review" else 0.0)
    mid = {name: median(taken) for name, taken in times.items()}
    return {
        "megabytes": round(size / 1e6, 1),
        "times as fast as orjson on every line": round(mid["orjson"] / mid["review"], 2),
        "the same without the sieve": round(mid["orjson"] / mid["review, no sieve"], 2),
        "2 workers against 1": round(median(clocks["review"]) / median(clocks["review, 2 workers"]), 2),
        "times as long as reading the bytes": round(mid["review"] / mid["bytes"], 1),
        "patients a second": round(patients / mid["review"]),
        "megabytes a second": round(size / 1e6 / mid["review"], 1),
        "largest memory (MB)": round(memory, 1),
        "seconds": {name: round(value, 2) for name, value in mid.items()},
    }  # fmt: skip


def _timed(command: list[str]) -> tuple[float, float, float]:
    """Processor seconds, seconds by the clock, and peak resident megabytes of a command."""
    began = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, time.perf_counter() - began, after.ru_maxrss / 1024


if __name__ == "__main__":
    wanted = int(sys.argv[sys.argv.index("--patients") + 1]) if "--patients" in sys.argv else None
    print(json.dumps(measure(quick="--quick" in sys.argv, patients=wanted), indent=2))
