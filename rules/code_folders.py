"""The ``codes`` folders of the active packs, read and merged; an entry that stands twice is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from rules.code_files import CodeFile
from rules.errors import KnowledgeError
from rules.yaml_files import read_yaml

_MERGED = (
    "ingredients",
    "measures",
    "problems",
    "procedures",
    "sources",
    "foods",
    "purposes",
    "result_names",
    "problem_names",
    "routes",
)
_LISTED = (
    "names",
    "not_ours",
    "code_lists",
    "substances",
    "never_assumed_daily",
    "most_in_one",
    "products_to_order",
)
_ONCE = ("order_category", "dose_units", "label_tolerance", "reversal", "forms", "timing")


def read_code_files(folders: Iterable[Path]) -> tuple[CodeFile, dict[int, str]]:
    """Read and merge every ``*.yaml`` of the folders; also tells which file each code list came from.

    Raises:
        KnowledgeError: a file has unknown keys or wrong types, or an entry stands twice.
    """
    merged: dict[str, Any] = {name: {} for name in _MERGED} | dict.fromkeys(_LISTED, ())
    places: dict[int, str] = {}
    for file, content in _contents(folders):
        first = len(merged["code_lists"])
        places.update({first + place: str(file) for place in range(len(content.code_lists))})
        _merge(merged, content, file)
    return CodeFile(**merged), places


def _contents(folders: Iterable[Path]) -> Iterator[tuple[Path, CodeFile]]:
    for folder in folders:
        for file in sorted(folder.glob("*.yaml")):
            try:
                yield file, msgspec.convert(read_yaml(file), CodeFile)
            except msgspec.ValidationError as error:
                raise KnowledgeError(f"{error}.", where=str(file)) from None


def _merge(merged: dict[str, Any], content: CodeFile, file: Path) -> None:
    for name in _MERGED:
        for key, entry in getattr(content, name).items():
            if key in merged[name]:
                raise KnowledgeError(f"{name}: {key!r} stands twice.", where=str(file))
            merged[name][key] = entry
    for name in _LISTED:
        merged[name] = (*merged[name], *getattr(content, name))
    for name in _ONCE:
        entry = getattr(content, name)
        if entry is None:
            continue
        if merged.get(name) is not None:
            raise KnowledgeError(f"{name} stands in another file already.", where=str(file))
        merged[name] = entry
