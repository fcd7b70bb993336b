"""From the spool to the store, exactly once: lines and the position behind them go into one transaction."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, select

from rules.errors import DekacardError, Unavailable
from service.alerts import models
from service.alerts.database import Database
from service.alerts.intake import Intake
from service.alerts.keyring import Keyring
from service.alerts.lines import LineError, unpack_line
from service.alerts.past_answers import micros
from service.alerts.spool import BEGUN
from service.alerts.spool_reader import SpoolLine, has_writer, lines_after, segments
from service.alerts.values import RecordOptions

_log = logging.getLogger("dekacard.drainer")
_AT_ONCE = 200
_IDLE_SECONDS = 0.1
_LONGEST_PAUSE = 2.0
_BEGUN_SECONDS = 3600.0


class Drainer:
    """Replays the spool of one host; only the process that holds the folder's lock does the work."""

    def __init__(
        self, database: Database, keyring: Keyring, options: RecordOptions, *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        self._database = database
        self._keyring = keyring
        self._folder = Path(options.spool)
        self._quiet = timedelta(days=options.quiet_days)
        self._receivers = options.receivers
        self._keep = options.keep_drained_hours * 3600
        self._clock = clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock_fd = -1
        self._positions: dict[str, int] | None = None
        self.counters = {"lines": 0, "rejected": 0, "store_failures": 0}

    def start(self) -> None:
        """Drain in a thread until ``stop``."""
        self._thread = threading.Thread(target=self._run, name="spool-drainer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current group; whatever is left stays in the spool."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
        self._unlock()

    def drain(self) -> int:
        """Take in everything that lies in the spool now; raises Unavailable when the store refuses.

        Returns the number of lines; 0 also when another process holds the folder.
        """
        if not self._lock():
            return 0
        total = 0
        try:
            while taken := self._drain_group():
                total += taken
            self._remove_drained()
        except BaseException:
            self._positions = None  # whether the last group was taken is for the store to say
            raise
        return total

    @property
    def is_mine(self) -> bool:
        """Whether this process is the one of its host that fills the store."""
        return self._lock_fd >= 0

    def depth(self) -> int:
        """Bytes of the spool that are not yet in the store."""
        positions = self._known_positions()
        return sum(
            max(0, path.stat().st_size - positions.get(path.name, 0))
            for path in segments(self._folder)
        )

    def _run(self) -> None:
        pause = _IDLE_SECONDS
        while not self._stop.wait(pause):
            try:
                taken = self.drain()
                pause = _IDLE_SECONDS if taken or self._lock_fd >= 0 else 1.0
            except (Unavailable, OSError) as error:
                self.counters["store_failures"] += 1
                pause = min(_LONGEST_PAUSE, pause * 2)
                _log.warning(
                    "store not reached (%s); the spool keeps everything", type(error).__name__
                )
            except Exception as error:  # noqa: BLE001  whatever it is, the lines stay and are tried again
                self.counters["store_failures"] += 1
                pause = _LONGEST_PAUSE
                # No traceback: it could repeat what a line says about a patient.
                _log.error("drainer stumbled (%s); the spool keeps all", type(error).__name__)

    def _drain_group(self) -> int:
        positions = self._known_positions()
        group: list[SpoolLine] = []
        for path in segments(self._folder):
            try:
                group += lines_after(path, positions.get(path.name, 0), limit=_AT_ONCE - len(group))
            except FileNotFoundError:
                continue
            if len(group) >= _AT_ONCE:
                break
        if not group:
            return 0
        try:
            self._database.write(partial(self._take, group=group))
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001  one line is at fault: find it, keep it aside
            self._take_one_by_one(group)
        for line in group:
            positions[line.segment] = line.end
        self.counters["lines"] += len(group)
        return len(group)

    def _take(self, connection: Connection, group: list[SpoolLine]) -> None:
        intake = Intake(connection, self._keyring, quiet=self._quiet, receivers=self._receivers)
        ends: dict[str, int] = {}
        # Asked again behind the writers' lock: what a process that died had begun may only now have been committed
        done = _positions_in(connection)
        for line in group:
            if line.end <= done.get(line.segment, 0):
                continue
            ends[line.segment] = line.end
            if line.problem:
                self._put_aside(connection, line, line.problem)
                continue
            try:
                read = unpack_line(line.body, self._keyring)
            except LineError as error:
                self._put_aside(connection, line, str(error))
                continue
            intake.apply(read)
        intake.close()
        self._move(connection, ends)

    def _take_one_by_one(self, group: list[SpoolLine]) -> None:
        for line in group:
            try:
                self._database.write(partial(self._take, group=[line]))
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001  kept aside with its reason, and told loudly
                reason = str(error) if isinstance(error, DekacardError) else type(error).__name__
                # No traceback: it could repeat what the line says about a patient.
                _log.error("a line could not be taken in (%s); see spool_reject", reason)
                self._database.write(partial(self._reject, line=line, reason=reason))

    def _reject(self, connection: Connection, line: SpoolLine, reason: str) -> None:
        self._put_aside(connection, line, reason)
        self._move(connection, {line.segment: line.end})

    def _put_aside(self, connection: Connection, line: SpoolLine, problem: str) -> None:
        self.counters["rejected"] += 1
        connection.execute(
            models.spool_reject.insert().values(
                segment=line.segment,
                position=line.end,
                problem=problem,
                body=line.body,
                at=micros(self._clock()),
            )
        )

    def _move(self, connection: Connection, ends: dict[str, int]) -> None:
        table, now = models.spool_position, micros(self._clock())
        for segment, end in ends.items():
            values = {"position": end, "updated": now}
            if (
                connection.execute(
                    table.update().where(table.c.segment == segment).values(values)
                ).rowcount
                == 0
            ):
                connection.execute(table.insert().values(segment=segment, **values))

    def _known_positions(self) -> dict[str, int]:
        if self._positions is None:
            with self._database.reading() as connection:
                self._positions = _positions_in(connection)
        return self._positions

    def _remove_drained(self) -> None:
        """Files whose writer is gone and whose lines are all in the store, after the time they are kept."""
        positions = self._known_positions()
        for path in segments(self._folder):
            if has_writer(path):
                continue  # asked first: whatever a writer added before it died is in the size below
            state = path.stat()
            old = time.time() - state.st_mtime >= self._keep
            if old and positions.get(path.name, 0) >= state.st_size:
                path.unlink()
                self._database.write(partial(_forget, segment=path.name))
                positions.pop(path.name, None)
        for path in self._folder.glob(f"*{BEGUN}"):  # its writer died before the first line
            if time.time() - path.stat().st_mtime >= _BEGUN_SECONDS and not has_writer(path):
                path.unlink()

    def _lock(self) -> bool:
        if self._lock_fd >= 0:
            return True
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(self._folder / "drain.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._lock_fd = fd
        self._positions = None
        return True

    def _unlock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def take_in(
    database: Database, keyring: Keyring, options: RecordOptions, bodies: Sequence[bytes]
) -> int:
    """Lines that never reached the spool, straight into the store; how many it took."""

    def apply(connection: Connection, body: bytes) -> None:
        intake = Intake(
            connection, keyring, quiet=timedelta(days=options.quiet_days), receivers=options.receivers
        )  # fmt: skip
        intake.apply(unpack_line(body, keyring))
        intake.close()

    taken = 0
    for body in bodies:
        try:
            database.write(partial(apply, body=body))
        except Exception as error:  # noqa: BLE001  told by the caller; one line must not cost the others
            _log.error("a line was refused by spool and store (%s)", type(error).__name__)
        else:
            taken += 1
    return taken


def _positions_in(connection: Connection) -> dict[str, int]:
    table = models.spool_position
    rows = connection.execute(select(table.c.segment, table.c.position)).all()
    return {row.segment: row.position for row in rows}


def _forget(connection: Connection, segment: str) -> None:
    table = models.spool_position
    connection.execute(table.delete().where(table.c.segment == segment))
