"""Orders that were signed here and never became active: their alerts close by themselves."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, select

from service.alerts import models
from service.alerts.database import Database
from service.alerts.past_answers import micros
from service.alerts.watch import SYSTEM

_AT_ONCE = 500


def close_stale_drafts(database: Database, now: datetime, days: int) -> int:
    """Close alerts about orders that were signed here but never seen active within ``days``; returns how many."""
    return database.write(
        partial(_close_stale_drafts, now=micros(now), before=micros(now - timedelta(days=days)))
    )


def _close_stale_drafts(connection: Connection, now: int, before: int) -> int:
    table = models.alert
    rows = connection.execute(
        select(table)
        .where(table.c.from_draft == 1, table.c.is_open == 1, table.c.last_seen < before)
        .limit(_AT_ONCE)
    ).all()
    for row in rows:
        connection.execute(
            table.update()
            .where(table.c.tenant == row.tenant, table.c.id == row.id)
            .values(
                state="cleared",
                is_open=0, close_reason="draft-never-active", closed=now, closed_by=SYSTEM, changed=now,
                version=row.version + 1, snoozed_until=None,
            )
        )  # fmt: skip
        connection.execute(
            models.event.insert().values(
                tenant=row.tenant, alert=row.id, at=now, actor=SYSTEM, action="cleared", before=row.state,
                after="cleared", reason="draft-never-active", alert_version=row.version + 1,
            )
        )  # fmt: skip
    return len(rows)
