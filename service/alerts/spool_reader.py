"""Reading the spool back: whole lines from a position on, damaged ones told apart from those still being written."""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from service.alerts.spool import SUFFIX

_HEAD = 9  # eight hex digits and a space
_READ_BYTES = 4 << 20


class SpoolLine(NamedTuple):
    """One line and where it ends; ``problem`` names why its body cannot be used."""

    segment: str
    end: int
    body: bytes
    problem: str = ""


def segments(folder: Path) -> list[Path]:
    """Every segment of the folder, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []


def has_writer(segment: Path) -> bool:
    """Whether a living process still appends to the segment."""
    try:
        fd = os.open(segment, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def lines_after(segment: Path, offset: int, *, limit: int) -> Iterator[SpoolLine]:
    """At most ``limit`` lines from ``offset`` on; an unfinished last line counts only when its writer is gone."""
    gone = not has_writer(
        segment
    )  # asked before reading, so that nothing can be added after the end we see
    with segment.open("rb", buffering=_READ_BYTES) as file:
        file.seek(offset)
        for _ in range(limit):
            raw = file.readline()
            if not raw:
                return
            if not raw.endswith(b"\n"):
                if gone:
                    yield SpoolLine(segment.name, offset + len(raw), raw, "torn")
                return
            offset += len(raw)
            yield _checked(segment.name, offset, raw[:-1])


def _checked(segment: str, end: int, raw: bytes) -> SpoolLine:
    body = raw[_HEAD:]
    try:
        intact = int(raw[: _HEAD - 1], 16) == zlib.crc32(body)
    except ValueError:
        intact = False
    return SpoolLine(segment, end, body) if intact else SpoolLine(segment, end, raw, "damaged")
