"""A whole population, from files to results, against one pass of orjson over every line.

Ratios are of runs taken in turn in one process each, so that a busy machine slows both. Memory is the largest
resident set of the run's own process.

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
            seconds, peak = _timed(
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
            times[name].append(seconds)
            memory = max(memory, peak if name == "review" else 0.0)
    mid = {name: median(taken) for name, taken in times.items()}
    return {
        "megabytes": round(size / 1e6, 1),
        "times as fast as orjson on every line": round(mid["orjson"] / mid["review"], 2),
        "the same without the sieve": round(mid["orjson"] / mid["review, no sieve"], 2),
        "2 workers against 1": round(mid["review"] / mid["review, 2 workers"], 2),
        "times as long as reading the bytes": round(mid["review"] / mid["bytes"], 1),
        "patients a second": round(patients / mid["review"]),
        "megabytes a second": round(size / 1e6 / mid["review"], 1),
        "largest memory (MB)": round(memory, 1),
        "seconds": {name: round(value, 2) for name, value in mid.items()},
    }  # fmt: skip


def _timed(command: list[str]) -> tuple[float, float]:
    """Seconds and peak resident megabytes of a command (children of this process included)."""
    began = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return time.perf_counter() - began, max(before, peak) / 1024


if __name__ == "__main__":
    wanted = int(sys.argv[sys.argv.index("--patients") + 1]) if "--patients" in sys.argv else None
    print(json.dumps(measure(quick="--quick" in sys.argv, patients=wanted), indent=2))
