"""Medication resources that many patients share: read before all others, because lines only name them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from fhir_adapter.elements import Resource, items, mappings, reference_of, text, version_of
from fhir_adapter.ndjson import Unreadable, chunks_of
from service.batch.deletions import Deletions
from service.batch.inputs import MIXED, Source
from service.batch.scanning import lines_of

_MEDICATION: Final = re.compile(rb'"resourceType"\s*:\s*"Medication"')


class Shelf(msgspec.Struct):
    """All Medications by id, as JSON; where an id stands twice, the later update counts."""

    resources: dict[str, bytes] = {}

    def add(self, resource: Resource) -> None:
        """Put a Medication on the shelf."""
        identity = text(resource.get("id"))
        if not identity:
            return
        raw = orjson.dumps(resource, option=orjson.OPT_SORT_KEYS)
        known = self.resources.get(identity)
        if known is None or _version(orjson.loads(known), known) < _version(resource, raw):
            self.resources[identity] = raw

    def view(self) -> Mapping[str, Resource]:
        """By ``Medication/id``, parsed when asked for."""
        return _View(self.resources)


class _View(dict[str, Resource]):
    """A mapping that parses on first use; the reader asks with ``get``."""

    def __init__(self, resources: Mapping[str, bytes]) -> None:
        super().__init__()
        self._resources = resources

    def get(self, name: str, default: Any = None) -> Any:
        known = dict.get(self, name)
        if known is None:
            raw = self._resources.get(name.removeprefix("Medication/").removeprefix("urn:uuid:"))
            if raw is None:
                return default
            known = self[name] = orjson.loads(raw)
        return known


def _version(resource: Resource, raw: bytes) -> tuple[str, str, bytes]:
    return (*version_of(resource), raw)


def read_shelf(sources: Iterable[Source], deletions: Deletions) -> Shelf:
    """Every Medication of the inputs that was not deleted, except those inside documents of several resources."""
    shelf = Shelf()
    for source in sources:
        if source.kind not in {"Medication", MIXED}:
            continue
        try:
            for chunk in chunks_of(Path(source.path)):
                if _MEDICATION.search(chunk.data):
                    _take(chunk.data, source, shelf)
        except (Unreadable, OSError):
            continue  # the scan of the same file reports it
    if deletions.listed:
        for name in [one for one in shelf.resources if f"Medication/{one}" in deletions.listed]:
            if deletions.gone(orjson.loads(shelf.resources[name])):
                del shelf.resources[name]
    return shelf


def _take(data: bytes, source: Source, shelf: Shelf) -> None:
    pieces = [data] if source.form == "document" else [line for _, line in lines_of(data)]
    for piece in pieces:
        if not _MEDICATION.search(piece):
            continue
        try:
            value = orjson.loads(piece)
        except orjson.JSONDecodeError:
            continue  # the scan reports it
        if isinstance(value, dict) and value.get("resourceType") == "Medication":
            shelf.add(value)


def medications_for(resources: Iterable[Resource], shelf: Mapping[str, Resource]) -> list[Resource]:
    """The Medications that a patient's records name, with those that these are made of."""
    found: dict[str, Resource] = {}
    waiting = [reference for one in resources for reference in _named_by(one)]
    while waiting:
        target = waiting.pop().partition("/_history/")[0]
        name = target if target.startswith("urn:") else "/".join(target.split("/")[-2:])
        medication = shelf.get(name)
        if medication is not None and name not in found:
            found[name] = medication
            inner = mappings(medication.get("ingredient"))
            waiting += [
                reference
                for one in inner
                if (
                    reference := reference_of(one.get("itemReference"))
                    or reference_of(one.get("item"))
                )
            ]
    return [found[name] for name in sorted(found)]


def _named_by(record: Resource) -> list[str]:
    holders = (*items(record.get("medicationReference")), *items(record.get("medication")))
    return [target for one in holders if (target := reference_of(one))]
