"""How often a rule fires week by week, with control limits: a change of pattern shows before anybody complains.

A u-chart (firings per review, reviews differ from week to week) with Laney's correction, so that ordinary scatter
beyond Poisson's is not called a signal (Laney 2002, Quality Engineering 14:531-7). Limits are never narrower than
Shewhart's three standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from service.alerts.database import Database

WEEK: Final = 7
_SHEWHART: Final = 3.0
_D2: Final = 1.128  # mean range of two values in standard deviations
_FEWEST_WEEKS: Final = 4  # with fewer there is no pattern to leave


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """One week of one rule; ``start`` is its first day (days since 1970 UTC), limits are firings per review."""

    start: int
    reviews: int
    fired: int
    low: float | None = None
    high: float | None = None

    @property
    def rate(self) -> float | None:
        """Firings per review; None without reviews."""
        return self.fired / self.reviews if self.reviews else None

    @property
    def is_outside(self) -> bool:
        """Whether the week lies beyond its limits."""
        if self.rate is None or self.low is None or self.high is None:
            return False
        return not self.low <= self.rate <= self.high


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """The weeks of a rule, oldest first, and their common mean; None where there is too little to compare."""

    weeks: tuple[Week, ...]
    mean: float | None = None

    @property
    def outside(self) -> tuple[Week, ...]:
        """Weeks beyond their limits."""
        return tuple(week for week in self.weeks if week.is_outside)


def with_limits(weeks: Sequence[Week]) -> Trend:
    """The same weeks with control limits around their mean."""
    counted = [week for week in weeks if week.reviews]
    reviews = sum(week.reviews for week in counted)
    mean = sum(week.fired for week in counted) / reviews if reviews else 0.0
    if len(counted) < _FEWEST_WEEKS or not mean:
        return Trend(weeks=tuple(weeks))
    wider = max(1.0, _scatter(counted, mean))
    return Trend(weeks=tuple(_limited(week, mean, wider) for week in weeks), mean=mean)


def _scatter(weeks: Sequence[Week], mean: float) -> float:
    """How much more the weeks differ than chance alone would make them: 1 means not at all."""
    marks = [(week.fired / week.reviews - mean) / math.sqrt(mean / week.reviews) for week in weeks]
    ranges = [abs(later - earlier) for earlier, later in pairwise(marks)]
    return sum(ranges) / len(ranges) / _D2


def _limited(week: Week, mean: float, wider: float) -> Week:
    if not week.reviews:
        return week
    half = _SHEWHART * wider * math.sqrt(mean / week.reviews)
    return msgspec.structs.replace(week, low=max(0.0, mean - half), high=mean + half)


def trends(
    database: Database, tenant: str, *, since_day: int, until_day: int, rules: Iterable[str]
) -> dict[str, Trend]:
    """The trend of each rule over whole weeks that end with ``until_day``; both days count, in UTC."""
    from sqlalchemy import func, select

    from service.alerts import models

    first = until_day + 1 - (until_day + 1 - since_day) // WEEK * WEEK
    table = models.rule_daily
    query = (
        select(table.c.rule, table.c.day, func.sum(table.c.evaluations), func.sum(table.c.fired))
        .where(table.c.tenant == tenant, table.c.day >= first, table.c.day <= until_day)
        .group_by(table.c.rule, table.c.day)
    )
    starts = range(first, until_day + 1, WEEK)
    reviews = dict.fromkeys(starts, 0)
    fired: dict[str, dict[int, int]] = {rule: dict.fromkeys(starts, 0) for rule in rules}
    with database.reading() as connection:
        for rule, day, evaluations, count in connection.execute(query):
            start = first + (day - first) // WEEK * WEEK
            if rule == "":
                reviews[start] += int(evaluations)
            elif rule in fired:
                fired[rule][start] += int(count)
    return {
        rule: with_limits(
            [Week(start=start, reviews=reviews[start], fired=held[start]) for start in starts]
        )
        for rule, held in fired.items()
    }
