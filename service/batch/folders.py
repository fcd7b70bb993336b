"""The files of a folder: plain files and links that stay inside; whatever else bears the name of data is a reject."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fhir_adapter.ndjson import is_zipped
from service.batch.values import Reject

LINES: Final = (".ndjson", ".jsonl")
ENDINGS: Final = (".json", *LINES)
# Written by exporters beside the data; they hold no resources.
_NOT_DATA: Final = frozenset({"log.ndjson"})
_DEEPEST: Final = 50  # folders in one another; an export has two or three
# What each finished run leaves: a folder with these holds results, not data.
_OF_A_RUN: Final = ("run.json", "run.meta.json", "rejects.ndjson")


def plain_name(path: Path) -> Path:
    """The name without the ending of compression."""
    return path.with_suffix("") if is_zipped(path) else path


def readable_name(path: Path) -> bool:
    """Whether the name can be told to people: file systems also allow bytes that are no UTF-8."""
    return str(path) == str(path).encode("utf-8", "replace").decode()


def files_in(folder: Path, rejects: list[Reject]) -> Iterator[tuple[Path, str]]:
    """Files of data under a folder with their names inside it, in order of names; hidden ones are left out.

    Where the folder holds links to files in its own subfolders, as smart-fetch makes them, the links say what is
    current: other files of data in those subfolders are of earlier exports.
    """
    top = folder.resolve()
    found = list(_walk(folder, folder, top, rejects))
    current = [path for path, _ in found if path.is_symlink() and path.parent == folder]
    exports = {path.resolve().parent for path in current} - {top}
    for path, name in sorted(found, key=lambda one: one[1]):
        superseded = not path.is_symlink() and path.resolve().parent in _siblings(exports, top)
        if not superseded:
            yield path, name


def _siblings(exports: set[Path], top: Path) -> set[Path]:
    """Folders of exports beside those that are current; only where there are such at all."""
    return {one for one in top.iterdir() if one.is_dir()} if exports else set()


def _walk(at: Path, folder: Path, top: Path, rejects: list[Reject]) -> Iterator[tuple[Path, str]]:
    if len(at.parts) - len(folder.parts) > _DEEPEST:
        says = f"It lies deeper than {_DEEPEST} folders in one another."
        _reject(rejects, at.relative_to(folder), "file-not-readable", says)
        return
    try:
        entries = sorted(os.scandir(at), key=lambda one: one.name)
    except OSError as error:
        _reject(
            rejects,
            at.relative_to(folder),
            "file-not-readable",
            f"It cannot be read ({error.strerror}).",
        )
        return
    for entry in entries:
        path = Path(entry.path)
        name = path.relative_to(folder)
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if all((path / one).is_file() for one in _OF_A_RUN):
                continue
            yield from _walk(path, folder, top, rejects)
            continue
        problem = _problem(path, top)
        if problem == "":
            if _is_data(path):
                yield path, name.as_posix()
        elif _is_data(path) or entry.is_symlink():
            _reject(rejects, name, "no-plain-file", problem)


def _is_data(path: Path) -> bool:
    return plain_name(path).suffix.lower() in ENDINGS and path.name not in _NOT_DATA


def _problem(path: Path, top: Path) -> str:
    """Why an entry of a folder is not read; empty for a file that is."""
    if not readable_name(path):
        return "Its name is not UTF-8."
    try:
        target = path.resolve(strict=True)
        mode = target.stat().st_mode
    except (OSError, RuntimeError):
        return "It is a link that leads nowhere."
    if not target.is_relative_to(top):
        return "It is a link that leads out of the folder; give the place itself."
    if stat.S_ISDIR(mode):
        return (
            ""
            if not path.is_symlink()
            else "It is a link to a folder; such links are not followed."
        )
    return "" if stat.S_ISREG(mode) else "It is no plain file."


def _reject(rejects: list[Reject], name: Path, code: str, says: str) -> None:
    shown = name.as_posix().encode("utf-8", "replace").decode()
    rejects.append(Reject(file=shown, line=0, code=code, says=says))
