"""The short way in: a call of a hook is answered before the framework looks through its routes; and its body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request
from fastapi.responses import Response

from rules.errors import RequestError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

AnswerCall = Callable[[str, Request], Awaitable[Response]]
_SERVICES: Final = "/cds-services/"
_CONTENT_TYPES: Final = frozenset(
    {"", "application/json", "application/fhir+json", "application/json+fhir"}
)
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii"})


class HookDoor:
    """Takes calls at the address of a service; all else goes the way of the routes, where the same call stands too.

    Routing, its stacks of clean-up and its layers for errors cost more than reading the body of a small call.
    """

    def __init__(
        self, app: ASGIApp, call: AnswerCall, on_error: Mapping[Any, Callable[..., Any]]
    ) -> None:
        self._app = app
        self._call = call
        self._on_error = on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call, or pass on what is none."""
        service_id = _service_called(scope)
        if not service_id:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            answer = await self._call(service_id, request)
        except Exception as error:
            on_error = self._answer_to(error)
            if on_error is None:
                raise
            answer = await on_error(request, error)
        await answer(scope, receive, send)

    def _answer_to(self, error: Exception) -> Callable[..., Any] | None:
        """How the application answers this kind of error, if it has an answer."""
        known = (self._on_error.get(kind) for kind in type(error).__mro__)
        return next((one for one in known if one is not None), None)


def _service_called(scope: Scope) -> str:
    """The name in the address of a call; empty for whatever else, and below another application."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope.get("root_path"):
        return ""
    head, found, name = scope["path"].partition(_SERVICES)
    return name if found and not head and "/" not in name else ""


async def body_of(request: Request, limit: int) -> bytes:
    """The body, refused by its type or as soon as it is known to be too large."""
    kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    if kind.strip() not in _CONTENT_TYPES:
        raise RequestError("Send application/json.", status=415, code="not-supported")
    name, _, charset = parameters.strip().partition("=")
    if name.strip() == "charset" and charset.strip(' "') not in _UTF8:
        raise RequestError("Send JSON in UTF-8.", status=415, code="not-supported")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise RequestError(f"The body is larger than {limit} bytes.", status=413, code="too-long")
    chunks: list[bytes] = []
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > limit:
            raise RequestError(
                f"The body is larger than {limit} bytes.", status=413, code="too-long"
            )
        chunks.append(chunk)
    return b"".join(chunks)
