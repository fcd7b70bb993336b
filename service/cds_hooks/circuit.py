"""Spares callers the wait for a FHIR server that does not answer: after some silence it is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SILENT: Final = frozenset(
    {"deadline", "unreachable"}
)  # what a server that is down looks like from here
MOST_IN_A_ROW: Final = 5
REST_SECONDS: Final = 10.0


class Circuits:
    """Whether the server of each client is asked at present, in one worker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._silent: dict[str, int] = {}
        self._rests_until: dict[str, float] = {}

    def may_ask(self, client: str) -> bool:
        """False while the server rests; after that one call tries it, and the others wait for what comes of it."""
        until = self._rests_until.get(client)
        if until is None:
            return True
        if self._clock() < until:
            return False
        self._rests_until[client] = self._clock() + REST_SECONDS
        return True

    def answered(self, client: str) -> None:
        """The server said something: it is asked again by everybody."""
        self._silent.pop(client, None)
        self._rests_until.pop(client, None)

    def was_silent(self, client: str) -> bool:
        """Nothing came back; True when the server is left alone from now on."""
        count = self._silent[client] = self._silent.get(client, 0) + 1
        if count < MOST_IN_A_ROW:
            return False
        self._rests_until[client] = self._clock() + REST_SECONDS
        return count == MOST_IN_A_ROW
