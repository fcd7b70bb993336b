"""A whole population, from files to results, against one pass of orjson over every line.

Each run is a process of its own, start-up included, taken in turn with the others. Costs are processor seconds, which
other work on the machine disturbs least; workers and Spark are compared by the clock. Memory is the largest resident
set of any process of a run. "Without the start" takes off what the same command costs for twenty patients.

    python -m benchmarks.batch [--patients N] [--quick] [--memory N ...] [--peers]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.batch_commands import BYTES, COSTS, DUCKDB, ORJSON, REVIEW, WITHOUT_HYPERSCAN
from benchmarks.batch_peers import measure_peers
from benchmarks.population import write_population

AS_OF = "2026-11-22T12:00:00+00:00"
_SHARES = (0.03, 0.25)
_FEW = 20


class Spent(NamedTuple):
    """What one command cost: processor seconds, seconds by the clock, megabytes of its largest process."""

    seconds: float
    clock: float
    memory: float


class Bench:
    """Runs commands on one export in turn and keeps what they cost."""

    def __init__(self, beside: Path) -> None:
        self._beside = beside
        self._number = 0
        self._spent: dict[str, list[Spent]] = {}
        # Compiled modules are kept, as they are where dekacard is installed
        self._environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(beside / "compiled")}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(self, name: str, code: str, folder: Path, *more: str) -> None:
        """Run one Python text on a folder; reviews get a place for their results."""
        self._number += 1
        out = self._beside / f"out-{self._number}"
        command = [sys.executable, "-c", code, str(folder), *more]
        if "review" in name:
            command += ["--out", str(out), "--as-of", AS_OF, "--quiet"]
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        said = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        clock = time.perf_counter() - began
        if process.returncode:
            raise RuntimeError(f"{name}: {said[-500:].decode()}")
        spent = Spent(usage.ru_utime + usage.ru_stime, clock, usage.ru_maxrss / 1024)
        self._spent.setdefault(name, []).append(spent)
        shutil.rmtree(out, ignore_errors=True)

    def seconds(self, name: str) -> float:
        """Median processor seconds."""
        return median(one.seconds for one in self._spent[name])

    def clock(self, name: str) -> float:
        """Median seconds by the clock."""
        return median(one.clock for one in self._spent[name])

    def memory(self, name: str) -> float:
        """The largest process of all rounds, in megabytes."""
        return max(one.memory for one in self._spent[name])

    def told(self) -> dict[str, float]:
        """Median processor seconds of everything that was run."""
        return {name: round(self.seconds(name), 2) for name in self._spent}


_COMMANDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bytes": (BYTES, ()),
    "orjson": (ORJSON, ()),
    "DuckDB": (DUCKDB, ()),
    "review": (REVIEW, ("--workers", "1")),
    "review, 2 workers": (REVIEW, ("--workers", "2")),
    "review, google-re2": (WITHOUT_HYPERSCAN + REVIEW, ("--workers", "1")),
    "review, no sieve": (REVIEW, ("--workers", "1", "--no-sieve")),
}


def measure(
    *,
    quick: bool = False,
    patients: int | None = None,
    memory: Iterable[int] = (),
    peers: bool = False,
) -> dict[str, Any]:
    """Rows for 3 % and 25 % relevant patients, unit costs, memory at the sizes asked for, Spark, other projects."""
    count = patients or (1_000 if quick else 20_000)
    rounds = 1 if quick else 3
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder)
        write_population(beside / "few", _FEW)
        for share in _SHARES:
            size = write_population(beside / "in", count, share)
            told[f"{share:.0%} of {count:,} patients relevant"] = _row(
                beside, size, count, rounds, spark=not quick and share == _SHARES[0]
            )
            if share == _SHARES[0]:
                told["what a unit costs"] = _costs(beside / "in")
                if peers:
                    told["other projects, reading the same lines"] = measure_peers(beside / "in")
            shutil.rmtree(beside / "in")
        sizes = dict.fromkeys([count // 4, *memory])
        told["largest process, 2 workers (MB)"] = {
            f"{one:,} patients": _memory(beside, one) for one in sizes
        }
    return told


def _row(beside: Path, size: int, patients: int, rounds: int, *, spark: bool) -> dict[str, Any]:
    bench, start = Bench(beside), Bench(beside)
    start.run("review, 2 workers", REVIEW, beside / "few", "--workers", "2")  # compiles all modules
    start = Bench(beside)
    for _ in range(rounds):
        for name, (code, more) in _COMMANDS.items():
            bench.run(name, code, beside / "in", *more)
            start.run(name, code, beside / "few", *more)
    if spark:
        bench.run("review on Spark", REVIEW, beside / "in", "--spark", "local[2]")
    spent = {name: bench.seconds(name) for name in _COMMANDS}
    lasting = {name: spent[name] - start.seconds(name) for name in _COMMANDS}
    told = {
        "times as fast as orjson on every line": spent["orjson"] / spent["review"],
        "the same without the start": lasting["orjson"] / lasting["review"],
        "the same with google-re2": spent["orjson"] / spent["review, google-re2"],
        "the same with google-re2, without the start": lasting["orjson"] / lasting["review, google-re2"],
        "the same without the sieve": spent["orjson"] / spent["review, no sieve"],
        "times as fast as DuckDB flattening the same files": spent["DuckDB"] / spent["review"],
        "times as long as reading the bytes": spent["review"] / spent["bytes"],
        "2 workers against 1, by the clock": bench.clock("review") / bench.clock("review, 2 workers"),
        "patients a second and core": patients / spent["review"],
        "megabytes a second and core": size / 1e6 / spent["review"],
        "megabytes a second, orjson": size / 1e6 / spent["orjson"],
        "largest process (MB)": bench.memory("review"),
    }  # fmt: skip
    if spark:
        clock = bench.clock("review on Spark")
        told["Spark local[2] against 2 workers, by the clock"] = clock / bench.clock(
            "review, 2 workers"
        )
    return {
        "input (MB)": round(size / 1e6, 1),
        **{name: _short(value) for name, value in told.items()},
        "processor seconds": bench.told(),
        "processor seconds for twenty patients": start.told(),
    }


def _short(value: float) -> float:
    return round(value, 2) if value < 100 else round(value)


def _costs(folder: Path) -> dict[str, Any]:
    """Costs of the steps by themselves, start-up left out; what is handed on between them, in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", COSTS, str(folder), AS_OF], check=True, stdout=subprocess.PIPE
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {name: _short(value) for name, value in told.items()}


def _memory(beside: Path, patients: int) -> float:
    write_population(beside / "in", patients)
    bench = Bench(beside)
    bench.run("review", REVIEW, beside / "in", "--workers", "2")
    shutil.rmtree(beside / "in")
    return round(bench.memory("review"), 1)


def _numbers_after(flag: str) -> list[int]:
    given = sys.argv[1:]
    if flag not in given:
        return []
    found = []
    for one in given[given.index(flag) + 1 :]:
        if not one.isdigit():
            break
        found.append(int(one))
    return found


if __name__ == "__main__":
    wanted = _numbers_after("--patients")
    rows = measure(
        quick="--quick" in sys.argv,
        patients=wanted[0] if wanted else None,
        memory=_numbers_after("--memory"),
        peers="--peers" in sys.argv,
    )
    print(json.dumps(rows, indent=2))
