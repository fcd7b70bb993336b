"""What the given paths hold: documents, lines of resources, manifests; and which sources nobody exported."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import orjson

from rules.errors import RequestError
from service.batch.values import Reject, Stretch, Task

STRETCH_BYTES: Final = 32 * 1024 * 1024
_PEEK_BYTES: Final = 256 * 1024
_PEEK_LINES: Final = 100
_LINES: Final = (".ndjson", ".jsonl")
_ENDINGS: Final = (".json", *_LINES)
# Written by exporters beside the data; they hold no resources.
_NOT_DATA: Final = frozenset({"log.ndjson"})
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
    as_of: str = ""
    deleted: list[str] = []
    notes: list[str] = []


def find_inputs(paths: Sequence[Path]) -> Inputs:
    """Look at every path: a file, a folder (searched to the bottom), or a manifest of an export.

    Raises:
        RequestError: a path does not exist, or nothing to review was found.
    """
    found = Inputs()
    seen: set[Path] = set()
    promised: dict[Path, int] = {}
    files: list[tuple[Path, str]] = []
    for given in paths:
        if not given.exists():
            raise RequestError(f"{given}: there is no such file or folder.")
        files += [(given, given.name)] if given.is_file() else list(_files_in(given))
    for path, name in sorted(files, key=lambda one: one[1]):
        manifest = _manifest(path)
        if manifest is not None:
            files += _follow(path, name, manifest, found, promised)
    for path, name in sorted(dict.fromkeys(files), key=lambda one: one[1]):
        whole = path.resolve()
        if whole in seen or _manifest(path) is not None:
            continue
        seen.add(whole)
        source = _look_at(path, name, promised.get(whole))
        found.sources.append(source)
        if source.kind:
            found.exported.add(source.kind)
    if not found.sources and not found.rejects:
        raise RequestError("There is no FHIR file (.json, .ndjson, .gz) under the given paths.")
    return found


def _files_in(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        plain = path.with_suffix("") if path.suffix == ".gz" else path
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        data = plain.suffix in _ENDINGS and path.name not in _NOT_DATA
        if data and not hidden and path.is_file():
            yield path, path.relative_to(folder).as_posix()


def _head(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as file:
                return file.read(_PEEK_BYTES)
        with path.open("rb") as file:
            return file.read(_PEEK_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""  # the scan says what is wrong with it


def _manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of a Bulk Data export, if the file is one (FHIR Bulk Data Access 2.0, "Response")."""
    if path.suffix != ".json" or path.stat().st_size > STRETCH_BYTES:
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
    path: Path, name: str, manifest: dict[str, Any], found: Inputs, promised: dict[Path, int]
) -> list[tuple[Path, str]]:
    """Local files of a manifest; what it promises and is not there is a reject, never silence."""
    found.as_of = max(found.as_of, str(manifest.get("transactionTime") or ""))
    asked = parse_qs(urlsplit(str(manifest.get("request") or "")).query).get("_type", [])
    found.exported.update(kind for listed in asked for kind in listed.split(",") if kind)
    files: list[tuple[Path, str]] = []
    for part, role in (("output", "data"), ("deleted", "deletions"), ("error", "errors")):
        for entry in manifest.get(part) or ():
            if not isinstance(entry, dict):
                continue
            url = str(entry.get("url") or "")
            local = _local(path.parent, url)
            count = entry.get("count")
            if local is None:
                says = f"The manifest promises a file of {role} that is not here."
                found.rejects.append(
                    Reject(file=name, line=0, code="manifest-file-missing", says=says)
                )
            elif role == "data":
                found.exported.add(str(entry.get("type") or ""))
                files.append((local, local.relative_to(path.parent).as_posix()))
                if isinstance(count, int):
                    promised[local.resolve()] = count
            elif role == "deletions":
                found.deleted.append(str(local))
                promised[local.resolve()] = -1
            else:
                found.notes.append(f"{local.name}: the exporter reported errors.")
    found.exported.discard("")
    return files


def _local(folder: Path, url: str) -> Path | None:
    """The file of a manifest entry: beside the manifest, by its path or by its last part."""
    inside = folder.resolve()
    plain = unquote(urlsplit(url).path)
    for candidate in (plain.lstrip("/"), plain.rpartition("/")[2]):
        for ending in ("", ".ndjson", ".gz", ".ndjson.gz"):
            path = folder / (candidate + ending)
            if candidate and path.is_file() and path.resolve().is_relative_to(inside):
                return path
    return None


def _look_at(path: Path, name: str, promised: int | None) -> Source:
    head = _head(path)
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    form: Literal["lines", "document"] = "document"
    kind = MIXED
    first = head.partition(b"\n")[0].strip()
    rest = head[len(head.partition(b"\n")[0]) :].strip()
    if plain.suffix in _LINES or (rest and _is_resource(first)):
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


def _is_resource(line: bytes) -> bool:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and "resourceType" in value


def _only_kind(head: bytes) -> str:
    """The one type of the first lines; mixed when they differ, are Bundles, or cannot be read."""
    lines = head.split(b"\n")[:-1] or [head]
    kinds: set[str] = set()
    for line in lines[:_PEEK_LINES]:
        if line.strip():
            try:
                value = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
            except orjson.JSONDecodeError:
                continue
            kinds.add(str(value.get("resourceType")) if isinstance(value, dict) else "")
    kind = kinds.pop() if len(kinds) == 1 else MIXED
    return MIXED if kind in {"Bundle", "None"} else kind


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
        splittable = source.form == "lines" and not source.path.endswith(".gz")
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
