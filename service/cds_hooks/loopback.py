"""Development mode is for this machine only: nothing that came through a proxy or by another name gets in."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from service.cds_hooks.outcomes import refusal

_PROXY_HEADERS: Final = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"}
)


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Whether a host name or address, with or without a port, means this machine."""
    name = host.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class LoopbackOnly:
    """Refuses a request whose Host is not this machine (DNS rebinding) or that a proxy passed on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is local."""
        if scope["type"] in {"http", "websocket"}:
            host = ""
            for name, value in scope["headers"]:
                if name in _PROXY_HEADERS or name.startswith(b"x-forwarded-"):
                    await self._refuse(scope, receive, send)
                    return
                if name == b"host":
                    host = value.decode("latin-1")
            if not is_loopback(host):
                await self._refuse(scope, receive, send)
                return
        await self._app(scope, receive, send)

    @staticmethod
    async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
        answer = refusal(
            403,
            "Development mode answers on a loopback address only, and never behind a proxy.",
            code="forbidden",
        )
        await answer(scope, receive, send)
