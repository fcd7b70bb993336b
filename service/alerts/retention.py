"""What may no longer be kept goes, step by step; whatever an open alert rests on stays."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, Exists, delete, select, union

import service.alerts.screen_tables  # noqa: F401 - its tables join the metadata
from service import audit
from service.alerts import models
from service.alerts.database import Database
from service.alerts.keyring import Keyring
from service.alerts.past_answers import micros
from service.alerts.values import AuditEntry, Retention
from service.alerts.watch import SYSTEM
from service.evidence_vault import SEEN_AGAIN

_AT_ONCE = 500
Names = tuple[str, str]


def remove_expired(
    database: Database, keyring: Keyring, now: datetime, keep: Retention
) -> dict[str, int]:
    """Remove what is older than it may be kept, in small steps; returns how many rows went, by table.

    Open alerts are never removed, nor are the evaluations in which they were seen, with the evidence, the cards and the
    feedback of these.
    """
    gone: dict[str, int] = {}
    ages = (
        ("answer", "at", keep.answers), ("spool_reject", "at", keep.rejects), ("run", "started", keep.alerts),
        ("batch_job", "asked", keep.alerts), ("handover_note", "at", keep.alerts), ("silence", "until", keep.alerts),
    )  # fmt: skip
    for table, column, age in ages:
        gone[table] = database.write(
            partial(_remove, table=table, column=column, before=micros(now - age))
        )
    oldest = micros(now - min(keep.evidence, keep.cards, keep.alerts) + SEEN_AGAIN)
    held = _held_evaluations(database, oldest)
    evidence = _held_evidence(database, held)
    resting = (
        ("evidence", "stored", "digest", keep.evidence, evidence),
        ("issued_card", "issued", "evaluation", keep.cards, held),
        ("feedback", "received", "evaluation", keep.alerts, held),
        ("evaluation", "received", "id", keep.alerts, held),
    )
    for table, column, name, age, spared in resting:
        gone[table] = _remove_unless(database, table, column, name, micros(now - age), spared)
    gone["alert"] = _remove_alerts(database, micros(now - keep.alerts))
    gone["audit"] = database.write(
        partial(_trim_audit, keyring=keyring, before=micros(now - keep.audit), now=now)
    )
    return gone


def _held_evaluations(database: Database, before: int) -> set[Names]:
    """The evaluations from before that instant in which an alert that is still open was seen, or changed."""
    alert, found = models.alert, set()
    is_open = (alert.c.is_open == 1) & (alert.c.first_seen < before)
    seen = [select(alert.c.tenant, alert.c.evaluation).where(is_open)]
    for part in (models.occurrence, models.event):
        of_alert = (alert.c.tenant == part.c.tenant) & (alert.c.id == part.c.alert)
        old = is_open & (part.c.at < before)
        seen.append(select(part.c.tenant, part.c.evaluation).join(alert, of_alert).where(old))
    with database.reading() as connection:
        for tenant, number in connection.execute(union(*seen)):
            found.add((tenant, number))
    return found


def _held_evidence(database: Database, evaluations: Collection[Names]) -> set[Names]:
    """What these evaluations were made from."""
    table, found = models.evaluation, set()
    by_tenant: dict[str, list[str]] = {}
    for tenant, number in evaluations:
        by_tenant.setdefault(tenant, []).append(number)
    with database.reading() as connection:
        for tenant, numbers in by_tenant.items():
            for some in _groups(numbers):
                there = table.c.tenant == tenant, table.c.id.in_(some)
                digests = connection.scalars(select(table.c.evidence).where(*there))
                found |= {(tenant, digest) for digest in digests}
    return found


def _remove_unless(
    database: Database, name: str, column: str, kept_by: str, before: int, spared: Collection[Names]
) -> int:
    """Remove rows older than ``before`` whose tenant and ``kept_by`` are not among the ``spared``."""
    table = models.metadata.tables[name]
    key = list(table.primary_key.columns)
    old = select(table.c.tenant, table.c[kept_by], *key).where(table.c[column] < before)

    def step(connection: Connection, some: list[tuple[str, ...]]) -> int:
        if name in models.APPEND_ONLY:
            _permit(connection, name, before)
        gone = 0
        for values in some:
            here = [one == value for one, value in zip(key, values, strict=True)]
            # Asked again: evidence that was seen once more meanwhile is not old any longer
            gone += connection.execute(
                delete(table).where(*here, table.c[column] < before)
            ).rowcount
        if name in models.APPEND_ONLY:
            _permit(connection, name, None)
        return gone

    gone = 0
    with database.reading() as connection:
        found = connection.execution_options(yield_per=_AT_ONCE).execute(old)
        for rows in found.partitions():
            some = [tuple(row[2:]) for row in rows if (row[0], row[1]) not in spared]
            gone += database.write(partial(step, some=some))
    return gone


def _groups(rows: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(rows), _AT_ONCE):
        yield rows[first : first + _AT_ONCE]


def _permit(connection: Connection, table: str, before: int | None) -> None:
    """Let this transaction remove rows of an append-only table older than ``before``; None takes it back."""
    permits = models.retention_permit
    connection.execute(permits.delete().where(permits.c.name == table))
    if before is not None:
        connection.execute(permits.insert().values(name=table, before=before))


def _remove(connection: Connection, table: str, column: str, before: int) -> int:
    here = models.metadata.tables[table]
    return connection.execute(here.delete().where(here.c[column] < before)).rowcount


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
