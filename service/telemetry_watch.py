"""Watches every request: times it, logs one line, refuses hook calls when too many wait, ends streams at a shutdown."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import time
from typing import TYPE_CHECKING, Final

from service.cds_hooks.discovery import SERVICES
from service.cds_hooks.outcomes import refusal
from service.telemetry import CallNote, Telemetry, current

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("dekacard.calls")
_HOOKS: Final = "/cds-services/"
_PROBES: Final = frozenset(
    {"/livez", "/readyz", "/metrics"}
)  # asked every few seconds, by machines
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OUTCOMES: Final = {401: "not-trusted", 403: "not-trusted", 412: "no-medications", 429: "limited", 503: "unavailable"}  # fmt: skip


class CallWatch:
    """The layer around everything that answers."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry, most_open: int) -> None:
        self._app = app
        self._telemetry = telemetry
        self._most_open = most_open
        self._numbers = itertools.count(1)
        self._worker = f"{os.getpid():x}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and tell what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        telemetry, path = self._telemetry, scope["path"]
        is_hook = scope["method"] == "POST" and _HOOKS in path
        is_feedback = is_hook and path.rstrip("/").endswith("/feedback")
        begun = time.perf_counter()
        note = CallNote()
        status = 500

        async def noticed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        token = current.set(note)
        telemetry.open_calls += 1
        try:
            # Feedback is short, and a client sends it only once
            if (
                is_hook
                and not is_feedback
                and telemetry.calls_waiting() - telemetry.streams > self._most_open
            ):
                telemetry.count("calls_shed")
                note.reason = "too-many-open"
                _log.warning("503 to a call of %s: too many wait", _hook_of(path))
                await _too_many(scope, receive, noticed)
            elif _is_stream(scope):
                await self._stream(scope, receive, noticed)
            else:
                await self._app(scope, receive, noticed)
        finally:
            telemetry.open_calls -= 1
            current.reset(token)
            self._tell(scope, note, status, time.perf_counter() - begun, is_hook=is_hook)

    def _tell(
        self, scope: Scope, note: CallNote, status: int, seconds: float, *, is_hook: bool
    ) -> None:
        call = f"{self._worker}-{next(self._numbers)}"
        milliseconds = round(seconds * 1000, 3)
        if is_hook:
            hook = _hook_of(scope["path"])
            outcome = _outcome(status, note)
            self._telemetry.time("cds_request_seconds", seconds, hook, outcome)
            self._telemetry.tell(
                "call", call=call, hook=hook, client=note.client, status=status, outcome=outcome,
                ms=milliseconds, **note.line, **({"reason": note.reason} if note.reason else {}),
            )  # fmt: skip
            return
        route, method = _route_of(scope), scope["method"]
        method = method if method in _METHODS else "other"
        self._telemetry.time("http_request_seconds", seconds, route, method, str(status))
        if route not in _PROBES:
            self._telemetry.tell("request", call=call, route=route, method=method, status=status, ms=milliseconds)  # fmt: skip

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A stream of news ends with the service: it would hold the shutdown up, and then be cut."""
        begun = ended = False

        async def noticed(message: Message) -> None:
            nonlocal begun, ended
            begun = begun or message["type"] == "http.response.start"
            ended = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        self._telemetry.streams += 1
        serving = asyncio.ensure_future(self._app(scope, receive, noticed))
        stopping = asyncio.ensure_future(self._telemetry.ending().wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving
                return
            serving.cancel()
            await asyncio.wait({serving})
            if begun and not ended:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._telemetry.streams -= 1
            serving.cancel()
            stopping.cancel()


def _is_stream(scope: Scope) -> bool:
    return scope["method"] == "GET" and any(
        name == b"accept" and b"text/event-stream" in value for name, value in scope["headers"]
    )


async def _too_many(scope: Scope, receive: Receive, send: Send) -> None:
    answer = refusal(
        503,
        "Too many calls wait here; this one was not evaluated.",
        code="transient",
        headers={"Retry-After": "1"},
    )
    await answer(scope, receive, send)


def _hook_of(path: str) -> str:
    name, _, rest = path.partition(_HOOKS)[2].partition("/")
    service = SERVICES.get(name)
    if service is None:
        return "unknown"
    return "feedback" if rest.startswith("feedback") else service.hook


def _outcome(status: int, note: CallNote) -> str:
    if status < 300:  # noqa: PLR2004 - the class of HTTP status
        return "incomplete" if note.incomplete else "answered"
    return _OUTCOMES.get(status, "refused" if status < 500 else "failed")  # noqa: PLR2004


def _route_of(scope: Scope) -> str:
    """The route as it was declared: never the address itself, which holds ids."""
    declared = getattr(scope.get("route"), "path", None)
    return declared if isinstance(declared, str) else "none"
