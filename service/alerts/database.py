"""The connection to the store: SQLite in WAL mode or PostgreSQL, one writer that commits in groups."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from rules.errors import DekacardError, Unavailable

Result = TypeVar("Result")
_GROUP_SECONDS = 0.02
_GROUP_SIZE = 50
_BUSY_MS = 5000
# PostgreSQL: a value is too long for an index. It will be so the next time, and whoever waits for it waits for ever.
_TOO_LARGE = frozenset({"54000"})
_DRIVERS = frozenset({"sqlite", "sqlite+pysqlite", "postgresql+psycopg"})
_WRITER_LOCK = (
    4_705_121_922  # one number for all: only one process at a time writes to a PostgreSQL store
)


class StoreRefused(DekacardError):
    """The URL names no store that can be used; it is not repeated, because a password may stand in it."""


class Database:
    """Readers get connections of their own; every write goes through one thread."""

    def __init__(self, url: str, *, make: bool = True) -> None:
        """Without ``make`` a SQLite file that is not there yet is refused.

        Raises:
            StoreRefused: the URL names no store that we can use.
        """
        self.url = _with_driver(url)
        self.is_sqlite = self.url.startswith("sqlite")
        self.file = _file_of(self.url)
        if self.file is not None and not self.file.exists():
            if not make:
                raise StoreRefused(
                    f"there is no store at {self.file}. 'dekacard db upgrade' makes one."
                )
            self.file.parent.mkdir(parents=True, exist_ok=True)
        self.readers = self._engine(writes=False)
        self._writers = self._engine(writes=True)
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()
        self._closed = False
        for engine in (self.readers, self._writers):
            event.listen(engine, "checkin", self._let_go)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for one consistent look; raises Unavailable when the store does not answer."""
        try:
            with self.readers.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise Unavailable(f"the store does not answer ({type(error.orig).__name__})") from error

    def write(self, job: Callable[[Connection], Result]) -> Result:
        """Run ``job`` in the next group of writes and return when it is committed.

        What the job raises is raised here, and only its own changes are undone; raises Unavailable when the
        store does not take the group.
        """
        waiting = _Job(job)
        with self._start_lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._write_groups, name="store-writer", daemon=True
                )
                self._thread.start()
        self._jobs.put(waiting)
        return waiting.outcome.result()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A write transaction on this thread, for migrations and tools; serialised with every other writer."""
        with self._writers.begin() as connection:
            if not self.is_sqlite:
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITER_LOCK}
                )
            yield connection

    def close(self) -> None:
        """Finish what is queued, then let the connections go."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(timeout=30)
            self._thread = None
        self._closed = True
        self.readers.dispose()
        self._writers.dispose()

    def _let_go(self, _: Any, record: Any) -> None:
        """Close a connection that comes back after the end: no pool is there to do it any more."""
        if self._closed:
            record.invalidate()

    def _write_groups(self) -> None:
        while (first := self._jobs.get()) is not None:
            group = [first]
            try:
                last = self._write_group(group)
            except Exception as error:  # noqa: BLE001  every waiting job is told
                for job in group:
                    job.fail(error)
                continue
            for job in group:
                job.succeed()
            if last:
                return

    def _write_group(self, group: list[_Job[Any]]) -> bool:
        """Commit ``group`` and whatever joins it in time; True when the queue was closed meanwhile."""
        until = time.monotonic() + _GROUP_SECONDS
        with self.writing() as connection:
            group[0].run(connection)
            while len(group) < _GROUP_SIZE and time.monotonic() < until:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    return False
                if job is None:
                    return True
                group.append(job)
                job.run(connection)
        return False

    def _engine(self, *, writes: bool) -> Engine:
        if not self.is_sqlite:
            return create_engine(
                self.url, hide_parameters=True, pool_pre_ping=True, pool_size=2 if writes else 5,
                connect_args={"connect_timeout": 3, "application_name": "dekacard"},
            )  # fmt: skip
        engine = create_engine(
            self.url, hide_parameters=True, connect_args={"timeout": _BUSY_MS / 1000}
        )
        event.listen(engine, "do_connect", self._make_private)
        event.listen(engine, "connect", _prepare_sqlite)
        # The driver must not open transactions by itself: a write takes its lock at BEGIN, and never fails later.
        begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine

    def _make_private(self, *_: Any) -> None:
        """A new file is its owner's alone; what SQLite lays beside it gets the same mode."""
        if self.file is not None and not self.file.exists():
            self.file.touch(mode=0o600)


class _Job(Generic[Result]):
    def __init__(self, work: Callable[[Connection], Result]) -> None:
        self._work = work
        self._result: Result | None = None
        self._error: Exception | None = None
        self.outcome: Future[Result] = Future()

    def run(self, connection: Connection) -> None:
        try:
            with connection.begin_nested():
                self._result = self._work(connection)
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            self._error = error
        except Exception as error:  # noqa: BLE001  handed to whoever asked; the others of the group go on
            self._error = error

    def succeed(self) -> None:
        if self._error is not None:
            self.fail(self._error)
        else:
            self.outcome.set_result(cast("Result", self._result))

    def fail(self, error: Exception) -> None:
        if (
            isinstance(error, (OperationalError, InterfaceError))
            and getattr(error.orig, "sqlstate", None) not in _TOO_LARGE
        ):  # not the data's fault: try again later
            told: Exception = Unavailable(
                f"the store refused a write ({type(error.orig).__name__})"
            )
            told.__cause__ = error
            error = told
        self.outcome.set_exception(error)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "recursive_triggers=ON",  # else INSERT OR REPLACE removes a row without asking the DELETE trigger
        f"busy_timeout={_BUSY_MS}",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _with_driver(url: str) -> str:
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return f"postgresql+psycopg://{url.removeprefix(plain)}"
    return url


def _file_of(url: str) -> Path | None:
    """The file of a SQLite store; None for PostgreSQL."""
    try:
        read = make_url(url)
    except ArgumentError:
        read = None
    if read is None or read.drivername not in _DRIVERS:
        raise StoreRefused(
            "that is no URL of a store. Write sqlite:////folder/record.db or postgresql://user@host/name."
        )
    if read.get_backend_name() != "sqlite":
        return None
    if not read.database or read.database == ":memory:":
        raise StoreRefused("a store in SQLite needs a file: sqlite:////folder/record.db.")
    return Path(read.database)
