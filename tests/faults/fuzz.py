"""Mutated requests against the real application: nothing may break it, hang it, or make it speak of somebody else.

    python -m tests.faults.fuzz --requests 1000000 --seed 1 --processes 2

Each request is made from the seed and its number alone, so that ``--from N --requests 1`` repeats what was found.
Between the mutated requests stands one that is always the same: its answer must not change by a byte.
"""

import argparse
import asyncio
import faulthandler
import json
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from service.app import create_app
from service.settings import Settings
from tests.faults.mutations import Mutator, text_of

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXAMPLES = Path(__file__).parents[2] / "examples"
HOOKS = ("patient-view", "order-select", "order-sign", "encounter-discharge", "medication-refill")
CONTROL_EVERY = 25
HANG_SECONDS = 60
STRANGER = "stranger-9"
DECOYS = [
    {
        "resourceType": "MedicationStatement", "id": f"{STRANGER}-k2", "status": "active",
        "subject": {"reference": f"Patient/{STRANGER}"}, "effectivePeriod": {"start": "2026-11-15"},
        "medicationCodeableConcept": {"text": "Strangerol vitamin K2 MK-7 200 mcg capsules"},
    },
    {
        "resourceType": "MedicationRequest", "id": f"{STRANGER}-w", "status": "active", "intent": "order",
        "subject": {"reference": f"Patient/{STRANGER}"}, "authoredOn": "2024-01-01",
        "medicationCodeableConcept": {"text": "Strangerol warfarin 5 mg tablets"},
    },
    {
        "resourceType": "Observation", "id": f"{STRANGER}-inr", "status": "final",
        "subject": {"reference": f"Patient/{STRANGER}"}, "effectiveDateTime": "2026-11-20T08:00:00Z",
        "code": {"coding": [{"system": "http://loinc.org", "code": "6301-6"}], "text": "Strangerol INR"},
        "valueQuantity": {"value": 9.5},
    },
]  # fmt: skip


class Fault(Exception):
    """What a mutated request brought to light."""


class Hung(Fault):
    """A call that took longer than anything may."""


def good_bodies():
    """The published requests, each for the hook it was written for."""
    read = [json.loads(path.read_text("utf-8")) for path in sorted(EXAMPLES.glob("*.json"))]
    return [body for body in read if body.get("hook")]


def request_of(seed, number, bodies):
    """The address, headers and body of one request, and whether decoys of another patient lie in it."""
    mutator = Mutator(f"{seed}:{number}")
    chance = mutator.chance
    body = chance.choice(bodies)
    hook = body["hook"] if chance.random() < 0.95 else chance.choice(HOOKS)
    path, decoyed = f"/cds-services/vitamin-dk-{hook}", False
    if chance.random() < 0.04:
        path += "/feedback"
        entry = {"card": "7c1e0c5e-0000-4000-8000-000000000009", "outcome": "accepted"}
        entry["outcomeTimestamp"] = "2026-11-22T10:00:00Z"
        raw = text_of(mutator.structure({"feedback": [entry]}))
    elif chance.random() < 0.2:
        raw = mutator.octets(text_of(body))
    else:
        changed = mutator.structure(body | {"hook": hook})
        decoyed = hide_decoys(changed, chance)
        raw = text_of(changed)
    headers = {"host": "127.0.0.1:8080", "content-type": "application/json"}
    if chance.random() < 0.03:
        headers["content-type"] = chance.choice(
            ("text/xml", "application/fhir+json", "application/json; charset=utf-16", "x" * 3000)
        )
    if chance.random() < 0.05:
        headers["authorization"] = chance.choice(
            ("Bearer x.y.z", "Basic eDp5", "Bearer " + "a" * 9000)
        )
    if chance.random() < 0.02:
        path = chance.choice(
            ("/cds-services/../etc/passwd", path + "%00", path + "/" * 50, "/" + "a" * 5000)
        )
    return path, headers, raw, decoyed


def hide_decoys(body, chance):
    """Put records of another patient among those of the call, as servers with a loose search do."""
    prefetch = body.get("prefetch")
    bundles = list(prefetch.values()) if isinstance(prefetch, dict) else []
    lists = [
        one["entry"]
        for one in bundles
        if isinstance(one, dict) and isinstance(one.get("entry"), list)
    ]
    if not lists:
        return False
    for decoy in DECOYS:
        entries = chance.choice(lists)
        entries.insert(chance.randint(0, len(entries)), {"resource": decoy})
    return True


class Caller:
    """Calls the application in this process, without a socket in between."""

    def __init__(self, engine, record=None):
        chosen = {}
        if record is not None:
            chosen = {
                "store_url": f"sqlite:///{record}/record.db", "spool_dir": record / "spool",
                "keyring": record / "keys.json",
            }  # fmt: skip
        self.app = create_app(Settings(dev=True, engine=engine, **chosen), clock=lambda: NOON)
        self.loop = asyncio.new_event_loop()
        self.life = self.app.router.lifespan_context(self.app)
        self.loop.run_until_complete(self.life.__aenter__())

    def close(self):
        self.loop.run_until_complete(self.life.__aexit__(None, None, None))
        self.loop.close()

    def post(self, path, headers, raw):
        """Status, headers and body of the answer."""
        return self.loop.run_until_complete(self._post(path, headers, raw))

    async def _post(self, path, headers, raw):
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
            "client": ("127.0.0.1", 4711), "server": ("127.0.0.1", 8080),
        }  # fmt: skip
        sent, asked = [], []

        async def receive():
            if asked:
                await asyncio.sleep(3600)
            asked.append(True)
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        body = b"".join(one.get("body", b"") for one in sent if one["type"] == "http.response.body")
        return sent[0]["status"], body


def check(path, raw, decoyed, status, answer):
    """Raise what is wrong with an answer."""
    if status >= 500:
        raise Fault(f"status {status}")
    if decoyed and (b"Strangerol" in answer or STRANGER.encode() in answer):
        raise Fault("the answer speaks of another patient")
    if status == 200 and not path.endswith("/feedback"):
        told = json.loads(answer)
        # the type before the id is a known slip of clients, and forgiven
        patient = json.loads(raw)["context"]["patientId"].removeprefix("Patient/")
        for reference in subjects(told["cards"]):
            if reference != f"Patient/{patient}":
                raise Fault("a suggestion is for another patient")


def check_control(answer, expected):
    """Nothing of earlier requests may be left over."""
    if answer != expected:
        raise Fault("the answer to the request that never changes has changed")


def subjects(value):
    """Every subject and beneficiary named anywhere within."""
    if isinstance(value, dict):
        for name, one in value.items():
            if name in ("subject", "for") and isinstance(one, dict) and "reference" in one:
                yield one["reference"]
            else:
                yield from subjects(one)
    elif isinstance(value, list):
        for one in value:
            yield from subjects(one)


def run(seed, first, count, *, engine="durable", record=False, say=lambda *_: None):
    """Send ``count`` requests; returns how often each status came, and each fault with its number."""
    logging.disable(
        logging.CRITICAL
    )  # a fault is told by its number; a million refusals are not news
    found = {"statuses": Counter(), "faults": [], "controls": 0}
    with tempfile.TemporaryDirectory(prefix="dekacard-fuzz-") as folder:
        caller = Caller(engine, Path(folder) if record else None)
        bodies = good_bodies()
        control = (
            f"/cds-services/vitamin-dk-{bodies[0]['hook']}",
            {"host": "127.0.0.1:8080", "content-type": "application/json"},
            text_of(bodies[0]),
        )
        expected = caller.post(*control)
        signal.signal(signal.SIGALRM, _hung)
        for number in range(first, first + count):
            path, headers, raw, decoyed = request_of(seed, number, bodies)
            signal.alarm(HANG_SECONDS)
            try:
                status, answer = caller.post(path, headers, raw)
                found["statuses"][status] += 1
                check(path, raw, decoyed, status, answer)
                if number % CONTROL_EVERY == 0:
                    found["controls"] += 1
                    check_control(caller.post(*control), expected)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
                found["faults"].append((number, f"{type(error).__name__}: {error}"[:200]))
            finally:
                signal.alarm(0)
            say(number)
        caller.close()
    return found


def _hung(_signal, _frame):
    raise Hung("no answer")


def _share(seed, first, count, chosen, place, reached):
    faulthandler.enable()

    def say(number):
        reached[place] = number + 1

    found = run(seed, first, count, engine=chosen.engine, record=chosen.record, say=say)
    print(json.dumps({"from": first, "requests": count, **found}), flush=True)
    os._exit(1 if found["faults"] else 0)


def main():
    """Run from the command line; ends with 1 when anything was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--engine", choices=("durable", "compiled"), default="durable")
    parser.add_argument("--record", action="store_true", help="Keep a record while at it.")
    parser.add_argument("--processes", type=int, default=1)
    chosen = parser.parse_args()
    context = multiprocessing.get_context("fork")
    reached = context.Array("q", [-1] * chosen.processes, lock=False)
    share = -(-chosen.requests // chosen.processes)
    begun, children = time.monotonic(), []
    for place in range(chosen.processes):
        first = chosen.first + place * share
        count = min(share, chosen.first + chosen.requests - first)
        child = context.Process(
            target=_share, args=(chosen.seed, first, count, chosen, place, reached)
        )
        child.start()
        children.append((child, first, count))
    bad = 0
    for place, (child, first, count) in enumerate(children):
        child.join()
        if child.exitcode:
            bad += 1
            if reached[place] < first + count:
                print(f"exit {child.exitcode} at request {max(reached[place], first)}", flush=True)
    told = {"requests": chosen.requests, "seed": chosen.seed, "engine": chosen.engine}
    print(json.dumps(told | {"seconds": round(time.monotonic() - begun), "bad_processes": bad}))
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
