"""Bodies of the JSON interface: bounded before they are read, and as strict as those of the hooks.

The framework reads a body before it asks who sends it: without a bound a stranger could fill the memory of a worker.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from service.cds_hooks.door import body_of
from service.front_door import read_json

LARGEST: Final = 64 * 1024  # bytes: an action with its note is far smaller


class StrictRoute(APIRoute):
    """A route whose JSON was refused already if it is too large, or could be read in two ways."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """What answers a request."""
        answer = super().get_route_handler()
        if self.body_field is None:
            return answer

        async def strictly(request: Request) -> Response:
            body = await body_of(request, LARGEST)
            read_json(body)

            async def once_more() -> dict[str, Any]:
                return {"type": "http.request", "body": body, "more_body": False}

            return await answer(Request(request.scope, once_more))

        return strictly
