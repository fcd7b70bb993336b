"""What the store does by itself: drafts that never became active close, old data go, the outbox is emptied."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, Exists, select

import service.alerts.screen_tables  # noqa: F401 - its tables join the metadata
from service import audit
from service.alerts import models
from service.alerts.database import Database
from service.alerts.keyring import Keyring
from service.alerts.past_answers import micros
from service.alerts.values import AuditEntry, Retention
from service.alerts.watch import SYSTEM

_AT_ONCE = 500


def close_stale_drafts(database: Database, now: datetime, days: int) -> int:
    """Close alerts about orders that were signed here but never seen active within ``days``; returns how many."""
    return database.write(
        partial(_close_stale_drafts, now=micros(now), before=micros(now - timedelta(days=days)))
    )


def remove_expired(
    database: Database, keyring: Keyring, now: datetime, keep: Retention
) -> dict[str, int]:
    """Remove what is older than it may be kept, in small steps; returns how many rows went, by table.

    Open alerts are never removed, nor is anything that belongs to them.
    """
    gone: dict[str, int] = {}
    ages = (
        ("evidence", "stored", keep.evidence), ("issued_card", "issued", keep.cards), ("answer", "at", keep.answers),
        ("spool_reject", "at", keep.rejects), ("feedback", "received", keep.alerts),
        ("evaluation", "received", keep.alerts), ("run", "started", keep.alerts),
        ("batch_job", "asked", keep.alerts), ("handover_note", "at", keep.alerts), ("silence", "until", keep.alerts),
    )  # fmt: skip
    for table, column, age in ages:
        gone[table] = database.write(
            partial(_remove, table=table, column=column, before=micros(now - age))
        )
    gone["alert"] = _remove_alerts(database, micros(now - keep.alerts))
    gone["audit"] = database.write(
        partial(_trim_audit, keyring=keyring, before=micros(now - keep.audit), now=now)
    )
    return gone


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


def _permit(connection: Connection, table: str, before: int | None) -> None:
    """Let this transaction remove rows of an append-only table older than ``before``; None takes it back."""
    permits = models.retention_permit
    connection.execute(permits.delete().where(permits.c.name == table))
    if before is not None:
        connection.execute(permits.insert().values(name=table, before=before))


def _remove(connection: Connection, table: str, column: str, before: int) -> int:
    here = models.metadata.tables[table]
    kept_apart = table in models.APPEND_ONLY
    if kept_apart:
        _permit(connection, table, before)
    gone = connection.execute(here.delete().where(here.c[column] < before)).rowcount
    if kept_apart:
        _permit(connection, table, None)
    return gone


def _remove_alerts(database: Database, before: int) -> int:
    total = 0
    while gone := database.write(partial(_remove_some_alerts, before=before)):
        total += gone
    return total


def _remove_some_alerts(connection: Connection, before: int) -> int:
    table = models.alert
    rows = connection.execute(
        select(table.c.tenant, table.c.id)
        .where(table.c.is_open == 0, table.c.last_seen < before, table.c.changed < before)
        .where(~_has_event_since(before))
        .limit(_AT_ONCE)
    ).all()
    _permit(connection, "event", before)
    for tenant, number in rows:
        for parts in (models.event, models.occurrence, models.outbox):
            connection.execute(
                parts.delete().where(parts.c.tenant == tenant, parts.c.alert == number)
            )
        connection.execute(table.delete().where(table.c.tenant == tenant, table.c.id == number))
    _permit(connection, "event", None)
    return len(rows)


def _has_event_since(before: int) -> Exists:
    event, alert = models.event, models.alert
    return (
        select(event.c.id)
        .where(event.c.tenant == alert.c.tenant, event.c.alert == alert.c.id, event.c.at >= before)
        .exists()
    )


def _trim_audit(connection: Connection, keyring: Keyring, before: int, now: datetime) -> int:
    heads = connection.scalars(select(models.audit_head.c.tenant)).all()
    _permit(connection, "audit", before)
    total = 0
    for tenant in heads:
        gone = audit.trim(connection, keyring, tenant, before)
        if gone:
            entry = AuditEntry(
                tenant=tenant,
                at=now,
                actor=SYSTEM,
                action="retention",
                after=f"{gone} lines removed",
            )
            audit.append(connection, keyring, entry)
        total += gone
    _permit(connection, "audit", None)
    return total
