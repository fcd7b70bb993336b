"""Every benchmark with one command: JSON, ratios first.

python -m benchmarks [--quick] [--save] [--without-peers] [--into FOLDER] [NAME ...]

``hooks`` as a name stands for everything that is measured of hook calls. With ``--save`` the results are kept beside the
benchmarks (or in FOLDER) and the page of figures is made anew (see report.py). ``--without-peers`` installs no
other project to compare with.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from benchmarks import report

GROUPS: Final = {"hooks": ("hook", "hook_server", "lifetime")}
QUICK: Final = "A quick run: it shows that everything is measured, and its figures scatter."


def main(arguments: list[str]) -> None:
    """Run the named benchmarks, or all modules here that can ``measure()``."""
    asked = _asked(arguments)
    rows: dict[str, object] = {}
    for name in _named(asked.names):
        measure = getattr(importlib.import_module(f"benchmarks.{name}"), "measure", None)
        if measure is None:
            continue
        takes = inspect.signature(measure).parameters
        offered = {"quick": asked.quick, "peers": not asked.without_peers}
        rows[name] = found = measure(**{key: one for key, one in offered.items() if key in takes})
        if asked.save and isinstance(found, Mapping):
            report.keep(name, found, QUICK if asked.quick else asked.remark, asked.into)
    if asked.save:
        page = report.PAGE if asked.into == report.RESULTS else asked.into / report.PAGE.name
        page.write_text(report.page(report.kept(asked.into)))
    print(json.dumps(rows, indent=2))


def _asked(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--save", action="store_true", help="keep the results, write the page")
    parser.add_argument("--without-peers", action="store_true", help="install no other project")
    parser.add_argument("--into", type=Path, default=report.RESULTS, metavar="FOLDER")
    parser.add_argument("--remark", default="", help="stands beside the results")
    return parser.parse_args(arguments)


def _named(names: list[str]) -> Iterator[str]:
    here = Path(__file__).parent
    for name in names or sorted(path.stem for path in here.glob("*.py") if path.stem[0] != "_"):
        yield from GROUPS.get(name, (name,))


if __name__ == "__main__":
    main(sys.argv[1:])
