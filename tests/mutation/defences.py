"""Takes defences of the threat model away, one after the other: the test that is named for each must fail.

    python -m tests.mutation.defences                 all of defences.yaml
    python -m tests.mutation.defences front_door      those in files of that name

Works on a copy of the checkout. Ends with 1 when a test passes without its defence, or could not be run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("defences.yaml")
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "*.pyc", "__pycache__", ".*_cache", "site")
TESTS_FAILED = 1  # exit code of pytest; others mean that it was not run


def removals() -> list[dict[str, str]]:
    """Rows of the table: the row of the threat model, the file, what is replaced by what, and the test."""
    read: list[dict[str, str]] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return read


def without(source: str, removal: dict[str, str]) -> str:
    """The source without the defence.

    Raises:
        ValueError: the text to replace does not stand there exactly once.
    """
    if source.count(removal["old"]) != 1:
        raise ValueError(f"{removal['file']} does not hold once: {removal['old']}")
    return source.replace(removal["old"], removal["new"])


def run(copy: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run the tests on the copy, which services and commands that they start import as well."""
    return subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=copy, capture_output=True, text=True, check=False, timeout=600,
        env=os.environ | {"PYTHONPATH": str(copy)},
    )  # fmt: skip


def is_noticed(copy: Path, removal: dict[str, str]) -> bool:
    """Whether the test fails without the defence; the file is as before afterwards."""
    file = copy / removal["file"]
    source = file.read_text(encoding="utf-8")
    file.write_text(without(source, removal), encoding="utf-8")
    try:
        done = run(copy, removal["test"])
    finally:
        file.write_text(source, encoding="utf-8")
    if done.returncode < 0:  # without the defence the native engine took the tests along
        return True
    if done.returncode not in {0, TESTS_FAILED} or " error" in done.stdout.splitlines()[-1]:
        print(done.stdout[-2000:])
        return False
    return done.returncode == TESTS_FAILED


def main(arguments: list[str]) -> int:
    """Take away, watch, say."""
    chosen = [
        one for one in removals() if not arguments or any(a in one["file"] for a in arguments)
    ]
    silent = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT, symlinks=True)
        whole = run(copy, *sorted({one["test"] for one in chosen}))
        if whole.returncode:  # else a test that fails anyway would pass for one that notices
            print(whole.stdout[-2000:])
            return 1
        for one in chosen:
            noticed = is_noticed(copy, one)
            silent += not noticed
            verdict = "noticed" if noticed else "NOT NOTICED"
            print(f"{verdict:12} {one['row']}: {one['file']} ({one['test']})", flush=True)
    print(f"{len(chosen) - silent} of {len(chosen)} noticed")
    return int(bool(silent or not chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
