"""The silences of all clients as this worker knows them; never asks the store on the card path.

A silence keeps a recommendation from being shown again and again; it never hides it from the record. Whatever is not
known for sure is shown: without store and memory there are no silences, and each ends at its own time.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from service.alerts.past_answers import instant, micros

if TYPE_CHECKING:
    from rules.assessment import Recommendation
    from service.alerts.database import Database

_RENEW_SECONDS = 5.0
# A worker without calls does not renew: what it knew may have been lifted since
_STALE_SECONDS = 60.0
Subject = tuple[str, str]


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """A silence in force; ``rule`` or ``patient`` (the record's key) may be "" for every one, never both.

    ``unit`` and ``group`` confine it to patients who are surely there and surely belong to it.
    """

    id: int
    rule: str = ""
    patient: str = ""
    covers_critical: bool = False
    until: int = 0
    unit: str = ""
    group: str = ""

    def reaches(self, unit: str, groups: Collection[str]) -> bool:
        """Whether a patient on this unit, of these groups, is meant."""
        return self.unit in {"", unit} and (not self.group or self.group in groups)

    def holds_back(self, one: Recommendation) -> bool:
        """Whether this recommendation is not shown; critical ones only where two people wanted that."""
        if self.rule and self.rule != one.rule:
            return False
        return self.covers_critical or one.indicator != "critical"

    def words(self, zone: tzinfo) -> str:
        """The reason as the answer to a hook states it; days are those of the client."""
        return f"silenced until {instant(self.until).astimezone(zone).date().isoformat()}"


def held_back(
    silences: Iterable[Silence], recommendations: Iterable[Recommendation]
) -> dict[Subject, Silence]:
    """Rule and subject of each recommendation that is not shown, with the silence because of which."""
    silences = tuple(silences)
    found: dict[Subject, Silence] = {}
    for one in recommendations if silences else ():
        by = next((silence for silence in silences if silence.holds_back(one)), None)
        if by is not None:
            found[one.rule, one.about] = by
    return found


class SilenceBoard:
    """Keeps what was read last, in memory and in the file ``memory`` for a start without the store."""

    def __init__(
        self, database: Callable[[], Database] | None = None, memory: Path | None = None
    ) -> None:
        self._database = database
        self._memory = memory
        self._renewed = 0.0
        self._asked = time.monotonic()
        self._lock = threading.Lock()
        remembered = self._remembered()
        self._silences: dict[str, list[Silence]] = remembered or {}
        if remembered is None:
            self._try_to_renew()

    def of(self, tenant: str, patient_key: Callable[[], str], now: datetime) -> tuple[Silence, ...]:
        """Silences in force for a patient; the key is asked for only if the client has any silence.

        After a long pause nothing is held back until the store was asked again.
        """
        stale = time.monotonic() - self._asked > _STALE_SECONDS
        if self._database is not None and time.monotonic() - self._renewed > _RENEW_SECONDS:
            self._renew_in_background()
        held = self._silences.get(tenant)
        if not held or (stale and self._database is not None):
            return ()
        key, at = patient_key(), micros(now)
        return tuple(one for one in held if one.until > at and one.patient in {"", key})

    def renew(self) -> None:
        """Read the silences now; raises Unavailable when the store does not answer, and what was known stays."""
        if self._database is None:
            return
        from service.alerts.silences import all_in_force

        found = all_in_force(self._database())
        changed, self._silences, self._renewed = found != self._silences, found, time.monotonic()
        self._asked = self._renewed
        if self._memory is not None and (changed or not self._memory.exists()):
            part = self._memory.with_name(f".{self._memory.name}.{os.getpid()}")
            part.write_bytes(msgspec.json.encode(found))
            part.replace(self._memory)

    def _remembered(self) -> dict[str, list[Silence]] | None:
        if self._memory is None:
            return None
        try:
            return msgspec.json.decode(self._memory.read_bytes(), type=dict[str, list[Silence]])
        except (OSError, msgspec.MsgspecError):
            return None

    def _renew_in_background(self) -> None:
        with self._lock:
            if time.monotonic() - self._renewed <= _RENEW_SECONDS:
                return
            self._renewed = self._asked = time.monotonic()
        threading.Thread(target=self._try_to_renew, name="silence-board", daemon=True).start()

    def _try_to_renew(self) -> None:
        from rules.errors import Unavailable

        try:
            self.renew()
        except Unavailable:
            return  # what was known stays, and ends at its own time
