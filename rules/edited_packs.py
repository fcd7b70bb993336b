"""Edited copies of installed packs, put in the place of the originals for one process: to try an edit.

Packs import each other by name, so the copy must answer to the name of the original before anybody imports it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from rules.errors import KnowledgeError


def lay_over(folders: Mapping[str, Path]) -> None:
    """From now on ``folders`` (import name -> folder) are imported instead of what is installed.

    Raises:
        KnowledgeError: one of them was imported before from elsewhere.
    """
    for name, folder in folders.items():
        loaded = sys.modules.get(name)
        if loaded is not None and folder.resolve() not in {
            Path(place).resolve() for place in getattr(loaded, "__path__", ())
        }:
            raise KnowledgeError(
                f"{name} is in use already; an edited copy needs a process of its own.",
                where=str(folder),
            )
    if folders:
        sys.meta_path.insert(0, _Finder(folders))


class _Finder(MetaPathFinder):
    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = dict(folders)

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The copy, if it has one of the names; its own modules follow from its folder."""
        folder = self._folders.get(fullname)
        if folder is None:
            return None
        first = folder / "__init__.py"
        if first.is_file():
            return importlib.util.spec_from_file_location(
                fullname, first, submodule_search_locations=[str(folder)]
            )
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        return spec
