"""Loads what a worker is made of before workers are made, so that one that takes the place of another has it already.

More than half of the start of a worker is the import of modules. They are imported once, by the process from which
workers are forked, and their memory is shared. Nothing is opened here: no database, no thread, no spool, no engine.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Final

from fhir_adapter.resources import load_models

if TYPE_CHECKING:
    from service.settings import Settings

_ALWAYS: Final = (
    "cryptography.hazmat.primitives.ciphers.aead",
    "service.app",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
_WITH_A_STORE: Final = (
    "service.alerts.clinicians",
    "service.alerts.drainer",
    "service.alerts.intake",
    "service.alerts.record",
    "service.dashboard.mount",
    "service.pack_archive",
    "service.rollout",
    "service.silence_board",
)
_WITH_CLIENTS: Final = (
    "anyio._backends._asyncio",
    "httpcore2",
    "service.cds_hooks.call_rate",
    "service.cds_hooks.fetching",
    "service.cds_hooks.replay",
    "service.cds_hooks.trust",
    "truststore",
)

_PROPOSED: Final = (  # what cards offer most, and what these are made of
    "CodeableConcept",
    "Coding",
    "Period",
    "Reference",
    "ServiceRequest",
    "Task",
)


def preload(settings: Settings) -> None:
    """Import what a worker with these settings would import while it starts."""
    names = [*_ALWAYS]
    if settings.store_url:
        names += _WITH_A_STORE
    if settings.clients is not None:
        names += _WITH_CLIENTS
    for name in names:
        with suppress(
            ModuleNotFoundError
        ):  # then it is the worker's business to say what is missing
            import_module(name)
    _load_the_rest_of_the_framework()
    load_models(*_PROPOSED)
    gc.collect()
    gc.freeze()  # a collector that looked at it in a worker would copy all of it


def _load_the_rest_of_the_framework() -> None:
    """Part of it is loaded with the first route that takes something."""
    from fastapi import FastAPI

    def answer(_of: str) -> None:
        """Never called."""

    FastAPI(openapi_url=None).add_api_route("/{_of}", answer)
