"""Earlier answers about a patient, read on the card path: directly, within a time limit, or not at all.

SQLite is read in place through the standard library; PostgreSQL by a thread of its own, because a network
can be silent for longer than any limit. Whatever goes wrong gives None, and for a moment nobody asks again.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from rules.assessment import HistoryEntry

NEWEST_SCHEMA = (
    "0008"  # told here as well, so that a fit store is recognised without loading migrations
)
_MARKS = "SELECT version_num, (SELECT value FROM store_mark WHERE name = 'identity') FROM alembic_version"
_QUERY = (
    "SELECT rule, about, fingerprint, outcome, reason, at, user_ref FROM answer"
    " WHERE tenant = {0} AND patient = {0} AND at >= {0} AND at <= {0} ORDER BY at DESC LIMIT 500"
)
_REST_SECONDS = 1.0
_STEPS_BETWEEN_LOOKS = 1000  # virtual machine steps of SQLite between two looks at the clock
HISTORY_DAYS = 400  # how long an answer counts as history; older ones no longer silence anything
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A day short of what a datetime can hold, so that every time zone can show it
_EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
_LATEST = datetime(9999, 12, 30, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Source(Protocol):
    def rows(
        self, tenant: str, patient: str, since: int, until: int, seconds: float
    ) -> Sequence[Any]: ...
    def connect(self) -> None: ...
    def close(self) -> None: ...


class PastAnswers:
    """Reads the table ``answer`` of the store at ``url``; ``limit`` in seconds for one question."""

    def __init__(self, url: str, *, limit: float = 0.05, days: int = HISTORY_DAYS) -> None:
        self._source: _Source = (
            _SqliteFile(url) if url.startswith("sqlite") else _PostgresThread(url)
        )
        self._limit = limit
        self._window = timedelta(days=days)
        self._resting_until = 0.0

    def of(self, tenant: str, patient_key: str, now: datetime) -> tuple[HistoryEntry, ...] | None:
        """Newest first; None when they could not be read in time."""
        if time.monotonic() < self._resting_until:
            return None
        since, until = micros(now - self._window), micros(now)
        try:
            rows = self._source.rows(tenant, patient_key, since, until, self._limit)
        except Exception:  # noqa: BLE001  no fault of the store may reach a card; None is told and counted
            self._resting_until = time.monotonic() + _REST_SECONDS
            return None
        return tuple(
            HistoryEntry(
                rule=rule, about=about, fingerprint=mark, outcome=outcome, reason=reason,
                when=instant(at), user=user,
            )
            for rule, about, mark, outcome, reason, at, user in rows
        )  # fmt: skip

    def connect(self) -> None:
        """Connect in the background, where that takes longer than a call may wait; else the first call learns nothing."""
        self._source.connect()

    def close(self) -> None:
        """Close the connection."""
        self._source.close()


def micros(when: datetime) -> int:
    """Microseconds since 1970 UTC, as every instant of the store is kept."""
    return (when - _EPOCH) // _MICROSECOND


def instant(microseconds: int) -> datetime:
    """The instant of a number in the store; the nearest one that can be shown where it lies outside the calendar."""
    held = min(max(microseconds, micros(_EARLIEST)), micros(_LATEST))
    return _EPOCH + held * _MICROSECOND


def store_marks(url: str) -> tuple[str, str] | None:
    """Schema and identity mark of a store, by one quick look; None when there is nothing to see."""
    try:
        if url.startswith("sqlite"):
            with contextlib.closing(
                sqlite3.connect(f"file:{_path_of(url)}?mode=ro", uri=True)
            ) as opened:
                row = opened.execute(_MARKS).fetchone()
        else:
            import psycopg

            with psycopg.connect(_conninfo_of(url), connect_timeout=2) as connection:
                row = connection.execute(_MARKS).fetchone()
    except Exception:  # noqa: BLE001  whatever it is, the careful check looks again and says why
        return None
    return (row[0], row[1]) if row else None


def _path_of(url: str) -> str:
    return url.partition(":///")[2]


def _conninfo_of(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}://{rest}"


class _SqliteFile:
    """A read-only connection per thread; readers of a WAL database wait for nobody."""

    def __init__(self, url: str) -> None:
        self._path = _path_of(url)
        self._local = threading.local()
        self._query = _QUERY.format("?")

    def rows(
        self, tenant: str, patient: str, since: int, until: int, seconds: float
    ) -> Sequence[Any]:
        connection = self._connection(seconds)
        deadline = time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
        try:
            return connection.execute(self._query, (tenant, patient, since, until)).fetchall()
        except sqlite3.Error:
            self.close()
            raise

    def _connection(self, seconds: float) -> sqlite3.Connection:
        held: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if held is None:
            held = sqlite3.connect(
                f"file:{self._path}?mode=ro", uri=True, timeout=seconds, isolation_level=None
            )
            self._local.connection = held
        return held

    def connect(self) -> None:
        """Nothing: a file is open as soon as somebody asks."""

    def close(self) -> None:
        held: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if held is not None:
            held.close()
            del self._local.connection


class _PostgresThread:
    """One thread that asks; whoever waits gives up after the limit."""

    def __init__(self, url: str) -> None:
        self._conninfo = _conninfo_of(url)
        self._query = _QUERY.format("%s")
        self._asked: queue.SimpleQueue[tuple[tuple[Any, ...], Future[Sequence[Any]]] | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def rows(
        self, tenant: str, patient: str, since: int, until: int, seconds: float
    ) -> Sequence[Any]:
        answer = self._ask(tenant, patient, since, until)
        try:
            return answer.result(timeout=seconds)
        except NotInTime:
            answer.cancel()
            raise

    def connect(self) -> None:
        self._ask("", "", 0, 0)

    def _ask(self, *question: Any) -> Future[Sequence[Any]]:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._answer, name="past-answers", daemon=True
                )
                self._thread.start()
        answer: Future[Sequence[Any]] = Future()
        self._asked.put((question, answer))
        return answer

    def close(self) -> None:
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join(timeout=2)

    def _answer(self) -> None:
        import psycopg

        connection: psycopg.Connection[Any] | None = None
        while (asked := self._asked.get()) is not None:
            parameters, answer = asked
            if not answer.set_running_or_notify_cancel():
                continue
            try:
                if connection is None:
                    connection = psycopg.connect(self._conninfo, autocommit=True, connect_timeout=2)
                answer.set_result(connection.execute(self._query, parameters).fetchall())
            except Exception as error:  # noqa: BLE001  handed to whoever waits
                answer.set_exception(error)
                if connection is not None:
                    with contextlib.suppress(Exception):
                        connection.close()
                    connection = None
        if connection is not None:
            connection.close()
