"""A new pack from the skeleton: one working example of everything, for a hospital to change."""

from __future__ import annotations

import re
from datetime import date
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Final

from rules.errors import KnowledgeError
from rules.rulebook import find_packs

ENDING: Final = ".template"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_pack(name: str, parent: Path, *, today: date) -> Path:
    """Write the skeleton of pack ``name`` into a new folder below ``parent``; gives the folder of the pack itself.

    The first version is dated ``today``; its numbers are to be reviewed within a year.

    Raises:
        KnowledgeError: the name is unfit or taken, or the folder exists already.
    """
    if not _NAME.fullmatch(name):
        raise KnowledgeError(
            f"{name!r} is no name for a pack.",
            remedy="Use small letters, digits and single hyphens, as in 'north-hospital'.",
        )
    if name in find_packs():
        raise KnowledgeError(f"there is a pack {name!r} already.", remedy="Choose another name.")
    project = parent / name
    if project.exists():
        raise KnowledgeError("exists already; nothing was written.", where=str(project))
    words = _words(name, today)
    for place, source in _templates(files("service") / "skeleton"):
        inside = (
            place.replace("pack/", f"{words['module']}/", 1) if place.startswith("pack/") else place
        )
        target = project / inside.replace("example.yaml", f"{name}-example.yaml")
        target.parent.mkdir(parents=True, exist_ok=True)
        text = Template(source.read_text(encoding="utf-8")).substitute(words)
        target.write_text(text, encoding="utf-8")
    return project / words["module"]


def _words(name: str, today: date) -> dict[str, str]:
    due = today.replace(year=today.year + 1, day=min(today.day, 28))
    return {
        "id": name,
        "module": f"{name.replace('-', '_')}_pack",
        "title": name.replace("-", " ").capitalize(),
        "topic": f"{name.replace('-', '').upper()}EXAMPLE"[:40],
        "version": f"{today.year}.{today.month}.1",
        "today": today.isoformat(),
        "due": due.isoformat(),
    }


def _templates(folder: Traversable, before: str = "") -> list[tuple[str, Traversable]]:
    """Every template with its place, without the ending."""
    found: list[tuple[str, Traversable]] = []
    for one in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if one.is_dir():
            found += _templates(one, f"{before}{one.name}/")
        elif one.name.endswith(ENDING):
            found.append((before + one.name.removesuffix(ENDING), one))
    return found
