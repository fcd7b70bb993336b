"""Takes defences of the threat model away, one after the other: the test that is named for each must fail.

    python -m tests.mutation.defences                 all of defences.yaml
    python -m tests.mutation.defences front_door      those in files of that name

Works on a copy of the checkout. Ends with 1 when a test passes without its defence, or could not be run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("defences.yaml")
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "*.pyc", "__pycache__", ".*_cache", "site")
TESTS_FAILED = 1  # exit code of pytest; others mean that it was not run
SECONDS = 600  # for the test of one row; all of them together, with every defence in place, may take longer
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


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


def run(
    copy: Path, *tests: str, seconds: float | None = None, first_only: bool = True
) -> tuple[int | None, str]:
    """Run the tests on the copy, which services and commands that they start import as well.

    Gives the exit code, None when they had to be stopped, and what was said.
    """
    more = ["-x"] if first_only else []
    with subprocess.Popen(
        [sys.executable, "-B", "-m", "pytest", "-q", *more, "-p", "no:cacheprovider", *tests],
        cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(copy)},
    ) as tried:  # fmt: skip
        try:
            said = tried.communicate(timeout=seconds)[0]
        except BaseException as error:  # what the tests started must not be left behind
            os.killpg(tried.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return None, tried.communicate()[0]
            raise
    return tried.returncode, said


def is_noticed(copy: Path, removal: dict[str, str], seconds: float = SECONDS) -> bool:
    """Whether the test fails without the defence; the file is as before afterwards."""
    file = copy / removal["file"]
    source = file.read_text(encoding="utf-8")
    file.write_text(without(source, removal), encoding="utf-8")
    try:
        code, said = run(copy, removal["test"], seconds=seconds)
    finally:
        file.write_text(source, encoding="utf-8")
    if code is None:  # who waits for ever has not been told what is wrong
        print(f"did not end within {seconds:.0f} s: {said[-2000:]}")
        return False
    if code < 0:  # without the defence the native engine took the tests along
        return True
    if code not in {0, TESTS_FAILED} or " error" in said.splitlines()[-1]:
        print(said[-2000:])
        return False
    return code == TESTS_FAILED


def failing_anyway(copy: Path, tests: Iterable[str]) -> set[str] | None:
    """The tests that fail with every defence in place, which would pass for ones that notice; None: not run."""
    named = sorted(set(tests))
    code, said = run(copy, *named, first_only=False)
    if code == 0:
        return set()
    print(said[-2000:])
    if code != TESTS_FAILED:
        return None
    fell = _FAILED.findall(said)
    return {one for one in named if any(each.startswith(one) for each in fell)}


def chosen_of(words: Sequence[str]) -> list[dict[str, str]]:
    """The removals in files whose name holds one of the words; all without any."""
    return [one for one in removals() if not words or any(word in one["file"] for word in words)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Take away, watch, say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="*", help="part of the name of a file; without any, all")
    chosen = chosen_of(parser.parse_args(arguments).file)
    noticed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT, symlinks=True)
        bad = failing_anyway(copy, (one["test"] for one in chosen)) if chosen else set()
        if bad is None:
            return 1
        for one in chosen:
            if one["test"] in bad:
                verdict = "FAILS ANYWAY"
            elif is_noticed(copy, one):
                verdict, noticed = "noticed", noticed + 1
            else:
                verdict = "NOT NOTICED"
            print(f"{verdict:12} {one['row']}: {one['file']} ({one['test']})", flush=True)
    print(f"{noticed} of {len(chosen)} noticed")
    return int(noticed < len(chosen) or not chosen)


if __name__ == "__main__":
    sys.exit(main())
