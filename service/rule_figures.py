"""What each rule did: how often it fired, was shown, was answered and was acted on; from the daily roll-ups."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from service.alerts.database import Database

_Z = 1.96  # 95 % of a normal distribution lies within


class RuleFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule did over a span of days; rates are None where nothing was counted.

    ``yield_low`` and ``yield_high`` are the Wilson 95 % interval of acted-on among closed alerts.
    """

    rule: str
    mode: str
    evaluations: int
    fired: int
    shown: int
    accepted: int
    overridden: int
    opened: int
    acted_on: int
    dismissed: int
    failed: int
    per_thousand: float | None
    override_rate: float | None
    acted_rate: float | None
    yield_low: float | None
    yield_high: float | None
    silent: bool


_COUNTS = ("fired", "shown", "accepted", "overridden", "opened", "acted_on", "dismissed", "failed")


def figures(
    database: Database, tenant: str, *, since_day: int, until_day: int, rules: Iterable[str] = ()
) -> list[RuleFigures]:
    """Figures of each rule and mode; ``rules`` names those that should appear even if they never fired.

    Days are counted from 1970-01-01 UTC, both inclusive. ``silent`` marks a rule that never fired though
    patients were evaluated: the usual sign of a changed code list.
    """
    from sqlalchemy import func, select

    from service.alerts import models

    table = models.rule_daily
    query = (
        select(
            table.c.rule,
            table.c.mode,
            func.sum(table.c.evaluations),
            *(func.sum(table.c[name]) for name in _COUNTS),
        )
        .where(table.c.tenant == tenant, table.c.day >= since_day, table.c.day <= until_day)
        .group_by(table.c.rule, table.c.mode)
    )
    with database.reading() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    evaluations = sum(int(row[2]) for row in rows if row[0] == "")
    counted = {
        (row[0], row[1]): dict(zip(_COUNTS, map(int, row[3:]), strict=True))
        for row in rows
        if row[0]
    }
    for rule in set(rules) - {rule for rule, _ in counted}:
        counted[rule, ""] = dict.fromkeys(_COUNTS, 0)
    return [
        _figures(rule, mode, evaluations, counts)
        for (rule, mode), counts in sorted(counted.items())
    ]


def _figures(rule: str, mode: str, evaluations: int, counts: dict[str, int]) -> RuleFigures:
    answered = counts["accepted"] + counts["overridden"]
    closed = counts["acted_on"] + counts["dismissed"]
    low, high = wilson(counts["acted_on"], closed)
    return RuleFigures(
        rule=rule, mode=mode, evaluations=evaluations, **counts,
        per_thousand=_rate(1000 * counts["fired"], evaluations), override_rate=_rate(counts["overridden"], answered),
        acted_rate=_rate(counts["acted_on"], closed), yield_low=low, yield_high=high,
        silent=evaluations > 0 and counts["fired"] == 0,
    )  # fmt: skip


def wilson(successes: int, trials: int) -> tuple[float | None, float | None]:
    """The 95 % interval of a proportion (Wilson 1927), which holds for small numbers as well."""
    if trials == 0:
        return None, None
    share, square = successes / trials, _Z * _Z
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = (
        _Z
        * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
        / (1 + square / trials)
    )
    return round(max(0.0, middle - half), 6), round(min(1.0, middle + half), 6)


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
