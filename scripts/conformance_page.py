"""Writes docs/cds-hooks-conformance.md: each requirement with the tests that prove it, or the reason why none does.

    python scripts/conformance_page.py          # writes the page
    python scripts/conformance_page.py --check  # says whether it is up to date

Tests name what they prove by ``@pytest.mark.requirement("C29", "C35")``; they are read, not run.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "docs" / "cds-hooks-requirements.yaml"
PAGE = ROOT / "docs" / "cds-hooks-conformance.md"
HEAD = """\
# CDS Hooks: requirement by requirement

Made by `python scripts/conformance_page.py`; do not edit. The service follows CDS Hooks 2.0.1, sends only what is
valid in the 3.0 ballot too, and takes requests of 1.0 to 3.0. `dekacard conformance URL` checks any running service.

| | requirement | proven by |
|---|---|---|
"""


def proven(tests: Path) -> Iterator[tuple[str, str]]:
    """Requirement and test (``file::name``) for every marker under ``tests``."""
    for file in sorted(tests.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            for mark in node.decorator_list:
                if (
                    isinstance(mark, ast.Call)
                    and ast.unparse(mark.func) == "pytest.mark.requirement"
                ):
                    for argument in mark.args:
                        yield ast.literal_eval(argument), f"{file.relative_to(ROOT)}::{node.name}"


def requirements() -> dict[str, dict[str, str]]:
    """The list: ``says`` and, where nothing is tested, ``reason``."""
    listed: dict[str, dict[str, str]] = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    return listed


def page(listed: dict[str, dict[str, str]], tests: dict[str, list[str]]) -> str:
    """The page as text."""
    rows = []
    for name, entry in listed.items():
        by = [f"[{t.partition('::')[2]}](../{t.partition('::')[0]})" for t in tests.get(name, [])]
        by += [entry["reason"]] if "reason" in entry else []
        rows.append(
            f"| {name} | {entry['says'].replace('|', chr(92) + '|')} | {'<br>'.join(by) or '**open**'} |"
        )
    return HEAD + "\n".join(rows) + "\n"


def open_requirements(listed: dict[str, dict[str, str]], tests: dict[str, list[str]]) -> list[str]:
    """Requirements with neither test nor reason, and markers that name no requirement."""
    missing = [
        name for name, entry in listed.items() if "reason" not in entry and name not in tests
    ]
    return missing + sorted(set(tests) - set(listed))


def gather() -> dict[str, list[str]]:
    """Requirement -> its tests, in the order of their files."""
    found: dict[str, list[str]] = {}
    for name, test in proven(ROOT / "tests"):
        if test not in found.setdefault(name, []):
            found[name].append(test)
    return found


def main(arguments: list[str]) -> int:
    """Write or check the page; 1 when it is not up to date or a requirement is open."""
    listed, tests = requirements(), gather()
    text = page(listed, tests)
    open_ones = open_requirements(listed, tests)
    if open_ones:
        print("open:", ", ".join(open_ones), file=sys.stderr)
    if "--check" in arguments:
        stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text
        if stale:
            print("the page is not up to date: python scripts/conformance_page.py", file=sys.stderr)
        return int(stale or bool(open_ones))
    PAGE.write_text(text, encoding="utf-8")
    return int(bool(open_ones))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
