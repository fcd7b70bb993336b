"""Measures which lines and branches the tests take, and ends with 1 below the promised share of either.

    python scripts/coverage_gate.py                       # every part, one after the other, by its own tests
    python scripts/coverage_gate.py rules fhir_adapter    # these parts only
    python scripts/coverage_gate.py service --data FILE   # judges what was measured before

Of ``rules`` 100 %, of ``fhir_adapter`` and ``service`` 95 %, branches and lines each for themselves. A part is measured
by the tests that are about it: those of the storeys above would hide what its own leave out. What runs in processes of
its own (workers, commands) is measured there as well, because coverage starts with each of them, and writes down what
it saw also where a process ends at once. What is killed tells nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parent.parent
WANTED = {"rules": 100.0, "fhir_adapter": 95.0, "service": 95.0}
TESTS = {
    "rules": ("tests/rules", "tests/acceptance"),
    "fhir_adapter": ("tests/fhir_adapter", "tests/acceptance"),
    # Without a browser: that takes long and runs little that the others do not
    "service": (
        "tests/service", "tests/operations", "tests/security", "tests/faults", "tests/acceptance", "tests/spark",
    ),
}  # fmt: skip
SETTINGS = """\
[run]
branch = true
source = {source}
data_file = {data}
parallel = true
sigterm = true
patch =
    subprocess
    fork
    _exit
"""


@dataclass(frozen=True)
class Share:
    """How much of a part was run, in per cent, and what was not, per file."""

    branches: float
    lines: float
    missing: dict[str, str] = field(default_factory=dict)


def measure(part: str, data: Path, tests: tuple[str, ...] = ()) -> int:
    """Run the tests of a part with coverage; the exit code of pytest."""
    settings = data.with_name("settings.ini")
    settings.write_text(SETTINGS.format(source=ROOT / part, data=data), encoding="utf-8")
    run = [sys.executable, "-m", "coverage", "run", f"--rcfile={settings}", "-m", "pytest", "-q"]
    ended = subprocess.run([*run, *(tests or TESTS[part])], cwd=ROOT, check=False).returncode
    joined = coverage.Coverage(data_file=str(data), config_file=str(settings))
    joined.combine(data_paths=[str(data.parent)])  # one file of each process
    joined.save()
    return ended


def share(part: str, data: Path) -> Share:
    """What of a part was run; nothing, where no test came near it."""
    measured = coverage.Coverage(data_file=str(data), config_file=str(ROOT / "pyproject.toml"))
    measured.load()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "report.json"
        try:
            measured.json_report(include=[f"{ROOT}/{part}/*"], outfile=str(target))
        except coverage.exceptions.NoDataError:
            return Share(0.0, 0.0)
        told = json.loads(target.read_text(encoding="utf-8"))
    total = told["totals"]
    missing = {file: _left_out(one) for file, one in told["files"].items() if _left_out(one)}
    return Share(
        _per_cent(total["covered_branches"], total["num_branches"]),
        _per_cent(total["covered_lines"], total["num_statements"]),
        missing,
    )


def _per_cent(taken: int, whole: int) -> float:
    """All of nothing is nothing: a part that was not measured is not covered."""
    return 100.0 * taken / whole if whole else 0.0


def _left_out(file: dict[str, list[int]]) -> str:
    lines = [str(one) for one in file["missing_lines"]]
    branches = [f"{start}->{end}" for start, end in file["missing_branches"]]
    return ", ".join(lines + branches)


def is_low(part: str, found: Share) -> bool:
    """Whether a part stays below what is wanted of its branches or of its lines."""
    return min(found.branches, found.lines) < WANTED[part]


def main(arguments: list[str]) -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="rules, fhir_adapter, service; all unless named")
    parser.add_argument("--data", type=Path, help="what was measured before, of one part")
    parser.add_argument("--all", action="store_true", help="name what is missing in any case")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.parts) - set(WANTED):
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    bad = False
    for part in chosen.parts or WANTED:
        with tempfile.TemporaryDirectory() as folder:
            data = chosen.data or Path(folder) / "measured"
            failed = 0 if chosen.data else measure(part, data)
            found = share(part, data)
        low = is_low(part, found)
        bad = bad or low or bool(failed)
        print(
            f"{part:14} branches {found.branches:6.2f} %  lines {found.lines:6.2f} %  "
            f"wanted {WANTED[part]:.0f} % of each{'  LOW' if low else ''}"
        )
        for file, lines in found.missing.items() if low or chosen.all else ():
            print(f"    {file}  {lines}")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
