"""Daily counts per rule and mode, gathered over a transaction and written once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from service.alerts import models
from service.alerts.past_answers import micros
from service.alerts.sightings import Sighting
from service.alerts.values import Call

_DAY = 86_400_000_000
ALL_RULES = ""  # the row that counts evaluations


class Tally:
    """Adds to ``rule_daily``; ``close`` writes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._counts: dict[tuple[str, int, str, str], Counter[str]] = {}

    def add(self, tenant: str, at: int, rule: str, mode: str, **counts: int) -> None:
        """Add counts to the day of ``at`` (microseconds, UTC)."""
        self._counts.setdefault((tenant, at // _DAY, rule, mode), Counter()).update(counts)

    def reviewed(self, call: Call, fired: Iterable[Sighting], answer: Mapping[str, Any]) -> None:
        """Count one evaluation, and each rule that fired in it, whatever its mode."""
        at = micros(call.received)
        self.add(call.tenant, at, ALL_RULES, call.mode, evaluations=1)
        for one in fired:
            self.add(call.tenant, at, one.rule, call.mode_of(one.rule), fired=1)
        for silent in answer["suppressed"]:
            self.add(call.tenant, at, silent["rule"], call.mode_of(silent["rule"]), fired=1)
        for failure in answer["failures"]:
            self.add(call.tenant, at, failure["rule"], call.mode_of(failure["rule"]), failed=1)

    def failed(self, call: Call) -> None:
        """Count a call that could not be evaluated."""
        self.add(call.tenant, micros(call.received), ALL_RULES, call.mode, evaluations=1, failed=1)

    def close(self) -> None:
        """Write what was gathered."""
        table = models.rule_daily
        for (tenant, day, rule, mode), counts in self._counts.items():
            where = (
                table.c.tenant == tenant,
                table.c.day == day,
                table.c.rule == rule,
                table.c.mode == mode,
            )
            raised = {name: table.c[name] + count for name, count in counts.items()}
            if self._connection.execute(table.update().where(*where).values(raised)).rowcount == 0:
                self._connection.execute(
                    table.insert().values(tenant=tenant, day=day, rule=rule, mode=mode, **counts)
                )
        self._counts.clear()
