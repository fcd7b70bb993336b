"""Hits on disk, grouped by patient: each task writes one file, each shard is one part of all these files.

A file is written beside its place and renamed when it is whole, so whatever is there can be trusted after
any kind of end. That makes the files the checkpoint of a run as well as its spill.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from service.batch.values import ScanReport

_HEAD: Final = struct.Struct("<HBIQII")  # key bytes, form, file, offset, line, raw bytes
_TAIL: Final = struct.Struct("<QI4s")  # where the index begins, its checksum, and the mark
_MARK: Final = b"DKS1"
_SPILL_BYTES: Final = 24 * 1024 * 1024


class Form(IntEnum):
    """What the bytes of a record are."""

    LINE = 0  # one resource
    BUNDLE = 1  # a document of a single patient, as it came
    SUPPLY = 2  # the resources of one patient out of a document of several, with the types it held
    BROKEN = 3  # a line of this patient that is no JSON; nothing but its resource type is kept


class Record(NamedTuple):
    """Something about one patient, with its place: file number, offset of the stretch, line in the stretch."""

    key: str
    form: Form
    file: int
    offset: int
    line: int
    raw: bytes


class _Index(msgspec.Struct):
    blocks: list[tuple[int, int, int]]
    report: ScanReport


def shard_of(key: str, shards: int) -> int:
    """The shard of a patient; the same in every process and run."""
    return zlib.crc32(key.encode()) % shards


class ShardWriter:
    """Collects the records of one task and writes them shard by shard, in bounded memory."""

    def __init__(self, path: Path, shards: int) -> None:
        self._path = path
        self._shards = shards
        self._beside = path.with_suffix(f".{os.getpid()}.part")
        self._file = self._beside.open("wb")
        self._waiting: defaultdict[int, list[bytes]] = defaultdict(list)
        self._bytes = 0
        self._blocks: list[tuple[int, int, int]] = []

    def add(self, record: Record) -> None:
        """Keep a record; written when enough have come together."""
        key = record.key.encode()
        head = _HEAD.pack(
            len(key), record.form, record.file, record.offset, record.line, len(record.raw)
        )
        self._waiting[shard_of(record.key, self._shards)] += (head, key, record.raw)
        self._bytes += len(record.raw) + len(key) + _HEAD.size
        if self._bytes >= _SPILL_BYTES:
            self._spill()

    def finish(self, report: ScanReport) -> None:
        """Write everything, then put the file in its place."""
        self._spill()
        index = msgspec.msgpack.encode(_Index(self._blocks, report))
        begins = self._file.tell()
        self._file.write(index)
        self._file.write(_TAIL.pack(begins, zlib.crc32(index), _MARK))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._beside.replace(self._path)

    def _spill(self) -> None:
        for shard in sorted(self._waiting):
            data = b"".join(self._waiting[shard])
            self._blocks.append((shard, self._file.tell(), len(data)))
            self._file.write(data)
        self._waiting.clear()
        self._bytes = 0


class ShardReader:
    """What one task wrote."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            file.seek(-_TAIL.size, os.SEEK_END)
            end = file.tell()
            begins, checksum, mark = _TAIL.unpack(file.read(_TAIL.size))
            file.seek(begins)
            index = file.read(end - begins)
        if mark != _MARK or zlib.crc32(index) != checksum:
            raise ValueError(f"{path.name} is damaged.")
        read = msgspec.msgpack.decode(index, type=_Index)
        self.report = read.report
        self._blocks: dict[int, list[tuple[int, int]]] = {}
        for shard, offset, length in read.blocks:
            self._blocks.setdefault(shard, []).append((offset, length))

    def records(self, shard: int) -> Iterator[Record]:
        """Records of one shard, in the order in which they were met."""
        own = self._blocks.get(shard)
        if own is None:
            return
        with self._path.open("rb") as file:
            for offset, length in own:
                file.seek(offset)
                yield from _unpack(file.read(length))


def by_patient(records: Iterable[Record]) -> Iterator[tuple[str, list[Record]]]:
    """Each patient with all records, in order of the ids."""
    patients: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        patients[record.key].append(record)
    for key in sorted(patients):
        yield key, patients.pop(key)


def _unpack(data: bytes) -> Iterator[Record]:
    place = 0
    while place < len(data):
        key_bytes, form, file, offset, line, raw_bytes = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        key = data[place : place + key_bytes].decode()
        place += key_bytes
        yield Record(key, Form(form), file, offset, line, data[place : place + raw_bytes])
        place += raw_bytes
