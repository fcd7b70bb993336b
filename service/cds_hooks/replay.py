"""Which tokens were used already: a store of its own, shared by all workers, apart from the alert database.

It fails closed: when it does not answer, no token is accepted, because a replayed one could not be told.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rules.errors import Unavailable

if TYPE_CHECKING:
    from sqlalchemy import Engine

_PATIENCE = 2.0  # seconds to wait for another worker's write
_SWEEP_EVERY = 60.0  # seconds between removals of what has expired


class JtiStore(Protocol):
    """Remembers the ``jti`` of every accepted token until it expires."""

    def first_use(self, issuer: str, jti: str, *, expires: float, now: float) -> bool:
        """Whether this token was never used; remembers it in the same step. Times in seconds since 1970.

        Raises:
            Unavailable: the store does not answer.
        """

    def was_used(self, issuer: str, jti: str, *, now: float) -> bool:
        """Whether ``first_use`` has seen it and it has not expired; nothing is remembered by asking.

        Raises:
            Unavailable: the store does not answer.
        """

    def close(self) -> None:
        """Give the connection back."""


def open_jti_store(url: str) -> JtiStore:
    """The store for ``sqlite:///file`` (all workers of one machine) or ``postgresql+psycopg://...`` (several).

    Raises:
        ValueError: another kind of URL.
    """
    if url.startswith("sqlite:///"):
        return SqliteJtiStore(file=Path(url.removeprefix("sqlite:///")))
    if url.startswith("postgresql"):
        return PostgresJtiStore(url=url)
    raise ValueError("the store of used tokens is sqlite:///FILE or postgresql+psycopg://...")


def _digest(issuer: str, jti: str) -> bytes:
    """A fixed-size name of the token; the length prefix keeps two pairs apart."""
    return hashlib.sha256(f"{len(issuer)}:{issuer}{jti}".encode("utf-8", "surrogatepass")).digest()


@dataclass(kw_only=True)
class SqliteJtiStore:
    """One SQLite file on a local disk, in WAL mode; each process opens its own connection."""

    file: Path
    _connection: sqlite3.Connection | None = field(init=False, default=None)
    _owner: int = field(init=False, default=0)
    _swept: float = field(init=False, default=0.0)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def first_use(self, issuer: str, jti: str, *, expires: float, now: float) -> bool:
        """See JtiStore."""
        try:
            with self._lock:
                connection = self._open()
                if time.monotonic() - self._swept > _SWEEP_EVERY:
                    connection.execute("DELETE FROM used_token WHERE expires < ?", (now,))
                    self._swept = time.monotonic()
                cursor = connection.execute(
                    "INSERT INTO used_token VALUES (?, ?) ON CONFLICT DO NOTHING",
                    (_digest(issuer, jti), expires),
                )
                return cursor.rowcount == 1
        except sqlite3.Error as error:
            raise Unavailable(
                f"the store of used tokens does not answer: {type(error).__name__}"
            ) from None

    def was_used(self, issuer: str, jti: str, *, now: float) -> bool:
        """See JtiStore."""
        try:
            with self._lock:
                found = self._open().execute(
                    "SELECT 1 FROM used_token WHERE token = ? AND expires >= ?",
                    (_digest(issuer, jti), now),
                )
                return found.fetchone() is not None
        except sqlite3.Error as error:
            raise Unavailable(
                f"the store of used tokens does not answer: {type(error).__name__}"
            ) from None

    def close(self) -> None:
        """See JtiStore."""
        with self._lock:
            if self._connection is not None and self._owner == os.getpid():
                self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        # A connection must not cross a fork: SQLite's locks belong to the process that opened it.
        if self._connection is None or self._owner != os.getpid():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                self.file, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS used_token"
                " (token BLOB PRIMARY KEY, expires REAL NOT NULL) STRICT, WITHOUT ROWID"
            )
            self._connection, self._owner = connection, os.getpid()
        return self._connection


@dataclass(kw_only=True)
class PostgresJtiStore:
    """One table of a PostgreSQL database, for workers on several machines."""

    url: str
    _engine: Engine | None = field(init=False, default=None)
    _swept: float = field(init=False, default=0.0)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def first_use(self, issuer: str, jti: str, *, expires: float, now: float) -> bool:
        """See JtiStore."""
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._open().begin() as connection:
                if time.monotonic() - self._swept > _SWEEP_EVERY:
                    connection.execute(
                        text("DELETE FROM used_token WHERE expires < :now"), {"now": now}
                    )
                    self._swept = time.monotonic()
                result = connection.execute(
                    text("INSERT INTO used_token VALUES (:token, :expires) ON CONFLICT DO NOTHING"),
                    {"token": _digest(issuer, jti), "expires": expires},
                )
                return result.rowcount == 1
        except SQLAlchemyError as error:
            raise Unavailable(
                f"the store of used tokens does not answer: {type(error).__name__}"
            ) from None

    def was_used(self, issuer: str, jti: str, *, now: float) -> bool:
        """See JtiStore."""
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._open().connect() as connection:
                found = connection.execute(
                    text("SELECT 1 FROM used_token WHERE token = :token AND expires >= :now"),
                    {"token": _digest(issuer, jti), "now": now},
                )
                return found.first() is not None
        except SQLAlchemyError as error:
            raise Unavailable(
                f"the store of used tokens does not answer: {type(error).__name__}"
            ) from None

    def close(self) -> None:
        """See JtiStore."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None

    def _open(self) -> Engine:
        from sqlalchemy import create_engine, text

        with self._lock:
            if self._engine is None:
                engine = create_engine(
                    self.url,
                    pool_pre_ping=True,
                    pool_timeout=_PATIENCE,
                    connect_args={"connect_timeout": 2},
                )
                with engine.begin() as connection:
                    # Two workers that start together would both create the table: the lock lets one go first.
                    connection.execute(
                        text("SELECT pg_advisory_xact_lock(hashtext('dekacard.used_token'))")
                    )
                    connection.execute(
                        text(
                            "CREATE TABLE IF NOT EXISTS used_token"
                            " (token bytea PRIMARY KEY, expires double precision NOT NULL)"
                        )
                    )
                self._engine = engine
            return self._engine
