"""Kills the process in which alerts are decided on, and looks for confirmed decisions that are not in the store.

python -m tests.faults.decisions --count 100 --database sqlite|postgresql
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select

from service import audit
from service.alerts import models, schema
from service.alerts.database import Database
from service.alerts.drainer import Drainer
from service.alerts.keyring import open_keyring
from service.alerts.lifecycle import Request
from service.alerts.recorder import SpoolRecorder
from service.alerts.store import Store
from service.alerts.values import RecordOptions
from tests.service.alerts.postgres import running_server
from tests.service.alerts.stories import NOON, RULES, call, recommendation, reviewed

TENANT = "st-elsewhere"
ALERTS = 5


def fill(folder, url):
    """Open alerts of several patients; returns their numbers."""
    opened, keyring = Database(url), open_keyring(folder / "keys.json", create=True)
    schema.upgrade(opened)
    recorder = SpoolRecorder(folder / "spool", keyring)
    for number in range(ALERTS):
        recorder.record(
            call(number, patient=f"p{number}"), reviewed(recommendation()), may_speak=RULES
        )
    recorder.close()
    options = RecordOptions(database_url=url, spool=str(folder / "spool"), keyring="")
    drainer = Drainer(opened, keyring, options)
    drainer.drain()
    drainer.stop()
    with opened.reading() as connection:
        numbers = list(connection.scalars(select(models.alert.c.id)))
    opened.close()
    return numbers


def decide_until_killed(folder, url, first):
    """The victim: claims and releases alerts, and confirms each decision after it was made, never before."""
    opened = Database(url)
    store = Store(opened, open_keyring(folder / "keys.json", create=False))
    with opened.reading() as connection:
        numbers = list(connection.scalars(select(models.alert.c.id)))
    turn = first
    while True:
        number = numbers[turn % len(numbers)]
        row = store.alert(TENANT, number)
        action = "release" if row.assignee else "claim"
        at = NOON + timedelta(seconds=turn)
        after = store.change(
            TENANT,
            number,
            row.version,
            Request(action=action, actor="ward-1", at=at, note=str(turn)),
        )
        os.write(1, f"{number} {after.version}\n".encode())
        turn += 1


def kill_again_and_again(folder, url, count, *, seed=0):
    """How many decisions were confirmed, and what the store lacks of them."""
    fill(folder, url)
    chance, confirmed = random.Random(seed), []
    for turn in range(count):
        command = [sys.executable, "-m", "tests.faults.decisions", "--victim"]
        victim = subprocess.Popen(
            [*command, str(folder), url, str(turn * 100_000)], stdout=subprocess.PIPE
        )
        first = victim.stdout.readline()
        assert first, "the victim never decided anything"
        time.sleep(chance.uniform(0.0, 0.3))
        victim.send_signal(signal.SIGKILL)
        told = first + victim.stdout.read()
        victim.wait()
        victim.stdout.close()
        confirmed += [line.split() for line in told.decode().split("\n")[:-1] if line]
    return _missing(folder, url, confirmed)


def _missing(folder, url, confirmed):
    opened, keyring = Database(url), open_keyring(folder / "keys.json", create=False)
    highest = {}
    for number, version in confirmed:
        highest[int(number)] = max(highest.get(int(number), 0), int(version))
    with opened.reading() as connection:
        kept = dict(connection.execute(select(models.alert.c.id, models.alert.c.version)).all())
        acted = models.event.c.action.in_(("claim", "release"))
        events = connection.scalar(select(func.count()).select_from(models.event).where(acted))
        audited = connection.scalar(
            select(func.count())
            .select_from(models.audit)
            .where(models.audit.c.action.in_(("claim", "release")))
        )
        faults = audit.verify(connection, keyring)
    opened.close()
    return {
        "confirmed": len(confirmed),
        "lost": sum(kept[number] < version for number, version in highest.items()),
        "without_event": max(0, len(confirmed) - events) + abs(events - audited),
        "faults": len(faults),
    }


def main():
    """Run from the command line; ends with 1 when anything confirmed is missing."""
    if sys.argv[1:2] == ["--victim"]:
        decide_until_killed(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dekacard-decisions-") as name:
        folder = Path(name)
        if wanted.database == "sqlite":
            found = kill_again_and_again(folder, f"sqlite:///{folder}/record.db", wanted.count)
        else:
            with running_server() as sockets:
                url = f"postgresql://postgres@/postgres?host={sockets}"
                found = kill_again_and_again(folder, url, wanted.count)
    print(found)
    return int(any(found[bad] for bad in ("lost", "without_event", "faults")))


if __name__ == "__main__":
    sys.exit(main())
