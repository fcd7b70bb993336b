"""The record in figures: what a card pays for it, how fast the store fills, how fast it answers when it is full.

Invented alerts of six years in each database, most of them closed, and a year of daily counts. A time by the clock depends
on what else the machine does; processor time (cpu) much less. PostgreSQL is the one that the tests use, unless another,
empty one is named by --url.

    python -m benchmarks.record [--alerts 1000000] [--calls 2000] [--database sqlite --database postgresql]
"""

import argparse
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert, text

from benchmarks.pages import furnish, pages
from service.alerts import models, schema, worklist
from service.alerts.database import Database
from service.alerts.drainer import Drainer
from service.alerts.keyring import new_keyring, open_keyring
from service.alerts.past_answers import PastAnswers, micros
from service.alerts.recorder import SpoolRecorder
from service.alerts.values import RecordOptions
from service.rule_figures import figures

TENANT = "st-elsewhere"
RULES = [f"rule-{number:02d}" for number in range(45)]
DAY = 86_400_000_000
NOW = micros(datetime(2026, 11, 22, 12, tzinfo=UTC))
AT_ONCE = 10_000
REPEATS = 60
DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


def p95(values):
    return sorted(values)[max(0, -(-95 * len(values) // 100) - 1)]


def times(job, repeats=REPEATS):
    """Median and 95th percentile in milliseconds; processor time beside, which other work on the machine stretches less."""
    took, busy = [], []
    for _ in range(repeats):
        started, before = time.perf_counter(), time.process_time()
        job()
        took.append((time.perf_counter() - started) * 1000)
        busy.append((time.process_time() - before) * 1000)
    return {
        "p50_ms": round(statistics.median(took), 3),
        "p95_ms": round(p95(took), 3),
        "cpu_p95_ms": round(p95(busy), 3),
    }


def alerts(count):
    """Invented alerts of six years: a few open, most closed."""
    chance = random.Random(4)
    for number in range(count):
        age = int(chance.paretovariate(1.2) * DAY) % (6 * 365 * DAY)
        state = (
            "new"
            if chance.random() < 0.03
            else chance.choice(["resolved", "overridden", "cleared"])
        )
        rank = chance.choices([0, 1, 2], [1, 6, 13])[0]
        yield {
            "tenant": TENANT, "key": f"{number:064x}", "patient": f"{number // 3:064x}", "kind": "recommendation",
            "rule": chance.choice(RULES), "rule_version": "2026.11.1", "about": "vitamin-k2-mk7",
            "indicator": ("critical", "warning", "info")[rank], "severity": 2 - rank,
            "priority": (70, 40, 10)[rank] + chance.randrange(0, 22, 3), "priority_parts": '[["severity",40,"warning"],["fresh",6,"2026-11-20"]]', "title": "Vitamin K with a VKA",
            "summary": "Ongoing vitamin K2 (MK-7) with warfarin, and no recent INR shows it is stable.", "mode": "live",
            "state": state, "is_open": int(state == "new"), "course": "ongoing", "evidence_hash": f"{number:064x}", "evaluation": f"{number:032x}",
            "needs": '["labs","medication"]', "concerns": '["warfarin"]', "sources": '{"Observation/1":"ab"}',
            "seen_count": 4, "first_seen": NOW - age - DAY, "last_seen": NOW - age, "changed": NOW - age,
            "assignee": "user/ann" if chance.random() < 0.3 else "",
        }  # fmt: skip


def fill(database, count):
    """Alerts, and a year of daily counts of every rule in two modes."""
    chance, waiting = random.Random(5), []
    with database.writing() as connection:
        for row in alerts(count):
            waiting.append(row)
            if len(waiting) == AT_ONCE:
                connection.execute(insert(models.alert), waiting)
                waiting = []
        if waiting:
            connection.execute(insert(models.alert), waiting)
        days = range(NOW // DAY - 365, NOW // DAY + 1)
        daily = [
            {"tenant": TENANT, "day": day, "rule": rule, "mode": mode, "fired": chance.randrange(99),
             "shown": chance.randrange(50), "accepted": chance.randrange(9), "overridden": chance.randrange(30)}
            for day in days for rule in RULES for mode in ("live", "shadow")
        ]  # fmt: skip
        daily += [{**daily[0], "day": day, "rule": "", "evaluations": 5000} for day in days]
        for row in daily:
            row.setdefault("evaluations", 0)
        connection.execute(insert(models.rule_daily), daily)
    with database.readers.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def reading(database):
    def pages(number, **how):
        def job():
            after = ""
            with database.reading() as connection:
                for _ in range(number):
                    after = worklist.page(
                        connection, worklist.Filter(tenant=TENANT, after=after, **how), NOW
                    ).after

        return job

    def opened():
        with database.reading() as connection:
            worklist.count_open(connection, TENANT, NOW)

    today = NOW // DAY
    return {
        "worklist_first_page": times(pages(1)),
        "worklist_ten_pages": times(pages(10), 20),
        "worklist_of_one_rule": times(pages(1, rule=RULES[7])),
        "worklist_mine": times(pages(1, assignee="user/ann")),
        "worklist_closed": times(pages(1, view="closed")),
        "count_of_open": times(opened, 20),
        "analytics_90_days": times(
            lambda: figures(database, TENANT, since_day=today - 89, until_day=today), 20
        ),
        "analytics_365_days": times(
            lambda: figures(database, TENANT, since_day=today - 364, until_day=today), 20
        ),
    }


def writing(url, folder, calls):
    """What one call pays before its answer, and how fast the spool becomes the store."""
    from tests.service.alerts.stories import call, cards_for, recommendation, reviewed

    keyring = new_keyring()
    options = RecordOptions(database_url=url, spool=str(folder / "spool"), keyring="")
    found = reviewed(recommendation(), recommendation(rule="vka-inr-high", about=""))
    made = [call(number, patient=f"p{number % 500}") for number in range(calls)]
    cards = [cards_for(keyring, one, found) for one in made]
    measured = {}
    for name, keys in (("plain", new_keyring(encrypt=False)), ("encrypted", keyring)):
        recorder = SpoolRecorder(folder / name, keys)
        started = time.thread_time()
        for one, its in zip(made, cards, strict=True):
            recorder.record(one, found, its)
        measured[f"spool_cpu_us_{name}"] = round((time.thread_time() - started) / calls * 1e6, 1)
        recorder.close()
    recorder = SpoolRecorder(Path(options.spool), keyring)
    for one, its in zip(made, cards, strict=True):
        recorder.record(one, found, its)
    recorder.close()
    database = Database(url)
    drainer = Drainer(database, keyring, options)
    started = time.perf_counter()
    drainer.drain()
    measured["drained_per_second"] = round(calls / (time.perf_counter() - started))
    drainer.stop()
    past = PastAnswers(url, limit=1)
    now = made[-1].received
    patient = keyring.patient_key(TENANT, "p7")
    past.of(TENANT, patient, now)
    measured["history"] = times(lambda: past.of(TENANT, patient, now), 500)
    past.close()
    database.close()
    return measured


def measure(*, quick=False):
    """Both databases, for the page of figures."""
    count, calls = (5_000, 200) if quick else (1_000_000, 2_000)
    return {
        f"{count:,} alerts, {title}": {
            part.replace("_", " "): told for part, told in measured(name, count, calls).items()
        }
        for name, title in DATABASES.items()
    }


def measured(name, count, calls, given=""):
    """One database, empty at first."""
    with (
        tempfile.TemporaryDirectory(prefix="dekacard-bench-") as folder,
        place(name, folder, given) as url,
    ):
        return fill_and_ask(url, Path(folder), count, calls)


def fill_and_ask(url, folder, count, calls):
    database = Database(url)
    schema.upgrade(database)
    started = time.perf_counter()
    fill(database, count)
    keyring = open_keyring(folder / "keys.json", create=True)
    schema.require_keyring(database, keyring)
    opened = furnish(database, keyring, TENANT, NOW)
    filled = time.perf_counter() - started
    result = {"alerts": count, "open": opened, "filled_in_s": round(filled, 1), **reading(database)}
    result |= pages(url, folder, TENANT, NOW, times)
    database.close()
    return {**result, **writing(url, folder, calls)}


@contextlib.contextmanager
def place(name, folder, given):
    if name == "sqlite":
        yield f"sqlite:///{folder}/record.db"
    elif given:
        yield given
    else:
        from tests.service.alerts.postgres import running_server

        with running_server() as sockets:
            yield f"postgresql://postgres@/postgres?host={sockets}"


def main():
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--alerts", type=int, default=20_000)
    asked.add_argument("--calls", type=int, default=2_000)
    asked.add_argument("--database", action="append", choices=list(DATABASES))
    asked.add_argument("--url", default="", help="An empty PostgreSQL database.")
    chosen = asked.parse_args()
    result = {}
    for name in chosen.database or DATABASES:
        result[name] = measured(name, chosen.alerts, chosen.calls, chosen.url)
        print(name, json.dumps(result[name]), file=sys.stderr)  # what is done is not lost
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
