"""One Bundle for each patient, 13 kB: strict reading, review and output lines, against orjson reading and writing it.

Two patients: one on warfarin who began vitamin K2, and the same chart without either. One process on one core,
processor seconds, in turns; two processes against one by the clock.

    python -m benchmarks.bundle [--quick]
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from benchmarks import bodies
from fhir_adapter.bundles import resources_in
from rules.engine import Engine
from rules.rulebook import load_rulebook
from service.batch.answers import Answers
from service.batch.values import ShardReport
from service.front_door import read_json
from service.review import Case, review

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
RESOURCES = 18
REACH = {"compiled": 0.37, "durable": 0.23, "2 processes / 1": 1.6}


def chart(*, concerned: bool) -> bytes:
    """A Bundle of one patient; without what concerns the rules about vitamin K unless ``concerned``."""
    prefetch = json.loads(bodies.of_size(RESOURCES))["prefetch"]
    entries = [entry for one in prefetch.values() for entry in one.get("entry", ())]
    if not concerned:
        entries = [e for e in entries if e["resource"]["id"] not in {"mr-1", "st-1"}]
    entries.append({"resource": prefetch["patient"]})
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()


def reviewer(name: str) -> Callable[[bytes], bytes | None]:
    """What turns a Bundle into its output line."""
    engine = Engine(load_rulebook(), name)  # type: ignore[arg-type]
    answers = Answers(engine.rulebook, NOON)

    def line(body: bytes) -> bytes | None:
        resources = resources_in(read_json(body))
        case = Case(resources=resources, patient_id="bench-1")
        done = review(case, NOON, engine)
        answer = answers.answer("bench-1", done, case.unread, ShardReport())
        return None if answer is None else orjson.dumps(answer)

    return line


def _yardstick(body: bytes) -> bytes:
    return orjson.dumps(orjson.loads(body))


def _seconds(work: Callable[[bytes], Any], body: bytes, count: int) -> float:
    begun = time.process_time()
    for _ in range(count):
        work(body)
    return (time.process_time() - begun) / count


def _clock(processes: int, body: bytes, count: int) -> float:
    """Seconds in which so many processes, each with an engine of its own, do ``count`` Bundles together."""
    fork = multiprocessing.get_context("fork")
    ready, go = fork.Barrier(processes + 1), fork.Barrier(processes + 1)

    def work() -> None:
        line = reviewer("compiled")
        line(body)
        gc.freeze()
        ready.wait()
        go.wait()
        for _ in range(count // processes):
            line(body)

    started = [fork.Process(target=work) for _ in range(processes)]
    for one in started:
        one.start()
    ready.wait()
    begun = time.perf_counter()
    go.wait()
    for one in started:
        one.join()
    return time.perf_counter() - begun


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Ratios of medians first: how fast a review is, where orjson reading and writing the Bundle is 1."""
    rounds, count = (7, 60) if quick else (25, 150)
    rows: dict[str, Any] = {"ratios": {}, "reach": REACH, "scale": {}}
    lines = {name: reviewer(name) for name in ("compiled", "durable")}
    gc.collect()
    gc.freeze()
    for title, concerned in (("with a card", True), ("without", False)):
        body = chart(concerned=concerned)
        works: dict[str, Callable[[bytes], Any]] = {"orjson": _yardstick, **lines}
        assert (lines["durable"](body) is not None) == concerned, "the charts are not what they say"
        assert lines["durable"](body) == lines["compiled"](body), "the engines disagree"
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(rounds):
            for name, work in works.items():
                times[name].append(_seconds(work, body, count))
        middle = {name: statistics.median(taken) for name, taken in times.items()}
        for name in lines:
            rows["ratios"][f"{title}, {name} / orjson"] = round(middle["orjson"] / middle[name], 3)
        rows["scale"] |= {f"{title}, {name}, us": round(s * 1e6, 1) for name, s in middle.items()}
        rows["scale"][f"{title}, bytes"] = len(body)
    body = chart(concerned=True)
    clocks = {n: statistics.median(_clock(n, body, count * 8) for _ in range(3)) for n in (1, 2)}
    rows["ratios"]["2 processes / 1"] = round(clocks[1] / clocks[2], 2)
    return rows


if __name__ == "__main__":
    print(json.dumps(measure(quick="--quick" in sys.argv), indent=2))
