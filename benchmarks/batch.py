"""A whole population, from files to results, against one pass of orjson over every line.

Each run is a process of its own, start-up included, taken in turn with the others. Costs are processor seconds, which
other work on the machine disturbs least. Memory is the largest resident set of any process of a run. "Without the
start" takes off what the same command costs for twenty patients. Two workers are compared with one by the clock, which
other work does disturb, and by processor seconds: one worker's, over those of the first process and half of the others'.

    python -m benchmarks.batch [--patients N] [--quick] [--rounds N] [--also N] [--exports FOLDER] [--keep]

With ``--exports`` the invented exports are kept, and used again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks import report
from benchmarks.batch_commands import (
    BYTES,
    COSTS,
    DUCKDB,
    ORJSON,
    OWN_SECONDS,
    REVIEW,
    WITHOUT_HYPERSCAN,
)
from benchmarks.batch_peers import measure_peers
from benchmarks.population import write_population

AS_OF = "2026-11-22T12:00:00+00:00"
_SHARES = (0.03, 0.25)
_FEW = 20


class Spent(NamedTuple):
    """What one command cost: processor seconds (``own`` without its workers'), the clock, megabytes at most."""

    seconds: float
    own: float
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
        command = [sys.executable, "-c", OWN_SECONDS + code, str(folder), *more]
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
        seconds, told = usage.ru_utime + usage.ru_stime, said.rsplit(b"own ", 1)[-1]
        spent = Spent(seconds, float(told), clock, usage.ru_maxrss / 1024)
        self._spent.setdefault(name, []).append(spent)
        shutil.rmtree(out, ignore_errors=True)

    def seconds(self, name: str) -> float:
        """Median processor seconds."""
        return median(one.seconds for one in self._spent[name])

    def clock(self, name: str) -> float:
        """Median seconds by the clock."""
        return median(one.clock for one in self._spent[name])

    def longest(self, name: str) -> float:
        """Median processor seconds of the first process and of one of two workers that share the rest."""
        return median(one.own + (one.seconds - one.own) / 2 for one in self._spent[name])

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

_AT_ANOTHER_SIZE: Final = {
    name: _COMMANDS[name] for name in ("orjson", "review", "review, 2 workers")
}
_OTHERS: Final = {"review, google-re2": "with google-re2", "review, no sieve": "without the sieve"}


def measure(
    *,
    quick: bool = False,
    patients: int | None = None,
    rounds: int = 0,
    also: int = 0,
    exports: Path | None = None,
) -> dict[str, Any]:
    """Rows for 3 % and 25 % relevant patients, unit costs, other projects; and one round at another size."""
    count = patients or (1_000 if quick else 20_000)
    rounds = rounds or (1 if quick else 3)
    told: dict[str, Any] = {"rounds": rounds}
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder)
        kept = exports or beside / "exports"
        write_population(beside / "few", _FEW)
        for share in _SHARES:
            made = _export(kept, count, share)
            spark = not quick and share == _SHARES[0]
            row = _row(beside, made, count, rounds, _COMMANDS, spark=spark)
            told[f"{share:.0%} of {count:,} patients relevant"] = row
            _say(row)
        made = _export(kept, count, _SHARES[0])
        told["what a unit costs"] = _costs(made)
        told["other projects, reading the same lines"] = {} if quick else measure_peers(made)
        if also:
            made = _export(kept, also, _SHARES[0])
            row = _row(beside, made, also, 1, _AT_ANOTHER_SIZE, spark=False)
            told[f"{_SHARES[0]:.0%} of {also:,} patients relevant, one round"] = row
    return told


def _export(folder: Path, patients: int, share: float) -> Path:
    made = folder / f"{patients}-{share}"
    if not made.exists():
        beside = folder / "unfinished"
        shutil.rmtree(beside, ignore_errors=True)
        write_population(beside, patients, share)
        beside.rename(made)
    return made


def _row(
    beside: Path,
    made: Path,
    patients: int,
    rounds: int,
    commands: Mapping[str, tuple[str, tuple[str, ...]]],
    *,
    spark: bool,
) -> dict[str, Any]:
    size = sum(path.stat().st_size for path in made.iterdir())
    Bench(beside).run("review", REVIEW, beside / "few", "--workers", "2")  # compiles all modules
    bench, start = Bench(beside), Bench(beside)
    for _ in range(rounds):
        for name, (code, more) in commands.items():
            bench.run(name, code, made, *more)
            start.run(name, code, beside / "few", *more)
    if spark:
        bench.run("review on Spark", REVIEW, made, "--spark", "local[2]")
    spent = {name: bench.seconds(name) for name in commands}
    lasting = {name: spent[name] - start.seconds(name) for name in commands}
    one, two = "review", "review, 2 workers"
    told = {"times as fast as orjson on every line": spent["orjson"] / spent[one],
            "the same without the start": lasting["orjson"] / lasting[one]}  # fmt: skip
    for name, words in _OTHERS.items():
        if name in spent:
            told[words] = spent["orjson"] / spent[name]
            told[words + ", without the start"] = lasting["orjson"] / lasting[name]
    if "DuckDB" in spent:
        told["times as fast as DuckDB flattening the same files"] = spent["DuckDB"] / spent[one]
        told["times as long as reading the bytes"] = spent[one] / spent["bytes"]
    told |= {
        "2 workers against 1, by processor seconds": spent[one] / bench.longest(two),
        "2 workers against 1, by the clock": bench.clock(one) / bench.clock(two),
        "patients a second and core": patients / spent[one],
        "megabytes a second and core": size / 1e6 / spent[one],
        "megabytes a second, orjson": size / 1e6 / spent["orjson"],
        "largest process (MB)": bench.memory(one),
        "largest process of 2 workers (MB)": bench.memory(two),
    }
    if spark:
        clock = bench.clock("review on Spark")
        told["Spark local[2], times as long as 2 workers, by the clock"] = clock / bench.clock(two)
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


def _say(row: dict[str, Any]) -> None:
    sys.stderr.write(json.dumps(row) + "\n")


def _asked(arguments: list[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batch",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(__doc__ or "").partition("    python")[0],
    )
    parser.add_argument("--quick", action="store_true", help="1,000 patients, one round, no Spark")
    parser.add_argument("--patients", type=int, metavar="N", help="how many (default 20,000)")
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="default 3")
    parser.add_argument("--also", type=int, default=0, metavar="N", help="and one round with N")
    parser.add_argument(
        "--exports",
        type=Path,
        metavar="FOLDER",
        help="keeps the invented exports (54 KB a patient)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the results beside the others, write the page"
    )
    parser.add_argument("--remark", default="", help="stands beside the results that are kept")
    return vars(parser.parse_args(arguments))


if __name__ == "__main__":
    asked = _asked(sys.argv[1:])
    keep, remark = asked.pop("keep"), asked.pop("remark")
    rows = measure(**asked)
    if keep:
        report.keep("batch", rows, remark, report.RESULTS)
        report.PAGE.write_text(report.page(report.kept()))
    print(json.dumps(rows, indent=2))
