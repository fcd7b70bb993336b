"""The database stopped under load: every call answered, nothing lost, nothing twice.

    python -m tests.service.alerts.outage --seconds 60 --database postgresql

PostgreSQL is stopped and started again; SQLite is held by another writer for that long.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import func, select

from service import audit
from service.alerts import models, schema
from service.alerts.database import Database
from service.alerts.keyring import new_keyring
from service.alerts.record import Record
from service.alerts.values import RecordOptions
from tests.service.alerts.patience import wait_until
from tests.service.alerts.postgres import own_server, socket_folder
from tests.service.alerts.stories import NOON, RULES, call, recommendation, reviewed

PATIENTS = 5
FEWEST = 50  # calls that are answered while the database is away


def measure(folder, database, seconds):
    """What became of the calls before, during and after the outage.

    ``unanswered`` calls had no durable line, ``lost`` have no evaluation in the store, ``twice`` were counted again,
    ``faults`` are faults of the audit trail.
    """
    with store_that_goes(folder, database) as (url, away):
        opened, keyring = Database(url), new_keyring()
        schema.upgrade(opened)
        record = Record(
            RecordOptions(database_url=url, spool=str(folder / "spool"), keyring=""), keyring
        )
        record.start()
        load = _Load(record)
        load.start()
        try:
            wait_until(
                lambda: record._drainer is not None and record._drainer.counters["lines"] > 20
            )
            before = load.answered
            with away():
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    time.sleep(0.05)
                wait_until(lambda: load.answered > before + FEWEST)  # slower on a busy machine
                during = load.answered - before
                waiting = sum(one.stat().st_size for one in (folder / "spool").glob("*.spool"))
            after = load.answered
            wait_until(lambda: load.answered > after + 50)
        finally:
            load.stop()
        begun = time.monotonic()
        wait_until(
            lambda: _count(opened, models.evaluation) >= load.answered,
            moving=lambda: _count(opened, models.evaluation),
        )
        with opened.reading() as connection:
            counted = connection.scalar(select(func.sum(models.alert.c.seen_count)))
            lines = connection.scalar(select(func.count()).select_from(models.audit))
            faults = audit.verify(connection, keyring)
        found = {
            "database": database, "seconds_away": seconds, "answered": load.answered, "answered_during": during,
            "slowest_answer_ms": round(load.slowest * 1000, 1), "unanswered": load.unanswered,
            "lost": load.answered - _count(opened, models.evaluation), "twice": int(counted) - load.answered,
            "unaudited": load.answered - lines, "faults": len(faults), "spool_bytes": waiting,
            "caught_up_after_s": round(time.monotonic() - begun, 1),
        }  # fmt: skip
        record.close()
        opened.close()
        return found


class _Load(threading.Thread):
    """Calls one after another, each as the service makes it: ask for history, write the line."""

    def __init__(self, record):
        super().__init__(daemon=True)
        self._record, self._done = record, threading.Event()
        self.answered = self.unanswered = 0
        self.slowest = 0.0

    def run(self):
        number, review = 0, reviewed(recommendation())
        while not self._done.is_set():
            patient, begun = f"p{number % PATIENTS}", time.monotonic()
            self._record.history("st-elsewhere", patient, "", NOON)
            kept = self._record.record(call(number, patient=patient), review, may_speak=RULES)
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.answered += kept
            self.unanswered += not kept
            number += 1
            time.sleep(0.005)

    def stop(self):
        self._done.set()
        self.join()


def _count(database, table):
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table))


@contextmanager
def store_that_goes(folder, database):
    """The URL of a store of our own, and what takes it away for a while."""
    if database == "sqlite":
        url = f"sqlite:///{folder}/record.db"
        yield url, lambda: _held(url)
        return
    with own_server() as server:
        yield (
            f"postgresql://postgres@/postgres?host={socket_folder(server)}",
            lambda: _stopped(server),
        )


@contextmanager
def _held(url):
    other = Database(url)
    try:
        with other.writing():
            yield
    finally:
        other.close()


@contextmanager
def _stopped(server):
    server._stop()
    try:
        yield
    finally:
        server.start()
        server.ensure_postgres_running()


def main():
    """Run from the command line; ends with 1 when anything was lost, doubled or not answered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dekacard-out-", ignore_cleanup_errors=True) as folder:
        found = measure(Path(folder), wanted.database, wanted.seconds)
    print(json.dumps(found, indent=2))
    return int(any(found[name] for name in ("unanswered", "lost", "twice", "unaudited", "faults")))


if __name__ == "__main__":
    sys.exit(main())
