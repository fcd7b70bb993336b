"""The page of figures in the documentation, made from the results kept beside the benchmarks.

python -m benchmarks --save NAME ...   measures and keeps the results with a description of the machine
python -m benchmarks.report            writes docs/benchmarks.md from all that is kept
"""

from __future__ import annotations

import importlib
import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path(__file__).resolve().parent
RESULTS: Final = _ROOT / "results"
PAGE: Final = _ROOT.parent / "docs" / "benchmarks.md"
_LIBRARIES: Final = ("orjson", "msgspec", "google-re2", "hyperscan", "duckdb", "pyspark", "durable-rules")  # fmt: skip
_HEAD: Final = """# Figures

Made by `python -m benchmarks.report` from `benchmarks/results/`; do not edit. Ratios compare medians of one run on one
machine and are what to look at; seconds and megabytes only give the scale. Take your own with `make bench`, or keep them
with `python -m benchmarks --save NAME`; `hooks` as the name stands for everything about hook calls.
"""


def keep(name: str, rows: Mapping[str, Any], remark: str = "", folder: Path = RESULTS) -> None:
    """Write down what one benchmark found, and on what."""
    told = {
        "taken": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "remark": remark,
        "rows": rows,
    }
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(told, indent=2) + "\n")


def machine() -> dict[str, str]:
    """What the figures were taken on; no name of a host."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        **{name: found for name in _LIBRARIES if (found := _version(name))},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "unknown")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page for results by name of their benchmark."""
    parts = [_HEAD]
    for name, told in sorted(results.items()):
        about = (importlib.import_module(f"benchmarks.{name}").__doc__ or "").strip()
        first, _, more = about.partition("\n")
        words, _, _ = more.strip().partition("\n\n    python")
        on = ", ".join(
            value if key in {"processor", "memory", "system"} else f"{key} {value}"
            for key, value in told["machine"].items()
        )
        parts.append(
            f"## {name.replace('_', ' ').capitalize()}\n\n{first}\n\n{' '.join(words.split())}\n"
        )
        parts.append(f"Taken on {told['taken']}: {on}. {told['remark']}".strip() + "\n")
        plain = {key: one for key, one in told["rows"].items() if not isinstance(one, dict)}
        if plain:
            parts.append(_table(plain))
        for title, row in told["rows"].items():
            if isinstance(row, dict):
                parts.append(f"### {title}\n\n{_table(row)}")
    return "\n".join(parts)


def _table(row: Mapping[str, Any]) -> str:
    lines = ["| | |", "|---|---:|"]
    for name, value in row.items():
        if isinstance(value, dict):
            lines += [f"| {name}: {inner} | {_said(one)} |" for inner, one in value.items()]
        else:
            lines.append(f"| {name} | {_said(value)} |")
    return "\n".join(lines) + "\n"


def _said(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def kept(folder: Path = RESULTS) -> dict[str, Any]:
    """All results that are kept, by benchmark."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


if __name__ == "__main__":
    PAGE.write_text(page(kept()))
