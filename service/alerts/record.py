"""The record of one worker: the recorder that answers at once, and the keeper that fills the store behind it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rules.errors import DekacardError, Unavailable
from service.alerts.keyring import Keyring, fingerprint_of, open_keyring
from service.alerts.past_answers import NEWEST_SCHEMA, PastAnswers, store_marks
from service.alerts.recorder import SpoolRecorder
from service.alerts.values import RecordOptions

if TYPE_CHECKING:
    from rules.rulebook import Rulebook
    from service.alerts.database import Database
    from service.alerts.drainer import Drainer
    from service.alerts.outbox import Post
    from service.alerts.store import Store

_log = logging.getLogger("dekacard.record")
_HOUSE_SECONDS = 60.0
_RETRY_SECONDS = 2.0
_HEADS_SECONDS = 3600.0
_REMOVAL_SECONDS = 86_400.0


class Record(SpoolRecorder):
    """A recorder with its store; SQLAlchemy is loaded by a thread of its own, after the service has started."""

    def __init__(
        self,
        options: RecordOptions,
        keyring: Keyring,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        post: Post | None = None,
    ) -> None:
        past = PastAnswers(
            options.database_url, limit=options.history_seconds, days=options.history_days
        )
        super().__init__(Path(options.spool), keyring, past, backlog_lines=options.backlog_lines)
        self.options = options
        self.keyring = keyring
        self._clock = clock
        self._post = post
        self._database: Database | None = None
        self._database_lock = threading.Lock()
        self._stop = threading.Event()
        self._keeper: threading.Thread | None = None
        self._drainer: Drainer | None = None
        self._rulebooks: list[Rulebook] = []
        self._last_removal = 0.0
        self._archive_again = 0.0
        self._archive_pause = _RETRY_SECONDS

    @property
    def database(self) -> Database:
        """The connection to the store, opened on first use."""
        with self._database_lock:
            if self._database is None:
                from service.alerts.database import Database as Opened

                self._database = Opened(self.options.database_url)
            return self._database

    def store(self) -> Store:
        """The store, for screens and interfaces."""
        from service.alerts.store import Store as Opened

        return Opened(self.database, self.keyring, limits=self.options.snooze)

    def keep_packs(self, rulebook: Rulebook) -> None:
        """Archive these packs by their digests, so that what they said can be replayed; done in the background."""
        with self._database_lock:
            self._rulebooks.append(rulebook)

    def start(self, *, head_start: float = 0.0) -> None:
        """Begin to move lines into the store, in the background; call it once, after any fork.

        ``head_start`` leaves that, for so many seconds, to a process that does nothing else. Whoever comes first
        does it alone; when that process ends, another takes over.
        """
        if self._past is not None:
            self._past.connect()
        self._keeper = threading.Thread(
            target=self._keep_house, args=(head_start,), name="record-keeper", daemon=True
        )
        self._keeper.start()

    @property
    def fills_the_store(self) -> bool:
        """Whether this is the process of its host that moves lines into the store."""
        return self._drainer is not None and self._drainer.is_mine

    def let_go(self) -> None:
        """Close the connection to the store; it is opened again when somebody asks."""
        with self._database_lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def close(self) -> None:
        """Write what waits, stop the keeper, close everything; what is not in the store stays in the spool."""
        self._stop.set()
        if self._keeper is not None:
            self._keeper.join(timeout=30)
        super().close()
        self.let_go()

    def _rescue(self, bodies: Sequence[bytes]) -> int:
        from service.alerts.drainer import take_in

        try:
            return take_in(self.database, self.keyring, self.options, bodies)
        except Exception as error:  # noqa: BLE001  the store cannot be opened either; the caller says what is lost
            _log.error("the store could not take what the spool refused (%s)", type(error).__name__)
            return 0

    def _keep_house(self, head_start: float) -> None:
        from service.alerts.drainer import Drainer as Opened

        drainer = self._drainer = Opened(
            self.database, self.keyring, self.options, clock=self._clock
        )
        if not self._wait_for_schema():
            return
        self._archive_packs()
        if self._stop.wait(head_start):
            return
        drainer.start()
        last_heads = 0.0
        while not self._stop.wait(min(_HOUSE_SECONDS, 1.0)):
            self._archive_packs()
            if not drainer.is_mine:
                continue
            last_heads = self._round(last_heads)
            # Until packs are archived, nothing that they said can be replayed
            self._stop.wait(_RETRY_SECONDS if self._rulebooks else _HOUSE_SECONDS)
        drainer.stop()

    def _wait_for_schema(self) -> bool:
        from service.alerts.schema import require_current, require_keyring

        while not self._stop.is_set():
            try:
                require_current(self.database)
                require_keyring(self.database, self.keyring)
            except Exception as error:  # noqa: BLE001  the store may come up later; cards do not wait for it
                _log.error("the store cannot be used yet: %s", _said(error))
                self._stop.wait(_RETRY_SECONDS)
            else:
                return True
        return False

    def _archive_packs(self) -> None:
        from service.pack_archive import archive

        while self._rulebooks and time.monotonic() >= self._archive_again:
            waiting = self._rulebooks[0]
            try:
                self.database.write(partial(archive, rulebook=waiting, now=self._clock()))
            except Exception as error:  # noqa: BLE001  the next round tries again
                _log.error("packs could not be archived yet (%s)", type(error).__name__)
                self._archive_again = time.monotonic() + self._archive_pause
                self._archive_pause = min(_HOUSE_SECONDS, 2 * self._archive_pause)
                return
            self._archive_pause = _RETRY_SECONDS
            with self._database_lock:
                self._rulebooks.pop(0)

    def _round(self, last_heads: float) -> float:
        from service.alerts.housekeeping import close_stale_drafts
        from service.alerts.outbox import deliver, http_post
        from service.alerts.retention import remove_expired
        from service.audit import heads

        try:
            close_stale_drafts(self.database, self._clock(), self.options.draft_days)
            deliver(self.database, self.options.receivers, self._post or http_post, self._clock())
            if time.monotonic() - self._last_removal > _REMOVAL_SECONDS or not self._last_removal:
                gone = remove_expired(
                    self.database, self.keyring, self._clock(), self.options.retention
                )
                _log.info("retention removed %s", {table: n for table, n in gone.items() if n})
                self._last_removal = time.monotonic()
            if time.monotonic() - last_heads > _HEADS_SECONDS or not last_heads:
                with self.database.reading() as connection:
                    for head in heads(connection):
                        # Kept in the log stream: a store that is set back as a whole shows against it.
                        _log.info(
                            "audit head tenant=%s seq=%d mac=%s", head.tenant, head.seq, head.mac
                        )
                last_heads = time.monotonic()
        except Exception as error:  # noqa: BLE001  the next round tries again
            _log.error("housekeeping stumbled (%s)", type(error).__name__)
        return last_heads


def prepare_record(
    options: RecordOptions,
    *,
    create_keys: bool,
    upgrade: bool,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Record:
    """The record of a site, checked but not started: nothing runs or is held open, so a process may still fork.

    ``create_keys`` makes a missing keyring, ``upgrade`` brings the schema up to date (development, demo);
    elsewhere both are done by command. A store of an unknown newer schema, or of other keys, is refused here
    if it answers; one that does not answer is waited for in the background.

    Raises:
        KeyringError: the keys cannot be read.
        SchemaError: the store has another schema, or was made with other keys.
    """
    record = Record(options, open_keyring(Path(options.keyring), create=create_keys), clock=clock)
    try:
        check_store(record, upgrade=upgrade)
    finally:
        record.let_go()
    return record


def open_record(
    options: RecordOptions,
    *,
    create_keys: bool,
    upgrade: bool,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    head_start: float = 0.0,
) -> Record:
    """The record of a site, checked and started; raises what ``prepare_record`` raises."""
    record = prepare_record(options, create_keys=create_keys, upgrade=upgrade, clock=clock)
    record.start(head_start=head_start)
    return record


def check_store(record: Record, *, upgrade: bool) -> None:
    """Refuse a store that cannot be used, as far as it answers."""
    url = record.options.database_url
    found = store_marks(url)
    if found == (NEWEST_SCHEMA, fingerprint_of(record.keyring)):
        return
    if not upgrade and url.startswith("sqlite") and not Path(url.partition(":///")[2]).exists():
        upgrade = True  # a SQLite file that is not there yet is ours to make
    from sqlalchemy.exc import OperationalError

    from service.alerts import schema

    try:
        if upgrade:
            schema.upgrade(record.database)
        schema.require_current(record.database)
        schema.require_keyring(record.database, record.keyring)
    except (Unavailable, OperationalError):
        _log.warning(
            "the store does not answer; cards are answered, and the spool keeps everything"
        )


def _said(error: Exception) -> str:

    return str(error) if isinstance(error, DekacardError) else type(error).__name__
