"""The knowledge of this installation: the packs in force, the hospital's own codes, and the profiles of its clients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rules.errors import KnowledgeError
from rules.rulebook import Rulebook, load_rulebook

if TYPE_CHECKING:
    from rules.code_maps import CodeMap
    from service.cds_hooks.clients import ClientRegistry
    from service.settings import Settings

_LARGEST = 64 << 20


def site_rulebook(settings: Settings) -> Rulebook:
    """What the settings name, opened and checked; raises KnowledgeError."""
    return load_rulebook(
        settings.packs, settings.pack_dirs, code_maps=read_code_maps(settings.code_maps)
    )


def site_clients(settings: Settings, folder: Path) -> ClientRegistry:
    """The client profiles of a folder, their code maps tried against the packs; raises ProfileRefused."""
    from service.cds_hooks.clients import ClientRegistry as Registry
    from service.local_codes import local_codes

    return Registry.load(folder, lambda _, maps: local_codes(site_rulebook(settings), maps))


def read_code_maps(files: Sequence[Path]) -> tuple[CodeMap, ...]:
    """The local code maps of these files (FHIR ConceptMap, JSON); each is known by the name of its file.

    Raises:
        KnowledgeError: a file cannot be read, or is no map that can be used.
    """
    if not files:
        return ()
    from fhir_adapter.concept_map import read_concept_map

    read: list[CodeMap] = []
    for file in files:
        try:
            if file.stat().st_size > _LARGEST:
                raise KnowledgeError("is larger than any code map may be.", where=str(file))
            data = file.read_bytes()
        except OSError as error:
            raise KnowledgeError(f"cannot be read ({error.strerror}).", where=str(file)) from None
        read.append(read_concept_map(data, file.name.removesuffix(".json")))
    return tuple(read)
