"""Lines of resources: whole lines of any part of a file, and whose each line is."""

from __future__ import annotations

import gzip
import re
import sys
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from fhir_adapter.elements import Resource, mapping, reference_of, text

# Small enough to stay in the cache of a processor from reading to the last search.
CHUNK: Final = 1024 * 1024
_DAMAGED_PIECE: Final = 16 * 1024
# Records compress ten to forty times, a bomb some thousand times; so much is unpacked whatever the ratio
MOST_TIMES: Final = 200
ALWAYS_UNPACKED: Final = 16 * 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"
# Only what can be nothing but the whole truth is read without parsing; the rest is parsed (key_of_line).
_SUBJECT: Final = re.compile(
    rb'"(?:subject|patient)"\s*:\s*\{\s*"reference"\s*:\s*'
    rb'"(?:[^"\\\s#]*/)?Patient/([A-Za-z0-9.-]+)(?:/_history/[^"\\\s]*)?"'
)
_PATIENT: Final = re.compile(
    rb'\s*\{\s*"resourceType"\s*:\s*"Patient"\s*,\s*"id"\s*:\s*"([A-Za-z0-9.-]+)"'
)
_ESCAPED_ASCII: Final = re.compile(rb"\\u00[0-7]")


class Chunk(NamedTuple):
    """Whole lines; ``line`` is the number of the first of them within its stretch, from 0, ``lines`` how many."""

    data: bytes
    line: int
    lines: int


class Unreadable(Exception):
    """A file ended before its time or is no valid gzip; what was read until then counts."""


class UnpacksTooFar(Unreadable):
    """A small file that unpacks to a large one, which nothing but a bomb does."""


def chunks_of(path: Path, offset: int = 0, length: int | None = None) -> Iterator[Chunk]:
    """The lines that begin within ``length`` bytes from ``offset``, in chunks of about 1 MB.

    A line belongs to the stretch in which it begins, so stretches that cover a file give each line once.

    Raises:
        Unreadable: the file is no valid gzip, or is cut off.
        OSError: it cannot be read.
    """
    if is_zipped(path):
        yield from _numbered(_whole_lines(unzipped(path)))
        return
    with path.open("rb") as file:
        yield from _numbered(_blocks(file, offset, length))


def is_zipped(path: Path) -> bool:
    """Whether the name says that the file is compressed by gzip."""
    return path.suffix.lower() == ".gz"


def _numbered(blocks: Iterator[bytes]) -> Iterator[Chunk]:
    line = 0
    for number, block in enumerate(blocks):
        data = block if number else block.removeprefix(_BOM)
        lines = count_lines(data)
        yield Chunk(data, line, lines)
        line += lines


def count_lines(data: bytes) -> int:
    """How many lines there are; the last may lack its end."""
    lines = 0
    for _ in BytesIO(
        data
    ):  # five times as fast as bytes.count, which looks at every byte by itself
        lines += 1
    return lines


def _whole_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    kept: list[bytes] = []  # joined once: a line may be many blocks long
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if end:
            yield b"".join((*kept, block[:end]))
            kept = []
        if end < len(block):
            kept.append(block[end:])
    if kept:
        yield b"".join(kept)


def _blocks(file: BinaryIO, offset: int, length: int | None) -> Iterator[bytes]:
    """Whole lines of a file that can be read from any place."""
    if offset:
        file.seek(offset - 1)
        skipped = file.readline()  # the line that began before; empty if one begins right here
        offset += len(skipped) - 1
        if length is not None:
            length -= len(skipped) - 1
    left = sys.maxsize if length is None else length
    while left > 0:
        block = file.read(min(CHUNK, left))
        if not block:
            return
        if not block.endswith(b"\n"):
            block += file.readline()
        left -= len(block)
        yield block


def unzipped(path: Path) -> Iterator[bytes]:
    """The content of a compressed file, piece by piece.

    Raises:
        UnpacksTooFar: it is more than 200 times as large as the file; what came until then was given.
        Unreadable: the file is no valid gzip, or is cut off.
        OSError: it cannot be read.
    """
    given, size = 0, path.stat().st_size
    if size == 0:
        raise Unreadable("The file is empty; a whole gzip file never is.")
    most = max(MOST_TIMES * size, ALWAYS_UNPACKED)
    try:
        with gzip.open(path, "rb") as file:
            while block := file.read(CHUNK):
                given += len(block)
                if given > most:
                    raise UnpacksTooFar(
                        f"The file unpacks to more than {MOST_TIMES} times its size: it was not read to its end."
                    )
                yield block
    except (EOFError, zlib.error, gzip.BadGzipFile):
        for block in _before_the_break(path, given):
            given += len(block)
            yield block
        raise Unreadable(
            f"The file is no whole gzip file; its first {given:,} bytes of content were read."
        ) from None


def _before_the_break(path: Path, skip: int) -> Iterator[bytes]:
    """What a damaged file holds after ``skip`` bytes of content, up to the damage."""
    unzip = zlib.decompressobj(wbits=31)  # 31: with a gzip header
    with path.open("rb") as file:
        while raw := file.read(_DAMAGED_PIECE):
            while raw:
                try:
                    data = unzip.decompress(raw)
                except zlib.error:
                    return
                yield data[skip:]
                skip = max(0, skip - len(data))
                raw = unzip.unused_data if unzip.eof else b""
                if unzip.eof:
                    unzip = zlib.decompressobj(wbits=31)


def key_of_line(line: bytes) -> str | None:
    """Id of the patient that a line is about, if bytes alone prove it; else ``None`` (then it is parsed)."""
    if _ESCAPED_ASCII.search(line):
        return None
    patient = _PATIENT.match(line)
    if patient is not None:
        return patient[1].decode()
    if line.count(b'"subject"') + line.count(b'"patient"') != 1:
        return None
    found = _SUBJECT.search(line)
    return found[1].decode() if found is not None else None


def key_of(resource: Resource) -> str:
    """Id of the patient that a resource is about: the last part of its subject; empty if it names nobody."""
    if resource.get("resourceType") == "Patient":
        return text(resource.get("id"))
    holder = resource.get("subject")
    if holder is None:
        holder = resource.get("patient")
    target = reference_of(mapping(holder)).partition("/_history/")[0].rstrip("/")
    if not target or target.startswith("#"):
        return ""
    if target.startswith("urn:"):
        return target.rpartition(":")[2]
    parts = target.split("/")
    return parts[-1] if len(parts) == 1 or parts[-2] == "Patient" else ""
