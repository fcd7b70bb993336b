"""What a shift hands to the next one: what came up, what was done with it, what is left, and notes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Row, Select, func, select

from rules.errors import DekacardError
from service import audit
from service.alerts import models
from service.alerts.past_answers import instant, micros
from service.alerts.screen_tables import handover_note
from service.alerts.values import AuditEntry
from service.alerts.worklist import count_open
from service.evidence_vault import bound, seal_text, unseal_text

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from service.alerts.database import Database
    from service.alerts.keyring import Keyring

DONE = ("resolve", "override", "data-problem")
_SHOWN = ("live", "review")
_MOST = 200


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """A span of work in microseconds; the end is not included."""

    start: int
    end: int


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A note for the next shift."""

    at: int
    actor: str
    text: str


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """One shift: counts of alerts, rows of what the next one must know.

    ``actions`` counts alerts by what was done with them, ``closed`` those that people closed, each once.

    ``done`` are (event, alert) pairs; ``unclaimed``, ``due`` and ``left`` (the worklist's opening view) tell
    how it stands at ``now``.
    """

    opened: dict[str, int]
    actions: dict[str, int]
    closed: int
    done: list[Row[Any]]
    snoozed: list[Row[Any]]
    escalated: list[Row[Any]]
    unclaimed: list[Row[Any]]
    due: list[Row[Any]]
    left: dict[str, int]


def handover(database: Database, tenant: str, shift: Shift, now: int, until: int) -> Handover:
    """One shift as it looks at ``now``; ``due`` are snoozes that end before ``until`` (microseconds)."""
    with database.reading() as connection:
        due = _due(connection, tenant, now, until)
        return Handover(
            opened=_opened(connection, tenant, shift),
            actions=_actions(connection, tenant, shift),
            closed=_closed(connection, tenant, shift),
            done=_events(connection, tenant, shift, DONE),
            snoozed=_newest_each(_events(connection, tenant, shift, ("snooze",))),
            escalated=_events(connection, tenant, shift, ("escalated", "recurred")),
            unclaimed=_unclaimed(connection, tenant, {row.id for row in due}),
            due=due,
            left=dict(count_open(connection, tenant, now)),
        )


def add_note(
    database: Database, keyring: Keyring, *, tenant: str, shift: int, actor: str, at: datetime, text: str
) -> None:  # fmt: skip
    """Write a note for the next shift; it is sealed like every free text."""
    sealed_with, note = seal_text(keyring, text, bound("handover_note", tenant))

    def put(connection: Connection) -> None:
        connection.execute(
            handover_note.insert().values(
                tenant=tenant, shift=shift, at=micros(at), actor=actor, sealed_with=sealed_with, note=note
            )
        )  # fmt: skip
        entry = AuditEntry(
            tenant=tenant,
            at=at,
            actor=actor,
            action="note",
            object=f"handover/{instant(shift).isoformat(timespec='minutes')}",
        )
        audit.append(connection, keyring, entry)

    database.write(put)


def notes(database: Database, keyring: Keyring, tenant: str, shift: int) -> list[Note]:
    """Notes of a shift, oldest first."""
    query = (
        select(handover_note)
        .where(handover_note.c.tenant == tenant, handover_note.c.shift == shift)
        .order_by(handover_note.c.id)
    )
    with database.reading() as connection:
        rows = connection.execute(query).all()
    return [Note(at=row.at, actor=row.actor, text=_opened_note(keyring, row)) for row in rows]


def _opened_note(keyring: Keyring, row: Row[Any]) -> str:
    try:
        return unseal_text(keyring, row.sealed_with, row.note, bound("handover_note", row.tenant))
    except DekacardError as error:
        return f"({error})"


def _opened(connection: Connection, tenant: str, shift: Shift) -> dict[str, int]:
    table = models.alert
    rows = connection.execute(
        select(table.c.indicator, func.count())
        .where(
            table.c.tenant == tenant,
            table.c.first_seen >= shift.start,
            table.c.first_seen < shift.end,
            table.c.mode.in_(_SHOWN),
        )
        .group_by(table.c.indicator)
    )
    return {str(indicator): int(count) for indicator, count in rows}


def _actions(connection: Connection, tenant: str, shift: Shift) -> dict[str, int]:
    table = models.event
    counted = func.count(table.c.alert.distinct())
    query = _in_shift(select(table.c.action, counted), tenant, shift).group_by(table.c.action)
    return {str(action): int(count) for action, count in connection.execute(query)}


def _closed(connection: Connection, tenant: str, shift: Shift) -> int:
    table = models.event
    query = _in_shift(select(func.count(table.c.alert.distinct())), tenant, shift)
    return int(connection.scalar(query.where(table.c.action.in_(DONE))) or 0)


def _in_shift(query: Select[Any], tenant: str, shift: Shift) -> Select[Any]:
    """What was done within a shift with alerts that people see."""
    table, alert = models.event, models.alert
    return query.join(
        alert, (alert.c.tenant == table.c.tenant) & (alert.c.id == table.c.alert)
    ).where(
        table.c.tenant == tenant, table.c.at >= shift.start, table.c.at < shift.end, alert.c.mode.in_(_SHOWN),
    )  # fmt: skip


def _events(
    connection: Connection, tenant: str, shift: Shift, actions: Sequence[str]
) -> list[Row[Any]]:
    event, alert = models.event, models.alert
    query = (
        select(
            event.c.at, event.c.actor, event.c.action, event.c.reason, alert.c.id, alert.c.patient, alert.c.indicator,
            alert.c.summary, alert.c.title, alert.c.snoozed_until,
        )
        .join(alert, (alert.c.tenant == event.c.tenant) & (alert.c.id == event.c.alert))
        .where(
            event.c.tenant == tenant, event.c.at >= shift.start, event.c.at < shift.end, event.c.action.in_(actions),
            alert.c.mode.in_(_SHOWN),
        )
        .order_by(alert.c.severity.desc(), event.c.id.desc())
        .limit(_MOST)
    )  # fmt: skip
    found: Any = connection.execute(query).all()
    return list(found)


def _newest_each(rows: list[Row[Any]]) -> list[Row[Any]]:
    """The newest event of each alert; rows of one alert stand newest first."""
    first: dict[int, Row[Any]] = {}
    for row in rows:
        first.setdefault(row.id, row)
    return list(first.values())


def _unclaimed(connection: Connection, tenant: str, told: set[int]) -> list[Row[Any]]:
    """Critical alerts that nobody has; without those in ``told``, which stand among what comes back."""
    table = models.alert
    query = (
        select(table)
        .where(
            table.c.tenant == tenant,
            table.c.is_open == 1,
            table.c.severity == 2,  # noqa: PLR2004 - critical
            table.c.assignee == "",
            table.c.mode.in_(_SHOWN),
        )
        .order_by(table.c.first_seen)
        .limit(_MOST + len(told))
    )
    return [row for row in connection.execute(query) if row.id not in told][:_MOST]


def _due(connection: Connection, tenant: str, now: int, until: int) -> list[Row[Any]]:
    table = models.alert
    query = (
        select(table)
        .where(
            table.c.tenant == tenant,
            table.c.is_open == 1,
            table.c.snoozed_until > now,
            table.c.snoozed_until <= until,
            table.c.mode.in_(_SHOWN),
        )
        .order_by(table.c.snoozed_until)
        .limit(_MOST)
    )
    return list(connection.execute(query).all())
