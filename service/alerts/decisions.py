"""What became of the alerts of one rule: how they ended, for which reasons, and how long they waited."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import Connection, func, select

from service.alerts import models

if TYPE_CHECKING:
    from service.alerts.database import Database

_MOST_WAITS: Final = 5_000  # the newest ones; a median needs no more
_BY_PEOPLE: Final = ("acknowledge", "claim", "resolve", "override", "data-problem", "snooze")
_CODED: Final = ("override", "data-problem", "resolve")


class Decisions(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts of a rule that were first seen in a span of time.

    ``states`` counts them by state, ``reasons`` coded reasons by (action, code), ``clinicians`` answers to cards
    by (outcome, code); ``median_wait`` is the time until somebody first acted, in microseconds, over ``waited``
    alerts.
    """

    states: dict[str, int]
    reasons: list[tuple[str, str, int]]
    clinicians: list[tuple[str, str, int]]
    median_wait: int | None
    waited: int


def decisions(database: Database, tenant: str, rule: str, since: int) -> Decisions:
    """What became of a rule's alerts since an instant (microseconds)."""
    with database.reading() as connection:
        waits = _waits(connection, tenant, rule, since)
        return Decisions(
            states=_states(connection, tenant, rule, since),
            reasons=_reasons(connection, tenant, rule, since),
            clinicians=_clinicians(connection, tenant, rule, since),
            median_wait=round(median(waits)) if waits else None,
            waited=len(waits),
        )


def _states(connection: Connection, tenant: str, rule: str, since: int) -> dict[str, int]:
    table = models.alert
    rows = connection.execute(
        select(table.c.state, func.count())
        .where(table.c.tenant == tenant, table.c.rule == rule, table.c.first_seen >= since)
        .group_by(table.c.state)
    )
    return {state: int(count) for state, count in rows}


def _reasons(
    connection: Connection, tenant: str, rule: str, since: int
) -> list[tuple[str, str, int]]:
    event, alert = models.event, models.alert
    rows = connection.execute(
        select(event.c.action, event.c.reason, func.count())
        .join(alert, (alert.c.tenant == event.c.tenant) & (alert.c.id == event.c.alert))
        .where(
            alert.c.tenant == tenant,
            alert.c.rule == rule,
            event.c.at >= since,
            event.c.action.in_(_CODED),
        )
        .group_by(event.c.action, event.c.reason)
    )
    counted = ((str(action), str(reason), int(count)) for action, reason, count in rows)
    return sorted(counted, key=lambda one: (-one[2], one[0], one[1]))


def _clinicians(
    connection: Connection, tenant: str, rule: str, since: int
) -> list[tuple[str, str, int]]:
    table = models.answer
    rows = connection.execute(
        select(table.c.outcome, table.c.reason, func.count())
        .where(
            table.c.tenant == tenant,
            table.c.rule == rule,
            table.c.at >= since,
            table.c.outcome.in_(("accepted", "overridden")),
        )
        .group_by(table.c.outcome, table.c.reason)
    )
    counted = ((str(outcome), str(reason), int(count)) for outcome, reason, count in rows)
    return sorted(counted, key=lambda one: (-one[2], one[0], one[1]))


def _waits(connection: Connection, tenant: str, rule: str, since: int) -> list[int]:
    event, alert = models.event, models.alert
    rows = connection.execute(
        select(alert.c.first_seen, func.min(event.c.at))
        .join(event, (alert.c.tenant == event.c.tenant) & (alert.c.id == event.c.alert))
        .where(
            alert.c.tenant == tenant,
            alert.c.rule == rule,
            alert.c.first_seen >= since,
            event.c.action.in_(_BY_PEOPLE),
        )
        .group_by(alert.c.id, alert.c.first_seen)
        .order_by(alert.c.id.desc())
        .limit(_MOST_WAITS)
    )
    return [max(0, int(acted) - int(seen)) for seen, acted in rows]
