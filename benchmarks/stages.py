"""Where the time of a hook call goes: what each step takes inside a whole call, against orjson on the same body.

Steps are timed where they stand, in calls made in process through ASGI, so that each finds the caches as the step
before left them; a step in a loop of its own looks a fifth quicker. The least of many calls is taken, which other
work on the machine disturbs least. Inner steps are part of the outer ones.

    python -m benchmarks.stages [--quick]
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson

import rules.engine
import service.cds_hooks.cards
import service.cds_hooks.routes
import service.review
from benchmarks import bodies
from benchmarks.hook import call, echo_app, own_app

# Name of the step, what holds the function, its name there
_STEPS = (
    ("strict JSON", service.cds_hooks.routes, "read_json"),
    ("prefetch", service.cds_hooks.routes, "supply_of"),
    ("review", service.cds_hooks.routes, "review"),
    ("review: read", service.review, "read"),
    ("review: rules", rules.engine.Engine, "assess"),
    ("review: rules: derive", vars(rules.engine)["_Work"], "follow"),
    ("review: rules: match", rules.engine, "_match"),
    ("review: rules: conclude", rules.engine.Concluder, "recommend"),
    ("cards", service.cds_hooks.cards.CardWriter, "write"),
    ("answer", service.cds_hooks.routes, "_response"),
)


class _Watch:
    """The shortest time that each step ever took."""

    def __init__(self) -> None:
        self.least: dict[str, float] = {}

    def over(self, name: str, holder: Any, function: str) -> None:
        work = getattr(holder, function)

        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            done = work(*args, **kwargs)
            self.note(name, time.perf_counter() - begun)
            return done

        setattr(holder, function, timed)

    def note(self, name: str, taken: float) -> None:
        self.least[name] = min(taken, self.least.get(name, taken))


def _least(work: Callable[[], Any], count: int) -> float:
    watch = _Watch()
    for _ in range(count):
        begun = time.perf_counter()
        work()
        watch.note("", time.perf_counter() - begun)
    return watch.least[""]


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Steps as multiples of reading and writing the body with orjson, and in microseconds."""
    count = 300 if quick else 3_000
    watch = _Watch()
    for step in _STEPS:
        watch.over(*step)
    rows: dict[str, Any] = {"ratios": {}, "scale": {}}
    for engine in ("durable", "compiled"):
        own, echo = own_app(engine), echo_app()
        for size, body in (("small", bodies.small()), ("large", bodies.large())):
            watch.least.clear()
            asyncio.run(_calls(own, echo, body, count if size == "small" else count // 4, watch))
            plain = _least(lambda body=body: orjson.dumps(orjson.loads(body)), 200)  # type: ignore[misc]
            for name, taken in watch.least.items():
                rows["ratios"][f"{size}, {engine}: {name} / orjson"] = round(taken / plain, 2)
                rows["scale"][f"{size}, {engine}: {name}, us"] = round(taken * 1e6, 1)
    return rows


async def _calls(own: Any, echo: Any, body: bytes, count: int, watch: _Watch) -> None:
    for _ in range(count):
        for name, app in (("echo", echo), ("whole call", own)):
            begun = time.perf_counter()
            await call(app, body)
            watch.note(name, time.perf_counter() - begun)


if __name__ == "__main__":
    print(json.dumps(measure(quick="--quick" in sys.argv), indent=2))
