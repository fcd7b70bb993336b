"""A record that stands in several versions: the latest counts, also where it concerns no rule or is about somebody else.

What is kept of a file are lines that concern a rule. A later version of such a record may concern none any more, or
name another patient; it would be skipped, or reviewed elsewhere, and the old one would stay. So the files are searched
once more for the ids of what was kept. That costs nothing where no kept record says which version it is: then nobody
knows which one is later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import orjson

from fhir_adapter.elements import Resource, Version, text, version_of
from fhir_adapter.ndjson import Chunk, Unreadable, chunks_of
from fhir_adapter.sieve import lines_at
from service.batch.inputs import MIXED
from service.batch.shards import Form, Record
from service.batch.values import Stretch

_STATED: Final = (b'"lastUpdated"', b'"versionId"')
_ID: Final = re.compile(rb'"id"\s*:\s*"([^"\\]*)"')
_ESCAPED: Final = re.compile(rb"\\u00")
Outdated = dict[str, Version]


class Kept(NamedTuple):
    """The latest version of a record that was kept, and whether other versions are about other patients."""

    version: Version
    patient: str
    moved: bool = False

    def with_another(self, other: Kept) -> Kept:
        """What both say together."""
        later = max(self, other, key=lambda one: one.version)
        return later._replace(moved=self.moved or other.moved or self.patient != other.patient)


class Seen:
    """Versions of the records that a scan keeps, by ``Type/id``. A Patient never concerns anybody else."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}

    def note(self, record: Record) -> None:
        """Take in a record, if it says which version it is."""
        if record.form is not Form.LINE or not _says_its_version(record.raw):
            return
        try:
            value = orjson.loads(record.raw)
        except orjson.JSONDecodeError:
            return  # the review rejects it
        name = _name(value) if isinstance(value, dict) else ""
        if name and not name.startswith("Patient/"):
            self._add(name, Kept(version_of(value), record.key))

    def add(self, others: Mapping[str, Kept]) -> None:
        """Take in what another scan saw."""
        for name, one in others.items():
            self._add(name, one)

    def _add(self, name: str, one: Kept) -> None:
        known = self.kept.get(name)
        self.kept[name] = one if known is None else known.with_another(one)

    def moved(self) -> Outdated:
        """Records whose versions are about several patients, each with the latest version."""
        return {name: one.version for name, one in self.kept.items() if one.moved}

    def to_bytes(self) -> bytes:
        """As ``read_seen`` reads it."""
        return msgspec.msgpack.encode(self.kept)


def read_seen(paths: Iterable[Path]) -> Seen:
    """What all scans saw."""
    seen = Seen()
    for path in paths:
        seen.add(msgspec.msgpack.decode(path.read_bytes(), type=dict[str, Kept]))
    return seen


def read_versions(path: Path) -> Outdated:
    """Versions by ``Type/id``, as they were written for all workers."""
    return msgspec.msgpack.decode(path.read_bytes(), type=Outdated)


class LaterVersions:
    """Searches files for later versions of the records that were kept."""

    def __init__(self, kept: Mapping[str, Version]) -> None:
        self._kept = kept
        self._ids: dict[str, set[bytes]] = {}
        for name in kept:
            kind, _, identity = name.partition("/")
            for one in (kind, MIXED):
                self._ids.setdefault(one, set()).add(identity.encode())

    def search(self, stretch: Stretch, found: Outdated) -> None:
        """Add every later version that the stretch holds; documents stand for themselves."""
        ids = self._ids.get(stretch.kind)
        if stretch.form != "lines" or not ids:
            return
        usual = _usual_beginning(stretch.kind)
        try:
            for chunk in chunks_of(Path(stretch.path), stretch.offset, stretch.length):
                if _says_its_version(chunk.data):
                    for line in _lines_with(ids, chunk, usual):
                        self._take(line, found)
        except (Unreadable, OSError):
            return  # the scan of the same file reports it

    def _take(self, line: bytes, found: Outdated) -> None:
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            return
        name = _name(value) if isinstance(value, dict) else ""
        known = found.get(name) or self._kept.get(name)
        if known is not None and known < (version := version_of(value)):
            found[name] = version


def _usual_beginning(kind: str) -> re.Pattern[bytes]:
    """How nearly all servers begin a line; where each line of a chunk does so, ids are in the order of the lines."""
    return re.compile(rb'\n\{"resourceType":"' + kind.encode() + rb'","id":"([^"\\]*)"')


def _lines_with(ids: set[bytes], chunk: Chunk, usual: re.Pattern[bytes]) -> Iterator[bytes]:
    """Lines that name one of these ids, and those that may spell it in another way."""
    data = chunk.data
    named = usual.findall(b"\n" + data)
    if len(named) == chunk.lines:
        if not ids.isdisjoint(named):
            lines = data.split(b"\n")
            yield from (lines[number] for number, one in enumerate(named) if one in ids)
        return
    places = [one.start() for one in _ESCAPED.finditer(data)] if b"\\u00" in data else []
    if not ids.isdisjoint(_ID.findall(data)):
        places += [one.start() for one in _ID.finditer(data) if one[1] in ids]
    yield from lines_at(data, sorted(places)).values()


def is_outdated(resource: Resource, outdated: Mapping[str, Version]) -> bool:
    """Whether a later version of this record stands elsewhere."""
    latest = outdated.get(_name(resource)) if outdated else None
    return latest is not None and version_of(resource) < latest


def _says_its_version(raw: bytes) -> bool:
    return any(one in raw for one in _STATED) or b"\\u00" in raw


def _name(value: Resource) -> str:
    kind, identity = text(value.get("resourceType")), text(value.get("id"))
    return f"{kind}/{identity}" if kind and identity else ""
