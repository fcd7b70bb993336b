"""What could not be evaluated, counted: open alerts by their code, and how reviews ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import func, select

from service.alerts import models

if TYPE_CHECKING:
    from service.alerts.database import Database

NOT_EVALUATED = "not-evaluated"


class Endings(msgspec.Struct, frozen=True, kw_only=True):
    """How reviews ended in a span of time; ``with_gaps`` are complete ones in which something was not readable."""

    complete: int = 0
    with_gaps: int = 0
    incomplete: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All reviews."""
        return self.complete + self.with_gaps + self.incomplete + self.failed


def open_by_code(database: Database, tenant: str) -> dict[str, int]:
    """Open alerts about what could not be evaluated, by what it is about (a gap code or a fault)."""
    table = models.alert
    query = (
        select(table.c.about, func.count())
        .where(
            table.c.tenant == tenant,
            table.c.is_open == 1,
            table.c.kind == NOT_EVALUATED,
            table.c.mode.in_(("live", "review")),
        )
        .group_by(table.c.about)
    )
    with database.reading() as connection:
        found = {str(about): int(count) for about, count in connection.execute(query)}
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def endings(database: Database, tenant: str, since: int) -> Endings:
    """How reviews ended since an instant (microseconds)."""
    table = models.evaluation
    gaps = (table.c.gaps > 0).label("has_gaps")
    query = (
        select(table.c.outcome, gaps, func.count())
        .where(table.c.tenant == tenant, table.c.received >= since)
        .group_by(table.c.outcome, gaps)
    )
    counted = {"complete": 0, "with_gaps": 0, "incomplete": 0, "failed": 0}
    with database.reading() as connection:
        for outcome, has_gaps, count in connection.execute(query):
            name = "with_gaps" if outcome == "complete" and has_gaps else str(outcome)
            counted[name] += int(count)
    return Endings(**counted)
