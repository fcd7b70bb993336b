"""Elements of raw FHIR JSON, read leniently: wrong shapes give nothing instead of an error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

Resource = dict[str, Any]
Version = tuple[str, str]


def items(value: Any) -> list[Any]:
    """The element as a list: a single value where a list is due counts as a list of one."""
    if value.__class__ is list:
        return value
    return [] if value is None else [value]


def mappings(value: Any) -> list[Resource]:
    """Only the objects among the items."""
    if value.__class__ is list:
        return [item for item in value if item.__class__ is dict]
    return [value] if value.__class__ is dict else []


def mapping(value: Any) -> Resource:
    """The element as one object: the first of a list, or an empty one."""
    if value.__class__ is dict:
        return value
    if value.__class__ is list:
        for item in value:
            if item.__class__ is dict:
                return item
    return {}


def text(value: Any) -> str:
    """The element as stripped text; anything else is empty."""
    return value.strip() if value.__class__ is str else ""


def number(value: Any) -> float | None:
    """The element as a finite number; texts that are plain numbers count."""
    if value.__class__ is float:
        return value if math.isfinite(value) else None
    if value.__class__ is int:
        try:
            result = float(value)
        except OverflowError:
            return None
    elif value.__class__ is str:
        try:
            result = float(value)
        except ValueError:
            return None
    else:
        return None
    return result if math.isfinite(result) else None


def codings(concept: Any) -> Iterator[tuple[str, str]]:
    """(system, code) of every coding of a concept that has both."""
    for coding in mappings(mapping(concept).get("coding")):
        code = coding.get("code")
        system = coding.get("system")
        if code.__class__ is str and system.__class__ is str:
            yield system.strip(), code.strip()


def codes(concept: Any) -> list[str]:
    """Codes of a concept in lower case, whatever their system; a plain code counts too."""
    if concept.__class__ is str:
        return [concept.strip().lower()]
    found: list[str] = []
    for one in mappings(concept):
        found += [
            coding["code"].strip().lower()
            for coding in mappings(one.get("coding"))
            if coding.get("code").__class__ is str
        ]
    return found


def words_of(concept: Any) -> list[str]:
    """Text and displays of a concept, text first, without repeats."""
    whole = mapping(concept)
    words = [text(whole.get("text"))]
    words += [text(coding.get("display")) for coding in mappings(whole.get("coding"))]
    return list(dict.fromkeys(word for word in words if word))


def concept_of(value: Any) -> Any:
    """The concept of a CodeableReference (R5), or the value itself."""
    if value.__class__ is dict and ("concept" in value or "reference" in value):
        return value.get("concept")
    return value


def reference_of(value: Any) -> str:
    """The reference text of a Reference or CodeableReference (R5)."""
    whole = mapping(value)
    target = whole.get("reference")
    if target.__class__ is dict:
        target = target.get("reference")
    return target.strip() if target.__class__ is str else ""


def name_of(resource: Resource) -> str:
    """``Type/id`` of a resource, or only its type."""
    kind, identity = resource.get("resourceType"), resource.get("id")
    named = (kind.strip() if kind.__class__ is str else "") or "Resource"
    if identity.__class__ is str and (identity := identity.strip()):
        return f"{named}/{identity}"
    return named


def notes_of(resource: Resource) -> list[str]:
    """Texts of the notes."""
    return [text(note.get("text")) for note in mappings(resource.get("note")) if note.get("text")]


def version_of(resource: Resource) -> Version:
    """When a resource was last updated (ISO 8601 in UTC) and its version; of two versions the greater is the later.

    What is not stated or not readable is empty, and earlier than anything else (FHIR R4 Resource.meta).
    """
    meta = mapping(resource.get("meta"))
    number = text(meta.get("versionId"))
    return _in_utc(text(meta.get("lastUpdated"))), number.zfill(
        20
    ) if number.isdecimal() else number


def _in_utc(spelt: str) -> str:
    try:
        found = datetime.fromisoformat(spelt)
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return found.astimezone(UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return ""
