"""A client's own codes: the vocabulary by which its records are read, made once for each state of packs and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from rules.vocabulary import Vocabulary, load_vocabulary
from service.cds_hooks.discovery import SERVICES, discovery_document, prefetch_templates

if TYPE_CHECKING:
    from rules.code_maps import CodeMap
    from rules.rulebook import Rulebook


class LocalCodes(msgspec.Struct, frozen=True, kw_only=True):
    """How the records of one client are read, and what it is asked for.

    ``marks`` name every code map that took part, the site's too, as they stand in provenance.
    """

    vocabulary: Vocabulary
    marks: Mapping[str, str]
    templates: Mapping[str, str]
    discovery: bytes


def local_codes(rulebook: Rulebook, maps: Sequence[CodeMap]) -> LocalCodes:
    """The packs' vocabulary with these maps beside those of the site.

    Raises:
        KnowledgeError: a map leads to nothing that the packs know, or contradicts a list or another map.
    """
    together = (*rulebook.code_maps, *maps)
    vocabulary = load_vocabulary(
        [pack.codes for pack in rulebook.packs if pack.codes.is_dir()], together
    )
    return LocalCodes(
        vocabulary=vocabulary,
        marks={one.name: one.mark for one in sorted(together, key=lambda one: one.name)},
        templates=prefetch_templates(vocabulary),
        discovery=discovery_document(vocabulary, SERVICES),
    )


class ClientCodes:
    """The codes of every client that has maps of its own, for the packs in force."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook
        self._made: dict[str, tuple[tuple[CodeMap, ...], LocalCodes]] = {}

    def of(self, client: str, maps: tuple[CodeMap, ...]) -> LocalCodes:
        """The codes of a client whose maps are ``maps``; raises KnowledgeError as ``local_codes``."""
        held = self._made.get(client)
        if held is None or held[0] is not maps:
            held = self._made[client] = (maps, local_codes(self._rulebook, maps))
        return held[1]

    def learn(self, rulebook: Rulebook, clients: Mapping[str, tuple[CodeMap, ...]]) -> None:
        """Go over to other packs; raises KnowledgeError, and changes nothing, where a map does not fit them."""
        made = {name: (maps, local_codes(rulebook, maps)) for name, maps in clients.items()}
        self._rulebook, self._made = rulebook, made
