"""Watches each rule over time: how often it fires against its own past, what people answer, what comes of it.

The figures come from the daily roll-ups of the store. What deserves an alarm stands in the alert rules that ship in
``deploy/prometheus``, so that a site can tune it without touching code.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily

from service.alerts.past_answers import micros
from service.rule_figures import RuleFigures, figures

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from service.alerts.database import Database

PAST_DAYS: Final = 60  # what a rule's usual rate is learned from
WINDOW_DAYS: Final = 28  # what answers and yield are counted over
# Roberts 1959: exponentially weighted moving average; 0.2 and 3 are the textbook's choice (NIST handbook 6.3.2.4)
WEIGHT: Final = 0.2
WIDTH: Final = 3.0
_DAY: Final = 86_400_000_000


class Day(NamedTuple):
    """What one rule did on one day."""

    evaluations: int
    fired: int


class Course(NamedTuple):
    """A rule's weighted rate per evaluation, and the limits between which it should lie."""

    rate: float
    low: float
    high: float


def course_of(days: list[Day]) -> Course | None:
    """Where a rule's firing rate stands against its own past; None before two days with evaluations.

    The usual rate is that of all days but the last. Each day's limits widen with fewer evaluations
    (binomial), so that a quiet Sunday raises no alarm.
    """
    counted = [day for day in days if day.evaluations > 0]
    if len(counted) < 2:  # noqa: PLR2004 - one day has no past
        return None
    past = counted[:-1]
    usual = sum(day.fired for day in past) / sum(day.evaluations for day in past)
    rate, variance = usual, 0.0
    for day in counted:
        rate = WEIGHT * day.fired / day.evaluations + (1 - WEIGHT) * rate
        binomial = usual * (1 - usual) / day.evaluations
        variance = WEIGHT**2 * binomial + (1 - WEIGHT) ** 2 * variance
    half = WIDTH * math.sqrt(max(variance, 0.0))
    return Course(rate, max(0.0, usual - half), usual + half)


def rule_monitors(database: Database, now: datetime) -> Iterator[Metric]:
    """Gauges for each client and rule; a rule that once fired in the past days is never left out."""
    today = micros(now) // _DAY
    rates, lows, highs = (
        _family(name, says)
        for name, says in (
            ("firing_rate", "Firings per evaluation, exponentially weighted over days."),
            ("firing_rate_low", "Below this a rule fires less than its own past says."),
            ("firing_rate_high", "Above this a rule fires more than its own past says."),
        )
    )
    seen, fired, answered, overridden, closed, gain = (
        _family(name, f"{says} in the last {WINDOW_DAYS} days.")
        for name, says in (
            ("evaluations_window", "Evaluations"),
            ("fired_window", "Firings"),
            ("answered_window", "Cards answered by clinicians"),
            ("override_ratio", "Share of the answered cards that were overridden,"),
            ("closed_window", "Alerts closed by pharmacists"),
            ("yield_ratio", "Share of the closed alerts that were acted on,"),
        )
    )
    for client, rules in _days(database, today).items():
        for rule, days in sorted(rules.items()):
            course = course_of(days)
            if course is not None:
                for family, value in zip((rates, lows, highs), course, strict=True):
                    family.add_metric([client, rule], value)
        since = today - WINDOW_DAYS + 1
        for one in _of_all_modes(
            figures(database, client, since_day=since, until_day=today, rules=rules)
        ):
            labels = [client, one.rule]
            seen.add_metric(labels, one.evaluations)
            fired.add_metric(labels, one.fired)
            answered.add_metric(labels, one.accepted + one.overridden)
            closed.add_metric(labels, one.acted_on + one.dismissed)
            if one.accepted + one.overridden:
                overridden.add_metric(labels, one.overridden / (one.accepted + one.overridden))
            if one.acted_on + one.dismissed:
                gain.add_metric(labels, one.acted_on / (one.acted_on + one.dismissed))
    yield from (rates, lows, highs, seen, fired, answered, overridden, closed, gain)


class _Sums(NamedTuple):
    rule: str
    evaluations: int
    fired: int
    accepted: int
    overridden: int
    acted_on: int
    dismissed: int


def _of_all_modes(found: list[RuleFigures]) -> Iterator[_Sums]:
    """One row a rule: a rule that went from shadow to live in the window has two."""
    by_rule: dict[str, list[RuleFigures]] = defaultdict(list)
    for one in found:
        by_rule[one.rule].append(one)
    for rule, rows in by_rule.items():
        yield _Sums(
            rule,
            rows[0].evaluations,
            *(
                sum(getattr(row, name) for row in rows)
                for name in ("fired", "accepted", "overridden", "acted_on", "dismissed")
            ),
        )


def _days(database: Database, today: int) -> dict[str, dict[str, list[Day]]]:
    """Per client and rule the days with evaluations, oldest first; a silent day counts as zero firings."""
    from sqlalchemy import func, select

    from service.alerts import models
    from service.alerts.tally import ALL_RULES

    table = models.rule_daily
    query = (
        select(
            table.c.tenant,
            table.c.day,
            table.c.rule,
            func.sum(table.c.evaluations),
            func.sum(table.c.fired),
        )
        .where(table.c.day > today - PAST_DAYS, table.c.day <= today)
        .group_by(table.c.tenant, table.c.day, table.c.rule)
    )
    evaluations: dict[str, dict[int, int]] = defaultdict(dict)
    firings: dict[str, dict[str, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
    with database.reading() as connection:
        for tenant, day, rule, evaluated, fired in connection.execute(query):
            if rule == ALL_RULES:
                evaluations[tenant][day] = int(evaluated)
            else:
                firings[tenant][rule][day] = int(fired)
    return {
        tenant: {
            rule: [
                Day(evaluations[tenant][day], by_day.get(day, 0))
                for day in sorted(evaluations[tenant])
            ]
            for rule, by_day in rules.items()
        }
        for tenant, rules in firings.items()
    }


def _family(name: str, says: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"dekacard_rule_{name}", says, labels=["client", "rule"])
