"""For other programs: our hooks inside another FastAPI application, mounted as a whole or as routes of its own.

A review without any server needs nothing from here: ``service.review.review`` is a plain function.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from service.app import answer_own_errors
from service.cds_hooks.routes import add_hooks
from service.settings import SettingsRefused

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service.parts import Parts


@asynccontextmanager
async def running(parts: Parts) -> AsyncIterator[Parts]:
    """Warm ``parts`` up and give everything back at the end; for the lifespan of the host.

    A host never runs the lifespan of what is mounted in it, so that it has to do this itself.
    """
    parts.settle(own_process=False)
    try:
        yield parts
    finally:
        await parts.close()


def include_hooks(host: FastAPI, parts: Parts, *, prefix: str = "") -> None:
    """Add discovery, the services and feedback to ``host``, below ``prefix``; CORS stays the host's own affair.

    Raises:
        SettingsRefused: there are no client profiles. Only a mounted application guards development mode.
    """
    if parts.gatekeeper is None:
        raise SettingsRefused(
            "Hooks among the routes of another application need client profiles: set DEKACARD_CLIENTS, "
            "or mount create_app(...) for a trial on this machine."
        )
    add_hooks(host, parts, prefix=prefix)
    answer_own_errors(host)
