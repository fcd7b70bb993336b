"""What the parts of a batch run hand to each other: plain values that travel between processes."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal

import msgspec

from rules.errors import DekacardError

CRASHED: Final = "worker-crashed"  # a patient who was set aside, among rejects and in the record


class BatchExit(IntEnum):
    """Exit codes of ``dekacard review`` beyond those of every command."""

    REJECTS = 12
    INTERRUPTED = 13
    OUTPUT_BUSY = 14


class OutputRefused(DekacardError):
    """The output folder is in use, holds another run, or the interrupted run there had other inputs."""


class Interrupted(DekacardError):
    """The run was stopped; what is done is kept, and ``--resume`` goes on from there."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides the output of a run, apart from its inputs.

    ``as_of`` is ISO 8601 with zone. ``client`` names whose settings count, ``quiet`` its rules that are not
    live. With ``noted`` the workers write down what the record needs. ``code_maps`` are files (ConceptMap),
    ``edited`` folders of packs that take the place of those with the same id.
    """

    as_of: str
    profile: str
    verbosity: Literal["standard", "education"]
    engine: Literal["durable", "compiled"]
    zone: str
    validation: Literal["off", "suspicious", "all"]
    packs: tuple[str, ...] | None = None
    pack_dirs: tuple[str, ...] = ()
    sieve: bool = True
    client: str = ""
    quiet: tuple[str, ...] = ()
    noted: bool = False
    code_maps: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Part of one file: ``name`` is how people see it, ``first`` marks the beginning of the file.

    ``form`` says how it is read: ``lines`` of resources, ``document`` (one JSON text). ``kind`` is the only
    resource type of its lines, or empty when types are mixed.
    """

    file: int
    path: str
    name: str
    form: Literal["lines", "document"]
    kind: str = ""
    offset: int = 0
    length: int | None = None


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker scans in one go; its result is one file that is either whole or not there."""

    number: int
    stretches: tuple[Stretch, ...]


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could not be used; ``line`` counts from 1 (0: the whole file). Never repeats content.

    While it travels, ``line`` counts within the stretch that begins at ``offset`` of file number ``number``.
    """

    file: str
    line: int
    code: str
    says: str
    patient: str = ""
    number: int = 0
    offset: int = 0


class ScanReport(msgspec.Struct, kw_only=True):
    """What one task saw; ``stretches`` are (file, offset, lines, bytes, crc32) each.

    ``mixed`` are files whose beginning showed one type, and whose lines hold others that rules read.
    """

    stretches: list[tuple[int, int, int, int, int]] = []
    rejects: list[Reject] = []
    types: dict[str, int] = {}
    mixed: set[int] = set()
    hits: int = 0


class ShardReport(msgspec.Struct, kw_only=True):
    """What the review of one shard came to; the ``untriggered`` are among the ``silent``, and these among the ``reviewed``."""

    patients: int = 0
    reviewed: int = 0
    silent: int = 0
    untriggered: int = 0
    rejects: list[Reject] = []
    firings: dict[str, int] = {}
    indicators: dict[str, int] = {}
    gaps: dict[str, int] = {}
    failures: int = 0
    deleted: int = 0
    outdated: int = 0
    measures: dict[str, dict[str, int]] = {}

    def add(self, other: ShardReport) -> None:
        """Take what another report holds into this one."""
        self.patients += other.patients
        self.reviewed += other.reviewed
        self.silent += other.silent
        self.untriggered += other.untriggered
        self.failures += other.failures
        self.deleted += other.deleted
        self.outdated += other.outdated
        self.rejects = [*self.rejects, *other.rejects]
        _add(self.firings, other.firings)
        _add(self.indicators, other.indicators)
        _add(self.gaps, other.gaps)
        for name, counts in other.measures.items():
            _add(self.measures.setdefault(name, {}), counts)


def _add(into: dict[str, int], counts: dict[str, int]) -> None:
    for name, number in counts.items():
        into[name] = into.get(name, 0) + number
