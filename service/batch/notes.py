"""What a worker writes down for the record of each patient, beside the answers of a shard.

Workers know neither the store nor its keys: they note what a review found, and the process that holds the
keys turns notes into lines of the record. A patient about whom nothing is said is noted only where an earlier
alert could end by that.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from rules.assessment import Gap
from service.alerts.folding import fold

if TYPE_CHECKING:
    from service.review import Review

_encode = msgspec.json.Encoder(order="deterministic").encode


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One patient of a run; ``error`` is set where the engine did not evaluate the patient at all."""

    patient: str
    answer: msgspec.Raw = msgspec.Raw(b"null")
    facts: msgspec.Raw = msgspec.Raw(b"null")
    gaps: tuple[Gap, ...] = ()
    gap_cards: tuple[Gap, ...] = ()
    withdrawn: tuple[str, ...] = ()
    error: str = ""


_decoder = msgspec.json.Decoder(Note)


class Watched:
    """Patients who have alerts, as 64-bit marks: small enough for millions, and a false hit costs one note."""

    def __init__(self, marks: Iterable[int] = ()) -> None:
        self._marks = array("Q", sorted(set(marks)))

    @classmethod
    def of(cls, patients: Iterable[str]) -> Watched:
        """The patients with these ids."""
        return cls(map(_mark, patients))

    @classmethod
    def read(cls, path: Path) -> Watched:
        """As ``to_bytes`` wrote them; nobody where there is no such file."""
        watched = cls()
        if path.exists():
            watched._marks.frombytes(path.read_bytes())
        return watched

    def to_bytes(self) -> bytes:
        """The marks in order, eight bytes each."""
        return self._marks.tobytes()

    def __contains__(self, patient: str) -> bool:
        mark = _mark(patient)
        place = bisect_left(self._marks, mark)
        return place < len(self._marks) and self._marks[place] == mark


def _mark(patient: str) -> int:
    return int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big")


class Notebook:
    """Takes the notes of one shard."""

    def __init__(self, file: IO[bytes], watched: Watched) -> None:
        self._file = file
        self._watched = watched

    def watches(self, patient: str) -> bool:
        """Whether even silence about this patient is noted."""
        return patient in self._watched

    def take(self, patient: str, done: Review) -> None:
        """Note a review, unless nothing is said and no alert could end by that."""
        assessment = done.assessment
        if not (
            assessment.recommendations
            or assessment.suppressed
            or assessment.failures
            or done.gap_cards
            or patient in self._watched
        ):
            return
        self._put(
            Note(
                patient=patient,
                answer=msgspec.Raw(fold(assessment, done.facts)),
                facts=msgspec.Raw(_encode(done.facts)),
                gaps=tuple(done.gaps),
                gap_cards=tuple(done.gap_cards),
                withdrawn=tuple(done.withdrawn),
            )
        )

    def take_failure(self, patient: str, error: str) -> None:
        """Note that a patient could not be evaluated; ``error`` is a stable code."""
        self._put(Note(patient=patient, error=error))

    def _put(self, note: Note) -> None:
        self._file.write(msgspec.json.encode(note) + b"\n")


@contextmanager
def notebook(path: Path, watched: Watched) -> Iterator[Notebook]:
    """A notebook whose file appears whole when it is closed, or not at all."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    with beside.open("wb") as file:
        yield Notebook(file, watched)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def notes_in(path: Path) -> Iterator[Note]:
    """The notes of one shard in their order."""
    with path.open("rb") as file:
        for line in file:
            yield _decoder.decode(line)
