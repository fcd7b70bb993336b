"""What happened to an alert and its like: sealed events, what changed since it was last decided, earlier decisions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import Row, func, select

from service import audit
from service.alerts import models
from service.alerts.past_answers import instant, micros
from service.alerts.watch import SYSTEM
from service.cds_hooks.detail import data_below
from service.dashboard.casebook import case_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rules.facts import Fact
    from service.alerts.store import Store

_PAST: Final = timedelta(days=365)
_MOST_REASONS: Final = 6


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What an alert rests on now and did not before, and the other way round, as sentences."""

    since: datetime
    gone: tuple[str, ...]
    came: tuple[str, ...]


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """How often people closed alerts of the same rule like this within a year."""

    state: str
    reason: str
    count: int


def sealed_events(store: Store, tenant: str, row: Row[Any]) -> list[dict[str, Any]]:
    """Events, oldest first, each with ``sealed``: whether the audit trail holds its line, unbroken."""
    events = store.events(tenant, row.id)
    objects = {f"alert/{row.id}", *(f"evaluation/{one['evaluation']}" for one in events)}
    with store.database.reading() as connection:
        lines = audit.sealed_lines(connection, store.keyring, tenant, objects)
    people = {(line.object, line.at, line.actor, line.action) for line in lines}
    reviews = {line.object for line in lines}
    for one in events:
        ours = (f"alert/{row.id}", one["at"], one["actor"], one["action"]) in people
        one["sealed"] = ours or f"evaluation/{one['evaluation']}" in reviews
    return events


def change_since(
    store: Store, tenant: str, row: Row[Any], say: Callable[[Fact], str]
) -> Change | None:
    """How the evidence differs from that of the last sighting with other evidence; None without one."""
    alert, occurrence = models.alert, models.occurrence
    with store.database.reading() as connection:
        before = connection.execute(
            select(occurrence.c.evaluation, occurrence.c.at)
            .join(alert, (alert.c.tenant == occurrence.c.tenant) & (alert.c.id == occurrence.c.alert))
            .where(
                alert.c.tenant == tenant, alert.c.key == row.key,
                occurrence.c.evidence_hash != row.evidence_hash, occurrence.c.evaluation != row.evaluation,
                occurrence.c.at <= row.last_seen,
            )
            .order_by(occurrence.c.id.desc())
            .limit(1)
        ).one_or_none()  # fmt: skip
    if before is None:
        return None
    then, now = (
        _rested_on(store, tenant, evaluation, row, say)
        for evaluation in (before.evaluation, row.evaluation)
    )
    if then is None or now is None:
        return None
    return Change(
        since=instant(before.at),
        gone=tuple(one for one in then if one not in now),
        came=tuple(one for one in now if one not in then),
    )


def past_decisions(store: Store, tenant: str, rule: str, now: datetime) -> list[Past]:
    """What people decided about alerts of this rule within a year, the most frequent first."""
    table = models.alert
    count = func.count()
    with store.database.reading() as connection:
        rows: Sequence[Row[Any]] = connection.execute(
            select(table.c.state, table.c.close_reason, count.label("count"))
            .where(
                table.c.tenant == tenant, table.c.rule == rule, table.c.is_open == 0, table.c.changed >= micros(now - _PAST),
                table.c.closed_by.not_in(("", SYSTEM)),
            )
            .group_by(table.c.state, table.c.close_reason)
            .order_by(count.desc(), table.c.state, table.c.close_reason)
            .limit(_MOST_REASONS)
        ).all()  # fmt: skip
    return [
        Past(state=row.state, reason=row.close_reason, count=row._mapping["count"]) for row in rows
    ]


def _rested_on(
    store: Store, tenant: str, evaluation: str, row: Row[Any], say: Callable[[Fact], str]
) -> list[str] | None:
    case = case_of(store, tenant, evaluation)
    told = case.recommendation(row.rule, row.about) if case else None
    if told is None:
        return None
    return list(dict.fromkeys(say(fact) for fact in data_below(told.because)))
