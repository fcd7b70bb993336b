"""For machines that watch: liveness, readiness, metrics; and the task that publishes what a worker noted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool

from service.alerts.record import Record
from service.readiness import Readiness

if TYPE_CHECKING:
    from fastapi import FastAPI
    from prometheus_client.registry import Collector

    from service.parts import Parts
    from service.telemetry_metrics import Metrics

PUBLISH_SECONDS: Final = 1.0


class Watching:
    """The metrics of one worker, from its start to its end."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._record = parts.recorder if isinstance(parts.recorder, Record) else None
        self.readiness = Readiness(parts, self._record)
        self._metrics: Metrics | None = None
        self._site: Callable[[], list[Collector]] | None = None
        self._at_zero: tuple[object, ...] = ()  # the packs and clients whose counters are there

    def add_routes(self, app: FastAPI) -> None:
        """Offer ``/livez``, ``/readyz`` and ``/metrics``."""

        async def alive() -> PlainTextResponse:
            """Whether the worker's loop runs."""
            return PlainTextResponse("alive")

        async def ready() -> JSONResponse:
            """Whether calls can be answered here, part by part."""
            status, body = await self.readiness.look()
            return JSONResponse(body, status_code=status)

        async def metrics() -> Response:
            """Everything that is counted, in the text form of Prometheus."""
            from service.telemetry_metrics import CONTENT_TYPE

            await run_in_threadpool(self._open)
            self._pass_on()
            return Response(await run_in_threadpool(self._render), media_type=CONTENT_TYPE)

        for path, probe, form in (
            ("/livez", alive, PlainTextResponse),
            ("/readyz", ready, JSONResponse),
            ("/metrics", metrics, PlainTextResponse),
        ):
            app.add_api_route(
                path, probe, methods=["GET"], tags=["operations"], response_class=form
            )

    @asynccontextmanager
    async def published(self) -> AsyncIterator[None]:
        """Publish what is noted, once a second, until the worker ends."""
        task = asyncio.create_task(self._publish())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self._pass_on()

    def drain(self) -> None:
        """This worker is about to end: it asks for no more calls, and lets its streams end."""
        self.readiness.draining = True
        self._parts.telemetry.end_streams()

    async def _publish(self) -> None:
        # Loading the library takes longer than an answer may: not before the service listens, and not in its loop
        await asyncio.to_thread(self._open)
        while True:
            self._pass_on()
            await asyncio.sleep(PUBLISH_SECONDS)

    def _open(self) -> None:
        from service.telemetry_metrics import Metrics
        from service.telemetry_site import scrape_of

        if self._metrics is None:
            metrics = Metrics()
            metrics.set("worker_started_seconds", self._parts.clock().timestamp())
            self._site = scrape_of(self._parts, self._record)
            self._metrics = metrics

    def _begin_at_zero(self, metrics: Metrics) -> None:
        """Counters of faults exist before the first: one that appears with a 1 never seems to have grown.

        Rules and clients may come while the service runs: they are looked for each time anything is passed on.
        """
        registry, rulebook = self._parts.registry, self._parts.engine.rulebook
        if registry is not None:
            registry.refresh()
        profiles = [profile.id for profile in registry.profiles] if registry is not None else []
        if self._at_zero == (rulebook.digest, profiles):
            return
        self._at_zero = (rulebook.digest, profiles)
        for name, labels in (
            *(("rule_failed", rule) for rule in rulebook.cards),
            *(
                (name, profile)
                for name in ("calls_limited", "fhir_rests", "keys_not_renewed")
                for profile in profiles
            ),
            ("faults", "unexpected"),
            ("log_dropped", "key"),
            ("log_dropped", "value"),
            ("evaluation_incomplete", "deadline"),
            ("evaluation_incomplete", "rule-failed"),
        ):
            metrics.add(name, (labels,), 0)

    def _pass_on(self) -> None:
        """In the loop that serves, where nothing is noted meanwhile."""
        if self._metrics is None:
            return
        self._begin_at_zero(self._metrics)
        self._parts.telemetry.publish(self._metrics)
        if self._record is not None:
            self._metrics.set("spool_backlog_lines", self._record.backlog)
            self._metrics.set("spool_lost_lines", self._record.counters["lost"])

    def _render(self) -> bytes:
        if self._metrics is None or self._site is None:  # pragma: no cover - _open sets both
            return b""
        return self._metrics.render(self._site())
