"""Kills the writing process again and again, and counts what was acknowledged and is not in the store.

``python -m tests.service.alerts.kill --count 100 --database sqlite|postgresql``
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import func, select

from service import audit
from service.alerts import models, schema
from service.alerts.database import Database
from service.alerts.drainer import Drainer
from service.alerts.keyring import open_keyring
from service.alerts.record import open_record
from service.alerts.values import AuditEntry, RecordOptions
from tests.service.alerts.postgres import running_server
from tests.service.alerts.stories import NOON, RULE, RULES, call, recommendation, reviewed

TENANT = "st-elsewhere"


def options_for(folder, url):
    return RecordOptions(
        database_url=url,
        spool=str(folder / "spool"),
        keyring=str(folder / "keys.json"),
        keep_drained_hours=0,
    )


def write_until_killed(folder, url, first):
    """The victim: acknowledges each line on its standard output, after it was written and never before."""
    record = open_record(options_for(folder, url), create_keys=True, upgrade=True)
    found = reviewed(recommendation())
    number = first
    while True:
        made = call(number, patient=f"p{number % 7}")
        assert record.record(made, found, may_speak=RULES)
        os.write(1, f"review {made.id}\n".encode())
        assert record.audit(
            AuditEntry(
                tenant=TENANT, at=NOON, actor="user/a", action="view", object=f"alert/{number}"
            )
        )
        os.write(1, f"view alert/{number}\n".encode())
        number += 1
        time.sleep(0.0005)


def kill_again_and_again(folder, url, count, *, seed=0, say=lambda *_: None):
    """Returns the lines that were acknowledged."""
    chance = random.Random(seed)
    acknowledged = []
    for turn in range(count):
        command = [
            sys.executable,
            "-m",
            "tests.service.alerts.kill",
            "--victim",
            str(folder),
            url,
            str(turn * 100_000),
        ]
        victim = subprocess.Popen(command, stdout=subprocess.PIPE)
        first = victim.stdout.readline()
        assert first, "the victim never wrote a line"
        time.sleep(chance.uniform(0.0, 0.6))
        victim.send_signal(signal.SIGKILL)
        rest = victim.stdout.read()
        victim.wait()
        victim.stdout.close()
        acknowledged += [line for line in (first + rest).decode().split("\n")[:-1] if line]
        say(turn + 1, len(acknowledged))
    return acknowledged


def missing(folder, url, acknowledged):
    """What the store lacks after everything in the spool was taken in, and what it holds too often."""
    keyring = open_keyring(folder / "keys.json", create=False)
    database = Database(url)
    try:
        schema.require_current(database)
        drainer = Drainer(database, keyring, options_for(folder, url))
        while drainer.drain():
            pass
        drainer.stop()
        with database.reading() as connection:
            reviews = set(connection.scalars(select(models.evaluation.c.id)))
            views = list(
                connection.scalars(
                    select(models.audit.c.object).where(models.audit.c.action == "view")
                )
            )
            lines = connection.scalar(select(func.count()).select_from(models.audit))
            seen = connection.scalar(
                select(func.sum(models.alert.c.seen_count)).where(models.alert.c.rule == RULE)
            )
            alerts = connection.scalar(select(func.count()).select_from(models.alert))
            damaged = connection.scalar(select(func.count()).select_from(models.spool_reject))
            faults = audit.verify(connection, keyring)
    finally:
        database.close()
    told = {"review": reviews, "view": set(views)}
    lost = [
        line for line in acknowledged if line.split(" ", 1)[1] not in told[line.split(" ", 1)[0]]
    ]
    twice = (
        len(views) - len(set(views)) + (seen - len(reviews)) + (lines - len(views) - len(reviews))
    )
    return {
        "acknowledged": len(acknowledged), "lost": len(lost), "twice": twice, "faults": len(faults), "alerts": alerts,
        "torn": damaged,
    }  # fmt: skip


def main():
    if sys.argv[1:2] == ["--victim"]:
        write_until_killed(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=100)
    options.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.database == "sqlite":
            result = run(folder, f"sqlite:///{folder}/record.db", chosen)
        else:
            with running_server() as sockets:
                result = run(folder, f"postgresql://postgres@/postgres?host={sockets}", chosen)
    print(result)
    sys.exit(1 if result["lost"] or result["twice"] or result["faults"] else 0)


def run(folder, url, chosen):
    acknowledged = kill_again_and_again(
        folder,
        url,
        chosen.count,
        seed=chosen.seed,
        say=lambda *told: print("kill", *told, flush=True),
    )
    return missing(folder, url, acknowledged)


if __name__ == "__main__":
    main()
