"""Whether this worker should get calls: what it cannot do without, and what it answers without while it lasts."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from rules.errors import DekacardError

if TYPE_CHECKING:
    from service.alerts.record import Record
    from service.parts import Parts

State = Literal["good", "degraded", "bad"]
FRESH_SECONDS: Final = 2.0
_STORE_SECONDS: Final = 1.0  # a store that takes longer to say anything counts as silent


class Readiness:
    """Looks at the parts of one worker; what it saw holds for two seconds, so that probes cost nothing."""

    def __init__(self, parts: Parts, record: Record | None) -> None:
        self._parts = parts
        self._record = record
        self._kept: dict[str, tuple[State, str]] = {}
        self._kept_at = float("-inf")
        self._asking: asyncio.Task[bool] | None = None
        self.draining = False

    async def look(self) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer: 503 only when a call could not be answered here.

        A store that is down makes the service *degraded*: cards are answered, the spool keeps the record.
        """
        if time.monotonic() - self._kept_at > FRESH_SECONDS:
            self._kept = {
                "engine": self._engine(),
                "profiles": self._profiles(),
                **({} if self._record is None else await self._of_the_record(self._record)),
            }
            self._kept_at = time.monotonic()
        parts = dict(self._kept)
        if self.draining:
            parts["worker"] = ("bad", "is about to end")
        states = {state for state, _ in parts.values()}
        worst = "bad" if "bad" in states else "degraded" if "degraded" in states else "good"
        told = {
            name: {"state": state} | ({"says": says} if says else {})
            for name, (state, says) in parts.items()
        }
        words = {"good": "ready", "degraded": "degraded", "bad": "not-ready"}
        return (503 if worst == "bad" else 200), {"state": words[worst], "parts": told}

    def _engine(self) -> tuple[State, str]:
        """The rules evaluate a patient without data: the sentinel of the engine fires, or it raises."""
        from service.parts import warm_up

        try:
            with self._parts.shelf.using() as engine:
                warm_up(engine, self._parts.settings.profile, self._parts.clock())
        except DekacardError as error:
            return "bad", f"does not evaluate ({type(error).__name__})"
        return "good", ""

    def _profiles(self) -> tuple[State, str]:
        registry = self._parts.registry
        if registry is not None and registry.problem:
            return (
                "degraded",
                "a changed client profile was refused; the last good ones are in force",
            )
        return "good", ""

    async def _of_the_record(self, record: Record) -> dict[str, tuple[State, str]]:
        spool: tuple[State, str] = ("good", "")
        if record.backlog:
            spool = ("degraded", "the disk refuses lines; they wait in memory")
        if record.counters["lost"]:
            spool = ("degraded", "lines were lost: disk and memory were full")
        store: tuple[State, str] = ("good", "")
        if not await self._store_answers(record):
            store = ("degraded", "does not answer; cards are answered, the spool keeps the record")
        return {"store": store, "spool": spool}

    async def _store_answers(self, record: Record) -> bool:
        """One look, in a thread; a look that hangs is waited for once, not once a probe."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(asyncio.to_thread(_answers, record))
        done, _ = await asyncio.wait({self._asking}, timeout=_STORE_SECONDS)
        return bool(done) and self._asking.result()


def _answers(record: Record) -> bool:
    from sqlalchemy import select

    from service.alerts import models

    try:
        with record.database.reading() as connection:
            connection.execute(select(models.spool_position.c.position).limit(1)).first()
    except Exception:  # noqa: BLE001 - whatever it is, the store cannot be used now
        return False
    return True
