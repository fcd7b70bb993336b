"""What the given paths hold: documents, lines of resources, manifests; and which sources nobody exported."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote

import msgspec
import orjson

from fhir_adapter.elements import mapping, text
from fhir_adapter.ndjson import is_zipped
from rules.errors import RequestError
from service.batch.coverage import Export, export_of, in_order, shortfalls, split_address
from service.batch.deletions import Deletions, read_deletions
from service.batch.exports import export_moment, reported_errors
from service.batch.folders import LINES, files_in, plain_name, readable_name
from service.batch.values import Reject, ScanReport, Stretch, Task

STRETCH_BYTES: Final = 32 * 1024 * 1024
DELETED: Final = "deleted"  # the folder that exporters name so
_PEEK_BYTES: Final = 256 * 1024
_PEEK_LINES: Final = 100
_LONGEST_FIRST_LINE: Final = 64 * 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"
MIXED: Final = ""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One input file; ``kind`` is the only type of its lines, as far as one can see from its beginning."""

    path: str
    name: str
    size: int
    changed: int
    form: Literal["lines", "document"]
    kind: str = MIXED
    promised: int | None = None


class Inputs(msgspec.Struct, kw_only=True):
    """Everything that a run reads, in an order that depends on names alone."""

    sources: list[Source] = []
    rejects: list[Reject] = []
    exported: set[str] = set()
    incomplete: set[str] = set()
    as_of: str = ""
    deletions: Deletions = msgspec.field(default_factory=Deletions)


def find_inputs(paths: Sequence[Path]) -> Inputs:
    """Look at every path: a file, a folder (searched to the bottom), or a manifest of an export.

    Raises:
        RequestError: a path does not exist, is no plain file, or nothing to review was found.
    """
    found = Inputs()
    seen: set[Path] = set()
    promised: dict[Path, int] = {}
    deletions: dict[Path, tuple[str, str]] = {}
    exports: list[Export] = []
    files = list(dict.fromkeys(_given(paths, found.rejects)))
    for path, name in sorted(files, key=lambda one: one[1]):
        manifest = _manifest(path)
        if manifest is not None:
            files += _follow(path, name, manifest, found, promised, deletions)
            exports.append(export_of(name, manifest))
    _tell_shortfalls(exports, found)
    for path, name in sorted(dict.fromkeys(files), key=lambda one: one[1]):
        whole = path.resolve()
        if whole in seen or _manifest(path) is not None:
            continue
        seen.add(whole)
        if whole in deletions or whole.parent.name == DELETED:
            deletions.setdefault(whole, (name, export_moment(whole.parent.parent)))
            continue
        source = _look_at(path, name, promised.get(whole))
        if source.kind == "OperationOutcome":
            found.rejects += reported_errors(path, name)
            continue
        found.sources.append(source)
        if source.kind:
            found.exported.add(source.kind)
    named = sorted((name, path, when) for path, (name, when) in deletions.items())
    found.deletions = read_deletions(
        [(path, name, when) for name, path, when in named], found.rejects
    )
    if not found.sources and not found.rejects:
        raise RequestError("There is no FHIR file (.json, .ndjson, .gz) under the given paths.")
    return found


def _given(paths: Sequence[Path], rejects: list[Reject]) -> Iterator[tuple[Path, str]]:
    """Every file with its name; names that occur under several given paths begin with that path's own name."""
    groups: list[tuple[Path, list[tuple[Path, str]]]] = []
    for given in paths:
        if not given.exists():
            raise RequestError(f"{given}: there is no such file or folder.")
        if given.is_dir():
            groups.append((given, list(files_in(given, rejects))))
        elif given.is_file():
            if not readable_name(given):
                raise RequestError("A file cannot be read whose name is not UTF-8.")
            groups.append((given, [(given, given.name)]))
        else:
            raise RequestError(f"{given} is no plain file; give a stream as standard input (-).")
    counts = Counter(name for _, own in groups for _, name in own)
    used: Counter[str] = Counter()
    for given, own in groups:
        for path, name in own:
            unique = name if counts[name] == 1 else f"{given.resolve().parent.name}/{name}"
            if given.is_dir() and counts[name] > 1:
                unique = f"{given.resolve().name}/{name}"
            used[unique] += 1
            yield path, unique if used[unique] == 1 else f"{unique} ({used[unique]})"


def _head(path: Path) -> bytes:
    try:
        if is_zipped(path):
            with gzip.open(path, "rb") as file:
                return file.read(_PEEK_BYTES)
        with path.open("rb") as file:
            return file.read(_PEEK_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""  # the scan says what is wrong with it


def _manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of a Bulk Data export, if the file is one (FHIR Bulk Data Access 2.0, "Response")."""
    if path.suffix.lower() != ".json" or path.stat().st_size > STRETCH_BYTES:
        return None
    if b'"output"' not in _head(path):
        return None
    try:
        value = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        return None
    if isinstance(value, dict) and "transactionTime" in value and "resourceType" not in value:
        return value
    return None


def _follow(
    path: Path,
    name: str,
    manifest: dict[str, Any],
    found: Inputs,
    promised: dict[Path, int],
    deletions: dict[Path, tuple[str, str]],
) -> list[tuple[Path, str]]:
    """Local files of a manifest; what it promises and is not there is a reject, never silence."""
    found.as_of = max(found.as_of, str(manifest.get("transactionTime") or ""), key=in_order)
    found.exported.update(export_of(name, manifest).types)
    files: list[tuple[Path, str]] = []
    for part, role in (("output", "data"), ("deleted", "deletions"), ("error", "errors")):
        listed = manifest.get(part) or []
        for entry in listed if isinstance(listed, list) else [listed]:
            promise = mapping(entry)  # one that cannot be read names no file that is here
            url = text(promise.get("url"))
            local = _local(path.parent, url)
            count, kind = promise.get("count"), text(promise.get("type"))
            if local is None:
                says = f"The manifest promises a file of {role} that is not here."
                found.rejects.append(
                    Reject(file=name, line=0, code="manifest-file-missing", says=says)
                )
                found.incomplete.add(kind if role == "data" and kind else MIXED)
                continue
            known = local.relative_to(path.parent).as_posix()
            files.append((local, known))
            if role == "deletions":
                moment = str(manifest.get("transactionTime") or "")
                deletions[local.resolve()] = (known, moment)
            elif role == "data":
                found.exported.add(kind)
                if isinstance(count, int):
                    promised[local.resolve()] = count
    found.exported.discard("")
    return files


def _tell_shortfalls(exports: list[Export], found: Inputs) -> None:
    """What was left out by request is not known to be absent: nobody's alert may end because of it."""
    for one in shortfalls(exports):
        found.rejects.append(Reject(file=one.name, line=0, code="partial-export", says=one.says))
        found.incomplete |= one.types or {MIXED}


def _local(folder: Path, url: str) -> Path | None:
    """The file of a manifest entry: beside the manifest, by its path or by its last part."""
    inside = folder.resolve()
    plain = unquote(split_address(url).path)
    for candidate in (plain.lstrip("/"), plain.rpartition("/")[2]):
        for ending in ("", ".ndjson", ".gz", ".ndjson.gz"):
            path = folder / (candidate + ending)
            try:
                if candidate and path.is_file() and path.resolve().is_relative_to(inside):
                    return path
            except OSError:  # no name that a file could have
                continue
    return None


def _look_at(path: Path, name: str, promised: int | None) -> Source:
    head = _head(path).removeprefix(_BOM).lstrip()
    form: Literal["lines", "document"] = "document"
    kind = MIXED
    if plain_name(path).suffix.lower() in LINES or _begins_with_lines(path, head):
        form, kind = "lines", _only_kind(head)
    state = path.stat()
    return Source(
        path=str(path.resolve()),
        name=name,
        size=state.st_size,
        changed=state.st_mtime_ns,
        form=form,
        kind=kind,
        promised=promised,
    )


def _begins_with_lines(path: Path, head: bytes) -> bool:
    """Whether a file that may be one document holds resources by line: its first line is one, and more follows."""
    first, more, rest = head.partition(b"\n")
    if not more and len(head) > _PEEK_BYTES // 2:
        first, rest = _first_line(path)
    return bool(rest.strip()) and _is_resource(first.strip())


def _first_line(path: Path) -> tuple[bytes, bytes]:
    try:
        with gzip.open(path, "rb") if is_zipped(path) else path.open("rb") as file:
            first = file.readline(_LONGEST_FIRST_LINE).removeprefix(_BOM)
            return first, file.read(_PEEK_BYTES)
    except (OSError, EOFError, zlib.error):
        return b"", b""


def _is_resource(line: bytes) -> bool:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and "resourceType" in value


def _only_kind(head: bytes) -> str:
    """The one type of the first lines; mixed when they differ, are Bundles, or cannot be read."""
    lines = head.split(b"\n")
    if len(head) > _PEEK_BYTES // 2:
        lines = lines[:-1] or lines  # the last one goes on behind what was looked at
    kinds: set[str] = set()
    for line in lines[:_PEEK_LINES]:
        if line.strip():
            try:
                value = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
            except orjson.JSONDecodeError:
                continue
            kinds.add(text(value.get("resourceType")) if isinstance(value, dict) else MIXED)
    kind = kinds.pop() if len(kinds) == 1 else MIXED
    return MIXED if kind == "Bundle" else kind


def incomplete_types(inputs: Inputs, scans: Iterable[ScanReport]) -> set[str]:
    """Types of which a part is surely missing: a file was cut off, not readable, short of lines, or not there.

    Holds ``MIXED`` where nobody knows of which type the missing part is. A document is missing as a whole, and
    concerns nobody else.
    """
    kinds = {one.name: one.kind for one in inputs.sources if one.form == "lines"}
    lines: Counter[int] = Counter()
    cut = set(inputs.incomplete)
    for report in scans:
        for number, _, count, _, _ in report.stretches:
            lines[number] += count
        for one in report.rejects:
            if one.code in {"file-cut-off", "file-not-readable"} and one.file in kinds:
                cut.add(kinds[one.file])
    for number, source in enumerate(inputs.sources):
        if source.promised is not None and lines[number] < source.promised:
            cut.add(source.kind)
    return cut


def tasks_of(sources: Iterable[Source], stretch_bytes: int = STRETCH_BYTES) -> list[Task]:
    """Cut the inputs into tasks of about equal size; many small files share one task."""
    tasks: list[Task] = []
    waiting: list[Stretch] = []
    weight = 0

    def close() -> None:
        nonlocal weight
        if waiting:
            tasks.append(Task(number=len(tasks), stretches=tuple(waiting)))
            waiting.clear()
            weight = 0

    for number, source in enumerate(sources):
        splittable = source.form == "lines" and not is_zipped(Path(source.path))
        step = stretch_bytes if splittable else max(source.size, 1)
        for offset in range(0, max(source.size, 1), step):
            length = min(step, source.size - offset)
            if weight and weight + length > stretch_bytes:
                close()
            waiting.append(
                Stretch(
                    file=number,
                    path=source.path,
                    name=source.name,
                    form=source.form,
                    kind=source.kind,
                    offset=offset if splittable else 0,
                    length=length if splittable else None,
                )
            )
            weight += length
    close()
    return tasks
