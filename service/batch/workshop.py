"""What one worker process keeps: engine, sieve and reviewer, made once; and the two things it does."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

import msgspec

from fhir_adapter.sieve import Sieve
from rules.engine import Engine
from rules.rulebook import Rulebook, load_rulebook
from service.batch.deletions import Deletions
from service.batch.medications import Shelf
from service.batch.notes import Watched, notebook
from service.batch.reviewing import Reviewer
from service.batch.scanning import Scanner
from service.batch.shards import Record, ShardReader, ShardWriter, by_patient
from service.batch.spark_parts import REPORTED, parts_of, patients_in_part
from service.batch.under_review import telling
from service.batch.values import Options, ScanReport, ShardReport, Task
from service.batch.versions import LaterVersions, Outdated, Seen, read_versions
from service.review import Case, review
from service.site_knowledge import read_code_maps

WATCHED: Final = "watched"
DELETIONS: Final = "deletions.json"
KEPT: Final = "kept"
OUTDATED: Final = "outdated"
_MOST_BLOCKS_KEPT: Final = 1_000_000


class Blueprint(msgspec.Struct, kw_only=True):
    """Everything that a worker needs to know, as it lies in the working folder."""

    options: Options
    tasks: list[Task]
    names: list[str]
    shards: int
    fingerprint: str


class Delivery(msgspec.Struct, kw_only=True):
    """What the scan learned about the run as a whole: types that were delivered, sources that were not."""

    exported: list[str]
    unread: dict[str, str]


class Workshop:
    """One worker's tools for one run, each made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blueprint = msgspec.json.decode((folder / "plan.json").read_bytes(), type=Blueprint)
        shelf = msgspec.msgpack.decode((folder / "medications").read_bytes(), type=Shelf)
        self._shelf = shelf.view()
        self._options = self.blueprint.options
        self._rulebook = rulebook_of(self._options)
        self._readers: dict[int, ShardReader] = {}

    @cached_property
    def engine(self) -> Engine:
        """The rules in force."""
        return Engine(self._rulebook, self._options.engine)

    @cached_property
    def scanner(self) -> Scanner:
        """From files to hits."""
        vocabulary = self._rulebook.vocabulary
        made = Scanner(Sieve(vocabulary, self._shelf, quick=self._options.sieve))
        _settle()
        return made

    @cached_property
    def reviewer(self) -> Reviewer:
        """From hits to answers."""
        delivery = read_delivery(self.folder)
        made = Reviewer(
            self.engine,
            self._options,
            self.blueprint.names,
            self._shelf,
            delivery.exported,
            delivery.unread,
        )
        made.outdated = read_versions(self.folder / OUTDATED)
        made.deletions = msgspec.json.decode((self.folder / DELETIONS).read_bytes(), type=Deletions)
        _settle()
        return made

    def scan(self, number: int) -> ScanReport:
        """Scan one task into its file."""
        report = ScanReport()
        writer = ShardWriter(scanned_file(self.folder, number), self.blueprint.shards)
        with self.seeing(number) as seen:

            def keep(record: Record) -> None:
                seen.note(record)
                writer.add(record)

            for stretch in self.blueprint.tasks[number].stretches:
                self.scanner.scan(stretch, keep, report)
        writer.finish(report)
        return report

    @contextmanager
    def seeing(self, number: int) -> Iterator[Seen]:
        """Takes the versions of what one task keeps, and writes them down."""
        seen = Seen()
        yield seen
        write_whole(seen_file(self.folder, number), seen.to_bytes())

    def compare(self, number: int) -> Outdated:
        """Search what one task read for later versions of what was kept anywhere."""
        found: Outdated = {}
        for stretch in self.blueprint.tasks[number].stretches:
            self._later_versions.search(stretch, found)
        write_whole(compared_file(self.folder, number), msgspec.msgpack.encode(found))
        return found

    @cached_property
    def _later_versions(self) -> LaterVersions:
        return LaterVersions(read_versions(self.folder / KEPT))

    def review(
        self, shard: int, *, note: Path | None = None, aside: frozenset[str] = frozenset()
    ) -> ShardReport:
        """Review the patients of one shard into its two files; the report is renamed last.

        The file ``note``, if given, tells who is under review; those in ``aside`` are rejects.
        """
        report = ShardReport()
        place = reviewed_file(self.folder, shard)
        beside = place.with_suffix(f".{os.getpid()}.part")
        with beside.open("wb") as file, self._noting(shard), self._watching(note, aside):
            patients = self._patients(shard)
            file.writelines(self.reviewer.review_all(patients, report))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)
        write_whole(report_file(self.folder, shard), msgspec.msgpack.encode(report))
        return report

    def try_patient(self, shard: int, patient: str) -> None:
        """Review one patient of a shard and keep nothing of it."""
        for key, own in self._patients(shard):
            if key == patient:
                self.reviewer.review_patient(key, own, ShardReport())

    @contextmanager
    def _watching(self, note: Path | None, aside: frozenset[str]) -> Iterator[None]:
        if note is None:
            yield
            return
        with telling(note) as self.reviewer.tell:
            self.reviewer.aside = aside
            yield
        self.reviewer.tell, self.reviewer.aside = None, frozenset()

    @contextmanager
    def _noting(self, shard: int) -> Iterator[None]:
        """While a shard is reviewed, what the record needs of it is written down beside it, where asked for."""
        if not self._options.noted:
            yield
            return
        watched = Watched.read(self.folder / WATCHED)
        with notebook(noted_file(self.folder, shard), watched) as self.reviewer.notebook:
            yield
        self.reviewer.notebook = None

    def _patients(self, shard: int) -> Iterator[tuple[str, list[Record]]]:
        """The records of a shard by patient, in order of their ids; from Spark they come so."""
        if self._parts:
            return patients_in_part(self._parts[shard])
        return by_patient(
            record
            for task in self.blueprint.tasks
            for record in self._reader(task.number).records(shard)
        )

    @cached_property
    def _parts(self) -> list[Path]:
        return parts_of(self.folder)

    def _reader(self, number: int) -> ShardReader:
        """What one task found; kept open for the next shard unless there are very many of both."""
        reader = self._readers.get(number)
        if reader is None:
            reader = ShardReader(scanned_file(self.folder, number))
            if len(self.blueprint.tasks) * self.blueprint.shards <= _MOST_BLOCKS_KEPT:
                self._readers[number] = reader
        return reader

    def warm_up(self) -> None:
        """Make what all workers need before they are copied; durable_rules holds what no copy may share."""
        _ = self.scanner
        if self._options.engine == "compiled":
            nobody = Case(resources=(), patient_id="nobody", profile=self._options.profile)
            review(nobody, datetime.fromisoformat(self._options.as_of), self.engine)
        _settle()

    def close(self) -> None:
        """Give the engine back."""
        if "engine" in vars(self):
            self.engine.close()


def rulebook_of(options: Options) -> Rulebook:
    """The knowledge that these options name."""
    return _rulebook(options.packs, options.pack_dirs, options.code_maps, options.edited)


@lru_cache(maxsize=2)
def _rulebook(
    packs: tuple[str, ...] | None,
    pack_dirs: tuple[str, ...],
    code_maps: tuple[str, ...],
    edited: tuple[str, ...],
) -> Rulebook:
    """The knowledge in force; opened once for all steps of a run in one process."""
    return load_rulebook(
        packs,
        tuple(map(Path, pack_dirs)),
        code_maps=read_code_maps(tuple(map(Path, code_maps))),
        edited=tuple(map(Path, edited)),
    )


def _settle() -> None:
    """Knowledge lives as long as the process; walking over it again and again would be waste."""
    gc.collect()
    gc.freeze()


def read_delivery(folder: Path) -> Delivery:
    """What the scan learned."""
    return msgspec.json.decode((folder / "delivery.json").read_bytes(), type=Delivery)


def scanned_file(folder: Path, number: int) -> Path:
    """The hits of one task."""
    return folder / f"scanned-{number:06}"


def seen_file(folder: Path, number: int) -> Path:
    """The versions of what one task kept."""
    return folder / f"seen-{number:06}"


def compared_file(folder: Path, number: int) -> Path:
    """The later versions that one task met."""
    return folder / f"compared-{number:06}"


def reviewed_file(folder: Path, shard: int) -> Path:
    """The answers of one shard."""
    return folder / f"reviewed-{shard:04}"


def noted_file(folder: Path, shard: int) -> Path:
    """What the record needs of one shard."""
    return folder / f"noted-{shard:04}"


def report_file(folder: Path, shard: int) -> Path:
    """What came of one shard; it is there only if the answers are."""
    return folder / f"{REPORTED}{shard:04}"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
