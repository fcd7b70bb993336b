"""The spool: one durable line is written before each answer, whatever the database does.

A line is ``crc32 as 8 hex digits, space, body, newline``; the body is JSON. Each process appends to a segment
of its own with a single ``write``, which survives a kill of the process; a background thread calls ``fdatasync`` for all
lines of the last 10 ms together, which bounds what a power failure can take.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import threading
import time
import zlib
from pathlib import Path

_SYNC_PAUSE = 0.01  # seconds: with the sync itself, lines reach the disk within 20 ms
SUFFIX = ".spool"
BEGUN = ".begun"  # a segment that has no line yet, and not its name either


class Spool:
    """Appends lines to this process's segment; thread-safe, one instance per process (never across fork)."""

    def __init__(
        self, folder: Path, *, segment_bytes: int = 16 << 20, segment_seconds: float = 3600
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._segment_seconds = segment_seconds
        self._lock = threading.Lock()
        self._written = threading.Event()
        self._closing = False
        self._fd = -1
        self._size = 0
        self._opened = 0.0
        self._named = False
        self.lines = 0
        self.syncs = 0
        self._syncer: threading.Thread | None = None

    def append(self, body: bytes) -> None:
        """Write one line; raises OSError when the disk refuses, and then leaves no part of it behind."""
        line = b"%08x %b\n" % (zlib.crc32(body), body)
        with self._lock:
            if self._fd < 0:
                self._begin()
            elif (
                self._size + len(line) > self._segment_bytes
                or time.monotonic() - self._opened > self._segment_seconds
            ):
                self._next_segment()
            try:
                written = os.write(self._fd, line)
            except OSError:
                os.ftruncate(self._fd, self._size)
                raise
            if written != len(line):
                os.ftruncate(self._fd, self._size)
                # A regular file is written short for no other reason than a full disk.
                raise OSError(errno.ENOSPC, "the spool's disk is full")
            self._size += written
            self.lines += 1
        self._written.set()

    def close(self) -> None:
        """Sync and let go of the segment: a drainer may then remove it."""
        self._closing = True
        self._written.set()
        if self._syncer is not None:
            self._syncer.join(timeout=5)
        with self._lock:
            if self._fd >= 0:
                os.fdatasync(self._fd)
                self._keep_name()
                os.close(self._fd)
                self._fd = -1

    def _begin(self) -> None:
        """Open the first segment with the first line, so that a process that only forks holds nothing."""
        self._open_segment()
        if self._syncer is None:
            self._syncer = threading.Thread(
                target=self._sync_in_groups, name="spool-sync", daemon=True
            )
            self._syncer.start()

    def _sync_in_groups(self) -> None:
        while True:
            self._written.wait()
            if self._closing:
                return
            self._written.clear()
            time.sleep(_SYNC_PAUSE)
            with self._lock:
                fd = os.dup(self._fd) if self._fd >= 0 else -1
            if fd < 0:
                return
            try:
                self._keep_name()
                os.fdatasync(fd)
                self.syncs += 1
            except OSError:
                self._written.set()  # stays owed, and is tried again
            finally:
                os.close(fd)

    def _keep_name(self) -> None:
        """Force the name of a new segment to disk too: without it, what is in the file is found by nobody."""
        if self._named:
            return
        self._named = True
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        except OSError:
            self._named = False
            raise
        finally:
            os.close(folder)

    def _next_segment(self) -> None:
        if self._size == 0:
            return
        previous = self._fd
        self._open_segment()
        os.fdatasync(previous)
        os.close(previous)

    def _open_segment(self) -> None:
        # The name sorts by age; the lock tells a drainer that its writer lives. It is taken before the file has its
        # name: a drainer that saw it unlocked would take it for the file of a dead writer, and remove it.
        path = (
            self._folder
            / f"{time.time_ns() // 1000:020d}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        )
        coming = path.with_suffix(BEGUN)
        fd = os.open(
            coming, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            coming.rename(path)
        except OSError:
            os.close(fd)
            raise
        self._fd, self._size, self._opened = fd, 0, time.monotonic()
        self._named = False
