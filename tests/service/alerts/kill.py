"""Kills the writing process again and again, and counts what was acknowledged and is not in the store.

``python -m tests.service.alerts.kill --count 100 --database sqlite|postgresql [--service]``
"""

import argparse
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from functools import partial
from pathlib import Path

import httpx2
from sqlalchemy import func, select

from rules.errors import Unavailable
from service import audit
from service.alerts import models, schema
from service.alerts.database import Database
from service.alerts.drainer import Drainer
from service.alerts.keyring import open_keyring
from service.alerts.record import open_record
from service.alerts.values import AuditEntry, RecordOptions
from tests.service.alerts.patience import wait_until
from tests.service.alerts.postgres import running_server
from tests.service.alerts.stories import NOON, RULE, RULES, call, recommendation, reviewed

TENANT = "st-elsewhere"
EXAMPLES = Path(__file__).parents[3] / "examples"


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


def turns(count, minutes):
    """So many turns, or as many as begin within so many minutes."""
    until = math.inf if minutes is None else time.monotonic() + 60 * minutes
    for turn in range(count):
        if time.monotonic() > until:
            return
        yield turn


def kill_again_and_again(folder, url, count, *, seed=0, minutes=None, say=lambda *_: None):
    """Returns the lines that were acknowledged."""
    chance = random.Random(seed)
    acknowledged = []
    for turn in turns(count, minutes):
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


def kill_the_service(folder, url, count, *, seed=0, minutes=None, say=lambda *_: None):
    """Kills the whole service under calls; returns the hook instances whose cards came back."""
    chance, answered = random.Random(seed), []
    for turn in turns(count, minutes):
        process, address = start_service(folder, url)
        answered.append(wait_until(partial(call_service, process, address, chance)))
        until = time.monotonic() + chance.uniform(0.0, 0.5)
        while time.monotonic() < until:
            answered += filter(None, [call_service(process, address, chance)])
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        say(turn + 1, len(answered))
    return answered


def start_service(folder, url):
    """The service as a process group of its own, and the address it says it has."""
    environment = os.environ | {
        "DEKACARD_STORE_URL": url, "DEKACARD_SPOOL_DIR": str(folder / "spool"),
        "DEKACARD_KEYRING": str(folder / "keys.json"),
    }  # fmt: skip
    log = folder / "service.log"
    command = [sys.executable, "-m", "service.cli", "serve", "--dev", "--port", "0"]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=out, start_new_session=True
        )

    def address():
        assert process.poll() is None, f"the service ended by itself: {log.read_text()[-2000:]}"
        return re.search(r"serving on (http://[\d.:]+)", log.read_text())

    return process, wait_until(address).group(1)


def call_service(process, address, chance):
    """The hook instance of one call that was answered, or nothing."""
    body = json.loads((EXAMPLES / "01-warfarin-new-mk7-coded.json").read_text())
    body["hookInstance"] = str(uuid.UUID(int=chance.getrandbits(128)))
    where = f"{address}/cds-services/vitamin-dk-patient-view"
    try:
        answer = httpx2.post(where, json=body, timeout=5, trust_env=False)
    except httpx2.TransportError:
        assert process.poll() is None, "the service ended by itself"
        return ""
    assert answer.status_code == 200, answer.text
    return body["hookInstance"]


def take_in_everything(drainer):
    """Drain to the end, as long as anything moves.

    A killed process may hold the folder, the store's lock or a session of the server until the system has buried it,
    and a server under load may refuse for a while.
    """

    def empty():
        try:
            drainer.drain()
            return drainer.is_mine and not drainer.depth()
        except Unavailable:
            return False

    wait_until(empty, moving=lambda: drainer.counters["lines"])
    drainer.stop()


def unrecorded(folder, url, answered):
    """What the store lacks of the answered calls, and how often something stands in it twice."""
    database = Database(url)
    keyring = open_keyring(folder / "keys.json", create=False)
    drainer = Drainer(database, keyring, options_for(folder, url))
    take_in_everything(drainer)
    with database.reading() as connection:
        kept = list(connection.scalars(select(models.evaluation.c.hook_instance)))
        audited = connection.scalar(
            select(func.count()).select_from(models.audit).where(models.audit.c.action == "review")
        )
        faults = audit.verify(connection, keyring)
    database.close()
    return {
        "answered": len(answered), "lost": len(set(answered) - set(kept)), "twice": len(kept) - len(set(kept)),
        "unaudited": len(kept) - audited, "faults": len(faults),
    }  # fmt: skip


def missing(folder, url, acknowledged):
    """What the store lacks after everything in the spool was taken in, and what it holds too often."""
    keyring = open_keyring(folder / "keys.json", create=False)
    database = Database(url)
    try:
        schema.require_current(database)
        drainer = Drainer(database, keyring, options_for(folder, url))
        take_in_everything(drainer)
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
        len(views)
        - len(set(views))
        + (int(seen) - len(reviews))
        + (lines - len(views) - len(reviews))
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
    options.add_argument(
        "--service", action="store_true", help="Kill the service itself, over HTTP."
    )
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--minutes", type=float, help="Stop killing after so long, and look.")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.database == "sqlite":
            result = run(folder, f"sqlite:///{folder}/record.db", chosen)
        else:
            with running_server() as sockets:
                result = run(folder, f"postgresql://postgres@/postgres?host={sockets}", chosen)
    print(result)
    sys.exit(1 if any(result.get(bad) for bad in ("lost", "twice", "faults", "unaudited")) else 0)


def run(folder, url, chosen):
    """Kill, then look; ``kills`` is how many there were."""
    turns_done = []

    def say(turn, told):
        turns_done.append(turn)
        print("kill", turn, told, flush=True)

    kill, look = (
        (kill_the_service, unrecorded) if chosen.service else (kill_again_and_again, missing)
    )
    told = kill(folder, url, chosen.count, seed=chosen.seed, minutes=chosen.minutes, say=say)
    return {"kills": len(turns_done), **look(folder, url, told)}


if __name__ == "__main__":
    main()
