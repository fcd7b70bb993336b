"""A FHIR ConceptMap as a map of local codes: which entries say "is the same as", and why the others do not count.

R4, R4B and STU3 say ``equivalence`` (https://hl7.org/fhir/R4/conceptmap.html), R5 says ``relationship``
(https://hl7.org/fhir/R5/conceptmap.html). Only sameness is used: a narrower or wider code is another thing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import orjson

from fhir_adapter.elements import mappings, text
from rules.code_maps import CodeMap, MappedCode
from rules.errors import KnowledgeError

_SAME: Final = frozenset({"equal", "equivalent"})


def read_concept_map(data: bytes, name: str) -> CodeMap:
    """The entries of a ConceptMap; ``name`` says where it came from.

    Raises:
        KnowledgeError: it is no ConceptMap in JSON, it is retired, or none of its entries says sameness.
    """
    try:
        value: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise KnowledgeError("is no JSON.", where=name) from None
    if not isinstance(value, dict) or value.get("resourceType") != "ConceptMap":
        raise KnowledgeError("is no FHIR ConceptMap.", where=name)
    if value.get("status") == "retired":
        raise KnowledgeError("is retired.", where=name, remedy="Give the map that replaced it.")
    unused: Counter[str] = Counter()
    entries = tuple(dict.fromkeys(_entries(value, unused)))
    if not entries:
        raise KnowledgeError("says of no code that it is the same as another.", where=name)
    return CodeMap(
        name=name,
        version=text(value.get("version")) or "unversioned",
        digest=hashlib.sha256(data).hexdigest(),
        entries=entries,
        unused=dict(sorted(unused.items())),
    )


def _entries(value: dict[str, Any], unused: Counter[str]) -> Iterator[MappedCode]:
    for group in mappings(value.get("group")):
        source, target = _system(group.get("source")), _system(group.get("target"))
        for element in mappings(group.get("element")):
            code = text(element.get("code")).strip()
            for one in mappings(element.get("target")):
                reason = _unusable(source, target, code, one)
                if reason:
                    unused[reason] += 1
                    continue
                yield MappedCode(
                    system=source,
                    code=code,
                    to_system=target,
                    to_code=text(one.get("code")).strip(),
                )


def _system(value: Any) -> str:
    return text(value).partition("|")[0].strip()


def _unusable(source: str, target: str, code: str, one: dict[str, Any]) -> str:
    """Why an entry cannot be used; empty when it can."""
    if not source or not target:
        return "group without code systems"
    if not code or not text(one.get("code")).strip():
        return "entry without a code"
    said = text(one.get("equivalence")) or text(one.get("relationship"))
    if said not in _SAME:
        return f"relation {said or 'not stated'}"
    if one.get("dependsOn") or one.get("product"):
        return "entry that depends on further data"
    return ""
