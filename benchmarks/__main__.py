"""Every benchmark with one command: JSON, ratios first.

python -m benchmarks [--quick] [--save] [NAME ...]

With ``--save`` the results are kept beside the benchmarks, for the page of figures (see report.py).
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks import report


def main(arguments: list[str]) -> None:
    """Run the named benchmarks, or all modules here that can ``measure()``."""
    quick = "--quick" in arguments
    named = [name for name in arguments if not name.startswith("-")]
    known = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem[0] != "_")
    rows: dict[str, object] = {}
    for name in named or known:
        measure = getattr(importlib.import_module(f"benchmarks.{name}"), "measure", None)
        if measure is not None:
            takes_quick = "quick" in inspect.signature(measure).parameters
            rows[name] = found = measure(quick=quick) if takes_quick else measure()
            if "--save" in arguments and isinstance(found, Mapping):
                report.keep(name, found)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
