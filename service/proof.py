"""Every published promise with its figure, the tests behind it, and the command that shows it at full size."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rules.errors import DekacardError
from rules.yaml_files import read_yaml

if TYPE_CHECKING:
    from rich.console import Console


class Promise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One promise; its ``tests`` are pytest node ids without parameters.

    ``measured`` is the last run at full size; ``why`` stands where no test can.
    """

    promise: str
    figure: str
    tests: tuple[str, ...]
    command: str = ""
    measured: str = ""
    why: str = ""


class NoCheckout(DekacardError):
    """The tests are not here: they are part of the source, not of the installed package."""


def promises() -> dict[str, Promise]:
    """Everything that is promised, by name."""
    listed = read_yaml(files("service").joinpath("promises.yaml"))
    return msgspec.convert(listed, dict[str, Promise])


def unknown_tests(root: Path, tests: Iterable[str]) -> list[str]:
    """Those of the node ids (``file::Class::name``) that name no test under ``root``."""
    names: dict[str, frozenset[str]] = {}
    missing = []
    for node in tests:
        file, _, name = node.partition("::")
        if file not in names:
            names[file] = _tests_in(root / file)
        if name not in names[file]:
            missing.append(node)
    return missing


def _tests_in(file: Path) -> frozenset[str]:
    if not file.is_file():
        return frozenset()
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        before = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {
            before + one.name
            for one in inner
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
            and one.name.startswith("test")
        }
    return frozenset(found)


def chosen(names: Sequence[str]) -> dict[str, Promise]:
    """The promises of these names, or all.

    Raises:
        DekacardError: there is no such promise.
    """
    known = promises()
    for name in names:
        if name not in known:
            raise DekacardError(f"There is no promise {name!r}. Known: {', '.join(known)}.")
    return {name: one for name, one in known.items() if not names or name in names}


def print_promises(listed: dict[str, Promise], *, as_json: bool = False) -> None:
    """Tell them to people, or to programs."""
    if as_json:
        sys.stdout.write(msgspec.json.encode(listed).decode() + "\n")
        return
    console = _console()
    for name, one in listed.items():
        console.print(f"[bold]{name}[/bold]: {one.promise}")
        console.print(f"  figure   {one.figure}")
        for test in one.tests:
            console.print(f"  test     {test}", soft_wrap=True)
        if one.why:
            console.print(f"  no test  {one.why}")
        if one.command:
            console.print(f"  command  {one.command}", soft_wrap=True)
        if one.measured or one.command.startswith("python -m tests."):
            console.print(f"  measured {one.measured or 'not yet at this size'}", soft_wrap=True)


def run_tests(listed: dict[str, Promise], root: Path) -> list[str]:
    """Run the tests of each promise in a checkout; returns the names of those that were not kept.

    Raises:
        NoCheckout: there are no tests under ``root``.
    """
    tests = [test for one in listed.values() for test in one.tests]
    if not (root / "tests").is_dir():
        raise NoCheckout(f"{root} is no checkout of the source: the tests are not there.")
    missing = unknown_tests(root, tests)
    if missing:
        raise NoCheckout(f"These tests are not in {root}: {', '.join(missing)}.")
    console, broken = _console(), []
    for name, one in listed.items():
        if not one.tests:
            console.print(f"[yellow]not tested[/yellow]  {name}: {one.why}")
            continue
        told = [line for group in _apart(one.tests) for line in _failures(group, root)]
        word = "[red]BROKEN[/red]" if told else "[green]kept[/green]  "
        console.print(f"{word}      {name}: {one.figure}")
        for line in told:
            console.print(f"  {line}", soft_wrap=True, markup=False)
        if told:
            broken.append(name)
    return broken


def _apart(tests: Sequence[str]) -> list[list[str]]:
    """Browser tests run in a process of their own: they leave an event loop running."""
    browser = [one for one in tests if one.startswith("tests/e2e/")]
    return [group for group in ([one for one in tests if one not in browser], browser) if group]


def _failures(tests: Sequence[str], root: Path) -> list[str]:
    """What pytest says of those that failed; empty when all passed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode == 0:
        return []
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return lines or [f"pytest ended with {done.returncode}"]


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)
