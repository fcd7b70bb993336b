"""A hospital's own codes: each stands for a code that the packs know, and from then on means the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from rules.code_files import CodeFile, CodeList
from rules.errors import KnowledgeError

_PREFIX_FROM = 3  # a listed prefix is never shorter


class MappedCode(msgspec.Struct, frozen=True, kw_only=True):
    """One local code and the code that it stands for."""

    system: str
    code: str
    to_system: str
    to_code: str


class CodeMap(msgspec.Struct, frozen=True, kw_only=True):
    """A list of local codes; ``unused`` counts entries of its file that cannot be used, by reason."""

    name: str
    version: str
    digest: str
    entries: tuple[MappedCode, ...]
    unused: Mapping[str, int] = {}

    @property
    def mark(self) -> str:
        """Version and digest, as they stand in provenance."""
        return f"{self.version}+{self.digest[:16]}"


def with_local_codes(content: CodeFile, maps: Iterable[CodeMap]) -> tuple[CodeFile, dict[str, int]]:
    """The code lists with the local codes of all maps, and how many entries of each map a pack knows.

    An entry whose target no pack knows changes nothing: the drug or result concerns no rule, or stays as
    unreadable as the code that it stands for.

    Raises:
        KnowledgeError: a local code stands for two different things, or no entry of a map is known.
    """
    lists = list(content.code_lists)
    used: dict[str, int] = {}
    given: dict[tuple[str, str, str], tuple[Any, str]] = {}
    for one in maps:
        if one.name in used:
            raise KnowledgeError("Two code maps have this name.", where=one.name)
        used[one.name] = 0
        for entry in one.entries:
            meanings = list(_meanings(content.code_lists, entry))
            used[one.name] += bool(meanings)
            for purpose, meaning in meanings:
                key = (purpose, entry.system, entry.code)
                if given.setdefault(key, (meaning, one.name))[0] != meaning:
                    raise KnowledgeError(
                        f"{entry.system} {entry.code} stands for two different things.",
                        where=one.name,
                        remedy="Keep the one that is meant.",
                    )
        if not used[one.name]:
            raise KnowledgeError(
                "no entry leads to a code that a pack in force knows.",
                where=one.name,
                remedy="Map local codes to LOINC, RxNorm, SNOMED CT, ATC or ICD-10-CM codes of the packs.",
            )
    return msgspec.structs.replace(content, code_lists=(*lists, *_lists_of(given))), used


def _lists_of(given: Mapping[tuple[str, str, str], tuple[Any, str]]) -> list[CodeList]:
    gathered: dict[tuple[str, str, str], dict[str, Any]] = {}
    for (purpose, system, code), (meaning, name) in sorted(given.items(), key=lambda one: one[0]):
        gathered.setdefault((purpose, system, name), {})[code] = meaning
    return [
        msgspec.convert(
            {
                "for": purpose, "system": system, "source": f"code map {name}", "release": "local",
                "codes": {code: meaning for code, meaning in codes.items() if meaning is not None},
                "not_ours": {code: "" for code, meaning in codes.items() if meaning is None},
            },
            CodeList,
        )
        for (purpose, system, name), codes in gathered.items()
    ]  # fmt: skip


def _meanings(lists: Sequence[CodeList], entry: MappedCode) -> Iterable[tuple[str, Any]]:
    """What the target stands for, by purpose (results, drugs ...); None where it is known to concern no rule."""
    for listed in lists:
        if entry.to_system not in {listed.system, *listed.also}:
            continue
        for code in _spellings(listed, entry.to_code):
            if code in listed.codes:
                yield listed.for_, listed.codes[code]
                break
            if code in listed.not_ours:
                yield listed.for_, None
                break


def _spellings(listed: CodeList, code: str) -> Iterable[str]:
    """The code itself; where prefixes are listed, the longest first."""
    if not listed.by_prefix:
        return (code,)
    known = {one.replace(".", "").upper(): one for one in (*listed.codes, *listed.not_ours)}
    plain = code.replace(".", "").upper()
    starts = (plain[:length] for length in range(len(plain), _PREFIX_FROM - 1, -1))
    return tuple(known[start] for start in starts if start in known)
