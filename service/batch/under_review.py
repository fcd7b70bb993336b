"""Which patient a worker has in hand, on disk: so that a crash can be laid at the right door."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

_NAME: Final = "under-review"


def note_of_this_process(folder: Path) -> Path:
    """Where the workers of this process tell; on a cluster many processes share the folder."""
    return folder / f"{_NAME}-{socket.gethostname()}-{os.getpid()}"


@contextmanager
def telling(note: Path) -> Iterator[Callable[[str], None]]:
    """Gives what is to be called with each patient before the review; afterwards nobody is under review.

    What is written outlives the process, though not the machine: that is all it takes.
    """
    with note.open("wb", buffering=0) as file:

        def tell(patient: str | None) -> None:
            os.pwrite(file.fileno(), msgspec.json.encode(patient) + b"\n", 0)

        yield tell
        tell(None)


def patient_under_review(note: Path) -> str | None:
    """Whom the worker had in hand that told last; None when it was nobody, or nobody knows."""
    try:
        line = note.read_bytes().partition(b"\n")[0]
        return msgspec.json.decode(line, type=str | None)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def forget_patient(note: Path) -> None:
    """Whatever an earlier worker told no longer counts."""
    note.unlink(missing_ok=True)
