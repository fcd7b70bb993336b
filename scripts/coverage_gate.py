"""Measures which branches the tests take, and ends with 1 below the promised share.

    python scripts/coverage_gate.py                # runs the tests (not those in a browser), then judges
    python scripts/coverage_gate.py --data FILE    # judges what was measured before

Branches of ``rules`` 100 %, of ``fhir_adapter`` and ``service`` 95 %. What runs in processes of its own (workers,
commands) is measured there as well, because coverage starts with each of them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parent.parent
WANTED = {"rules": 100.0, "fhir_adapter": 95.0, "service": 95.0}
SETTINGS = """\
[run]
branch = true
source_pkgs = rules, fhir_adapter, service
data_file = {data}
parallel = true
patch = subprocess
"""
LEFT_OUT = ("tests/e2e", "tests/mutation", "tests/spark")


def measure(data: Path, tests: list[str]) -> int:
    """Run the tests with coverage; the exit code of pytest."""
    settings = data.with_name("settings.ini")
    settings.write_text(SETTINGS.format(data=data), encoding="utf-8")
    ignored = [f"--ignore={one}" for one in LEFT_OUT]
    run = [sys.executable, "-m", "coverage", "run", f"--rcfile={settings}", "-m", "pytest", "-q"]
    ended = subprocess.run([*run, *ignored, *tests], cwd=ROOT, check=False).returncode
    joined = coverage.Coverage(data_file=str(data), config_file=str(settings))
    joined.combine(data_paths=[str(data.parent)])  # one file of each process
    joined.save()
    return ended


def shares(data: Path) -> dict[str, tuple[float, dict[str, str]]]:
    """Part -> its share of lines and branches taken, and per file what is missing."""
    measured = coverage.Coverage(data_file=str(data), config_file=str(ROOT / "pyproject.toml"))
    measured.load()
    found: dict[str, tuple[float, dict[str, str]]] = {}
    for part in WANTED:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "report.txt"
            with target.open("w", encoding="utf-8") as out:
                try:
                    share = measured.report(
                        include=[f"{ROOT}/{part}/*"], file=out, show_missing=True, skip_covered=True
                    )
                except coverage.exceptions.NoDataError:
                    share = 0.0  # no test came near it
            lines = target.read_text(encoding="utf-8").splitlines()
        missing = {
            row.split(None, 1)[0]: row.rsplit("%", 1)[-1].strip()
            for row in lines
            if row.startswith(f"{part}/")
        }
        found[part] = (share, missing)
    return found


def judge(found: dict[str, tuple[float, dict[str, str]]]) -> list[str]:
    """The parts that stay below what is wanted."""
    return [part for part, (share, _) in found.items() if share < WANTED[part]]


def main(arguments: list[str]) -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="What was measured before.")
    parser.add_argument("tests", nargs="*", help="Tests to run; all unless stated.")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        data = chosen.data or Path(folder) / "measured"
        failed = 0 if chosen.data else measure(data, chosen.tests)
        found = shares(data)
    low = judge(found)
    for part, (share, missing) in found.items():
        print(
            f"{part:14} {share:6.2f} %  wanted {WANTED[part]:.0f} %{'  LOW' if part in low else ''}"
        )
        for file, lines in missing.items() if part in low else ():
            print(f"    {file}  {lines}")
    return int(bool(low or failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
