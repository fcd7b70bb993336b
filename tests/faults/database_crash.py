"""PostgreSQL itself crashes while calls go on, again and again; nothing that was acknowledged is missing after.

python -m tests.faults.database_crash --crashes 100
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
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
from tests.service.alerts.stories import RULES, call, recommendation, reviewed

PATIENTS = 5


def crash(server):
    """End the server at once, without writing anything back (its "immediate" mode); start it, and it recovers."""
    info = server.get_postmaster_info()
    os.kill(info.pid, signal.SIGQUIT)
    wait_until(lambda: not _alive(info.pid))
    server.start()
    server.ensure_postgres_running()


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]


def measure(folder, crashes):
    """What became of the calls around the crashes."""
    with own_server() as server:
        url = f"postgresql://postgres@/postgres?host={socket_folder(server)}"
        opened, keyring = Database(url), new_keyring()
        schema.upgrade(opened)
        options = RecordOptions(database_url=url, spool=str(folder / "spool"), keyring="")
        record = Record(options, keyring)
        record.start()
        answered = _calls(record, 0, 60)
        for _ in range(crashes):
            answered += _calls(record, answered, 20)
            crash(server)
            answered += _calls(record, answered, 20)
        wait_until(lambda: _kept(opened) >= answered, moving=lambda: _kept(opened))
        found = _found(opened, keyring, answered)
        record.close()
        opened.close()
    return found


def _calls(record, first, count):
    review = reviewed(recommendation())
    for number in range(first, first + count):
        assert record.record(call(number, patient=f"p{number % PATIENTS}"), review, may_speak=RULES)
        time.sleep(0.002)
    return count


def _kept(opened):
    try:
        with opened.reading() as connection:
            return connection.scalar(select(func.count()).select_from(models.evaluation))
    except Exception:  # noqa: BLE001 - the server is being started
        return 0


def _found(opened, keyring, answered):
    with opened.reading() as connection:
        counted = int(connection.scalar(select(func.sum(models.alert.c.seen_count))))
        lines = connection.scalar(select(func.count()).select_from(models.audit))
        faults = audit.verify(connection, keyring)
    return {
        "answered": answered, "lost": answered - _kept(opened), "twice": counted - answered,
        "unaudited": answered - lines, "faults": len(faults),
    }  # fmt: skip


def main():
    """Run from the command line; ends with 1 when anything is missing or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crashes", type=int, default=10)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dekacard-crash-", ignore_cleanup_errors=True) as name:
        found = measure(Path(name), wanted.crashes)
    print(json.dumps(found))
    return int(any(found[bad] for bad in ("lost", "twice", "unaudited", "faults")))


if __name__ == "__main__":
    sys.exit(main())
