"""The web application: routes, errors as OperationOutcome, and what stands in front of them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from rules.errors import DekacardError, EngineError, NotTrusted, RequestError, Unavailable
from service.alerts.api import api_router
from service.alerts.record import Record
from service.bootstrap import assemble
from service.cds_hooks.door import HookDoor
from service.cds_hooks.loopback import LoopbackOnly
from service.cds_hooks.outcomes import TooOften, refusal
from service.cds_hooks.published import describe
from service.cds_hooks.routes import add_hooks
from service.parts import Parts
from service.reloading import Reloader
from service.telemetry_log import place_of
from service.telemetry_routes import Watching
from service.telemetry_watch import CallWatch

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import ASGIApp, Receive, Scope, Send

    from service.settings import Settings
    from service.telemetry import Telemetry

_log = logging.getLogger("dekacard.app")
_CODES = {404: "not-found", 405: "not-supported", 413: "too-long", 415: "not-supported"}


def create_app(
    settings: Settings, *, clock: Callable[[], datetime] | None = None, parts: Parts | None = None
) -> FastAPI:
    """The service for one worker.

    Args:
        settings: what to run with.
        clock: gives the moment of each review (aware); the system clock unless a test injects one.
        parts: everything assembled already; else it is assembled from the settings.

    Raises:
        DekacardError: the settings, the packs or the client profiles cannot be used.
    """
    built = parts or assemble(settings, clock=clock)
    reloader = Reloader(built)
    watching = Watching(built)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        built.settle()
        reloader.begin()
        async with watching.published():
            yield
        await reloader.end()
        await built.close()

    app = FastAPI(
        title="dekacard",
        version=built.software,
        description="Decision support for vitamin D, vitamin K and vitamin K antagonists, as CDS Hooks.",
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        lifespan=life,
    )
    app.state.parts = built
    app.state.reloader = reloader
    app.state.watching = watching
    app.state.engine = built.engine
    app.state.settings = settings
    app.state.recorder = built.recorder
    app.state.clients = built.registry
    app.state.clock = built.clock
    call = add_hooks(app, built)
    if isinstance(built.recorder, Record):
        app.include_router(
            api_router(
                built.recorder,
                clock=built.clock,
                rules=lambda: built.engine.rulebook.rules,
                mode_in_force=built.mode_of,
                second_person=lambda _: settings.second_person,
                reload=reloader.reload_everywhere,
            )
        )
        from service.dashboard.mount import mount_dashboard

        mount_dashboard(app, built, built.recorder)
    watching.add_routes(app)
    describe(app)
    answer_own_errors(app)
    _answer_other_errors(app)
    app.add_middleware(HookDoor, call=call, on_error=app.exception_handlers)
    app.add_middleware(FaultBarrier, telemetry=built.telemetry)
    if settings.dev:
        app.add_middleware(LoopbackOnly)
    app.add_middleware(CallWatch, telemetry=built.telemetry, most_open=settings.max_open_calls)
    app.add_middleware(
        _Cors,
        parts=built,
        allow_methods=["GET", "POST", "OPTIONS"],
        allow_headers=["authorization", "content-type", "accept"],
    )
    return app


class _Cors(CORSMiddleware):
    """CORS for the origins of the client profiles as they are now; any origin in development mode."""

    def __init__(
        self, app: ASGIApp, parts: Parts, allow_methods: list[str], allow_headers: list[str]
    ) -> None:
        super().__init__(app, allow_methods=allow_methods, allow_headers=allow_headers)
        self._parts = parts

    def is_allowed_origin(self, origin: str) -> bool:
        """Whether a browser at ``origin`` may call."""
        return self._parts.allows_origin(origin)

    def preflight_response(self, request_headers: Headers) -> Response:
        """A refused preflight is told as every other refusal, where the framework would send plain text."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:  # noqa: PLR2004 - the class of HTTP status
            return answer
        kept = {
            name: value for name, value in answer.headers.items() if not name.startswith("content-")
        }
        return refusal(
            answer.status_code,
            "A browser may not call so from there.",
            code="security",
            headers=kept,
        )


class FaultBarrier:
    """Turns what nobody expected into a 500 with CORS headers; the message stays in the log, without values."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and answer 500 if nothing was answered yet."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: dict[str, object]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)  # type: ignore[arg-type]
        except Exception as error:
            # The text of a foreign exception may hold patient data: the log gets type and place only
            self._telemetry.count("faults", "unexpected")
            _log.error("unexpected %s at %s", type(error).__name__, place_of(error))
            if begun:
                raise
            await refusal(
                500, "An unexpected error; the call was not evaluated.", code="exception"
            )(scope, receive, send)


def answer_own_errors(app: FastAPI) -> None:
    """Let ``app`` answer what our routes raise with an OperationOutcome that repeats nothing of the input."""

    async def on_refusal(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)  # noqa: S101 - registered for this type
        headers = {"Retry-After": str(error.retry_after)} if isinstance(error, TooOften) else None
        return refusal(
            error.status,
            str(error),
            code=error.code,
            diagnostics=error.diagnostics,
            headers=headers,
        )

    async def on_distrust(_: Request, error: Exception) -> Response:
        assert isinstance(error, NotTrusted)  # noqa: S101
        _log.warning("caller refused: %s", error.reason)
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None  # noqa: PLR2004
        return refusal(error.status, "Not allowed.", code="security", headers=headers)

    async def on_unavailable(_: Request, error: Exception) -> Response:
        assert isinstance(error, Unavailable)  # noqa: S101
        headers = {"Retry-After": str(error.retry_after)}
        return refusal(503, str(error), code="transient", headers=headers)

    async def on_engine_error(_: Request, error: Exception) -> Response:
        _log.error("engine error: %s", error)
        return refusal(
            503, "The rules could not be evaluated.", code="exception", headers={"Retry-After": "1"}
        )

    async def on_own_error(_: Request, error: Exception) -> Response:
        _log.error("refused to go on: %s", type(error).__name__)
        return refusal(500, "The call was not evaluated.", code="exception")

    app.add_exception_handler(RequestError, on_refusal)
    app.add_exception_handler(NotTrusted, on_distrust)
    app.add_exception_handler(Unavailable, on_unavailable)
    app.add_exception_handler(EngineError, on_engine_error)
    app.add_exception_handler(DekacardError, on_own_error)


def _answer_other_errors(app: FastAPI) -> None:
    async def on_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        words = {404: "There is nothing at this address.", 405: "This method is not offered here."}
        text = words.get(error.status_code, "The request was refused.")
        code = _CODES.get(error.status_code, "invalid")
        headers = dict(error.headers) if error.headers else None
        return refusal(error.status_code, text, code=code, headers=headers)

    async def on_invalid(_: Request, _error: Exception) -> Response:
        return refusal(422, "The request does not have the expected form.", code="structure")

    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
