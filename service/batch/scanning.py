"""From files to hits: every line or document that concerns a patient's review, by patient, on disk."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from fhir_adapter.bundles import group_by_patient, resources_in
from fhir_adapter.elements import mapping, reference_of, text
from fhir_adapter.ndjson import (
    Chunk,
    UnpacksTooFar,
    Unreadable,
    chunks_of,
    is_zipped,
    key_of,
    key_of_line,
    unzipped,
)
from fhir_adapter.sieve import Sieve
from service.batch.shards import Form, Record
from service.batch.values import Reject, ScanReport, Stretch

_BOM: Final = b"\xef\xbb\xbf"
_TYPE: Final = re.compile(rb'"resourceType"\s*:\s*"([A-Za-z]+)"')
_CONTAINERS: Final = frozenset({"Bundle", "Parameters"})
Keep = Callable[[Record], None]


class Scanner:
    """Scans stretches of files; one per worker."""

    def __init__(self, sieve: Sieve) -> None:
        self._sieve = sieve

    def scan(self, stretch: Stretch, keep: Keep, report: ScanReport) -> None:
        """Read one stretch; what cannot be used becomes a reject of the report, never an exception."""
        lines = size = checksum = 0
        try:
            if stretch.form == "document":
                data = _whole(stretch)
                lines, size, checksum = 1, len(data), zlib.crc32(data)
                self._document(_Place(stretch, 0, report), data, keep)
            else:
                for chunk in chunks_of(Path(stretch.path), stretch.offset, stretch.length):
                    lines = chunk.line + chunk.lines
                    size += len(chunk.data)
                    checksum = zlib.crc32(chunk.data, checksum)
                    self._lines(stretch, chunk, keep, report)
        except Unreadable as error:
            _Place(stretch, lines, report).reject("file-cut-off", str(error))
        except OSError as error:
            _Place(stretch, lines, report).reject(
                "file-not-readable", f"The file cannot be read ({error.strerror})."
            )
        report.stretches.append((stretch.file, stretch.offset, lines, size, checksum))

    def _lines(self, stretch: Stretch, chunk: Chunk, keep: Keep, report: ScanReport) -> None:
        for number, line, certain in self._sieve.sift(chunk.data, stretch.kind):
            if not certain and self._is_dull(line, stretch, report):
                continue
            place = _Place(stretch, chunk.line + number, report)
            if certain:
                key = key_of_line(line)
                if key is not None:
                    report.hits += 1
                    keep(place.record(key, Form.LINE, line))
                    continue
            self._parse(place, line, keep, certain=certain)

    def _is_dull(self, line: bytes, stretch: Stretch, report: ScanReport) -> bool:
        """Whether a line is one resource of no concern: nearly all are, so this comes before anything else."""
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            return False
        kind = value.get("resourceType") if value.__class__ is dict else None
        if kind.__class__ is not str or kind in _CONTAINERS or self._sieve.concerns(value):
            return False
        self._count(kind, stretch, report)
        return True

    def _count(self, kind: str, stretch: Stretch, report: ScanReport) -> None:
        report.types[kind] = report.types.get(kind, 0) + 1
        expected = stretch.kind or kind
        if kind != expected and (kind == "Medication" or self._sieve.reads(kind)):
            report.mixed.add(stretch.file)

    def _parse(self, place: _Place, line: bytes, keep: Keep, *, certain: bool) -> None:
        """The exact way for a line that bytes alone do not settle."""
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            key = key_of_line(line)
            if key is None:
                place.reject("not-json", "The line is no JSON.")
            else:  # the review of this patient must say that something is missing
                place.report.hits += 1
                named = _TYPE.search(line)
                keep(place.record(key, Form.BROKEN, named[1] if named else b""))
            return
        if not isinstance(value, dict) or not isinstance(value.get("resourceType"), str):
            place.reject("no-resource", "The line is no FHIR resource.")
            return
        kind = value["resourceType"]
        if kind in _CONTAINERS:
            self._contents(place, line, value, keep)
            return
        self._count(kind, place.stretch, place.report)
        if kind == "Medication":
            return  # read before all others, see medications.py
        if certain or self._sieve.concerns(value):
            self._keep(place, line, value, keep)

    def _keep(self, place: _Place, line: bytes, value: dict[str, Any], keep: Keep) -> None:
        key = key_of(value)
        if not key:
            place.reject("no-patient", _whose(value))
            return
        place.report.hits += 1
        keep(place.record(key, Form.LINE, line))

    def _document(self, place: _Place, data: bytes, keep: Keep) -> None:
        try:
            value = orjson.loads(data.removeprefix(_BOM))
        except orjson.JSONDecodeError:
            place.reject("not-json", "The file is no JSON.")
            return
        self._contents(place, data.removeprefix(_BOM), value, keep)

    def _contents(self, place: _Place, raw: bytes, value: Any, keep: Keep) -> None:
        """A Bundle (or list) by patient; a single resource as a line."""
        kind = value.get("resourceType") if isinstance(value, dict) else None
        if kind is not None and not isinstance(kind, str):
            place.reject("no-resource", _what(value))
            return
        if kind is not None and kind not in _CONTAINERS:
            if kind == "Medication":
                return
            place.report.types[kind] = 1
            if self._sieve.reads(kind):
                self._keep(place, raw, value, keep)
            return
        resources = resources_in(value)
        if not resources:
            place.reject("no-resource", _what(value))
            return
        groups = group_by_patient(resources)
        alone = len(groups) == 1
        types = sorted({str(one.get("resourceType")) for one in resources})
        for key, own in groups.items():
            if not key:
                for one in own:
                    kind = str(one.get("resourceType"))
                    if self._sieve.reads(kind):
                        place.reject("no-patient", _whose(one))
                continue
            place.report.hits += 1
            if alone and value.__class__ is dict:
                keep(place.record(key, Form.BUNDLE, raw))
            else:
                supply = orjson.dumps({"types": types, "resources": own})
                keep(place.record(key, Form.SUPPLY, supply))


class _Place:
    """Where something stands, for records and rejects."""

    def __init__(self, stretch: Stretch, line: int, report: ScanReport) -> None:
        self.stretch, self.line, self.report = stretch, line, report

    def record(self, key: str, form: Form, raw: bytes) -> Record:
        return Record(key, form, self.stretch.file, self.stretch.offset, self.line, raw)

    def reject(self, code: str, says: str) -> None:
        self.report.rejects.append(
            Reject(
                file=self.stretch.name,
                line=0 if self.stretch.form == "document" else self.line + 1,
                code=code,
                says=says,
                number=self.stretch.file,
                offset=self.stretch.offset,
            )
        )


def _whole(stretch: Stretch) -> bytes:
    path = Path(stretch.path)
    if not is_zipped(path):
        return path.read_bytes()
    try:
        return b"".join(unzipped(path))
    except UnpacksTooFar:
        raise
    except Unreadable:
        raise Unreadable(
            "The file is no whole gzip file, and one document: it was not read."
        ) from None


def _whose(resource: Mapping[str, Any]) -> str:
    """Why nobody knows whose a resource is; never says what stands there."""
    kind = text(resource.get("resourceType"))
    if kind == "Patient":
        return "The Patient has no id."
    whose = mapping(resource.get("subject") or resource.get("patient"))
    target = reference_of(whose)
    if target.startswith("#"):
        return (
            f"The {kind} is about a patient inside itself (contained), whom nothing else can name."
        )
    if target:
        return f"The {kind} is about something that is no Patient (a Group, a Device ...)."
    if "identifier" in whose or "display" in whose:
        return (
            f"The {kind} names its patient without a reference (by an identifier or a name only)."
        )
    return f"The {kind} does not say whose it is: its subject is missing or withheld."


def _what(value: Any) -> str:
    """Why a document holds nothing to review."""
    if isinstance(value, dict):
        kind = value.get("resourceType")
        if isinstance(kind, str):
            return f"The {kind} holds no resource."
        lacks = "it has no resourceType" if kind is None else "its resourceType is no text"
        return f"It is JSON, but no FHIR resource: {lacks}."
    return "It is JSON, but neither a FHIR resource nor a list of any."


def lines_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Lines that hold anything, with their number from 0."""
    for number, line in enumerate(data.split(b"\n")):
        if line.strip():
            yield number, line
