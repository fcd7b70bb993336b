"""The control chart of a rule as numbers for SVG: firings per 1,000 reviews, week by week, on a true-time axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from service.rule_trends import Trend, Week

WIDTH: Final = 760
HEIGHT: Final = 230
LEFT: Final = 46
RIGHT: Final = 748
TOP: Final = 16
BOTTOM: Final = 200
_PER: Final = 1_000
_STEPS: Final = 4
_DATES: Final = 8  # most labels under the axis
_EPOCH: Final = date(1970, 1, 1)
_SPARK_WIDTH: Final = 96
_SPARK_HEIGHT: Final = 22
_SPARK_EDGE: Final = 3


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One week on the chart; ``words`` say what the mark shows."""

    x: float
    y: float
    is_outside: bool
    words: str


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A label and its place on an axis."""

    at: float
    words: str


class WeekLine(msgspec.Struct, frozen=True, kw_only=True):
    """One week in the table under the chart, all rates per 1,000 reviews."""

    start: date
    reviews: int
    fired: int
    rate: str
    limits: str
    is_outside: bool


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the template draws; ``band`` is the outline between the limits, ``lines`` stretches without a hole."""

    points: tuple[Point, ...]
    lines: tuple[str, ...]
    band: str
    mean: float | None
    mean_words: str
    steps: tuple[Mark, ...]
    dates: tuple[Mark, ...]
    table: tuple[WeekLine, ...]


def chart_of(trend: Trend) -> Chart:
    """The chart of one rule."""
    weeks = trend.weeks
    top = _ceiling(weeks)
    across = (RIGHT - LEFT) / max(1, len(weeks))

    def x(place: int) -> float:
        return round(LEFT + (place + 0.5) * across, 1)

    def y(rate: float) -> float:
        return round(BOTTOM - rate * _PER / top * (BOTTOM - TOP), 1)

    points = [
        Point(x=x(place), y=y(week.rate), is_outside=week.is_outside, words=_words(week))
        for place, week in enumerate(weeks)
        if week.rate is not None
    ]
    every = max(1, math.ceil(len(weeks) / _DATES))
    return Chart(
        points=tuple(points),
        lines=tuple(_stretches(weeks, x, y)),
        band=_band(weeks, across, y),
        mean=y(trend.mean) if trend.mean is not None else None,
        mean_words=f"mean {trend.mean * _PER:.1f}" if trend.mean is not None else "",
        steps=tuple(
            Mark(at=y(top * step / _STEPS / _PER), words=f"{top * step / _STEPS:g}")
            for step in range(_STEPS + 1)
        ),
        dates=tuple(
            Mark(at=x(place), words=day_of(week.start).strftime("%d %b"))
            for place, week in enumerate(weeks)
            if place % every == 0
        ),
        table=tuple(_line(week) for week in reversed(weeks)),
    )


def spark_of(trend: Trend) -> str:
    """The ``points`` of a small polyline for a row; "" without two weeks of reviews."""
    rates = [(place, week.rate) for place, week in enumerate(trend.weeks) if week.rate is not None]
    if len(rates) < 2:  # noqa: PLR2004 - a line has two ends
        return ""
    top = max(rate for _, rate in rates) or 1.0
    across = (_SPARK_WIDTH - 2 * _SPARK_EDGE) / max(1, len(trend.weeks) - 1)
    down = _SPARK_HEIGHT - 2 * _SPARK_EDGE
    return " ".join(
        f"{_SPARK_EDGE + place * across:.1f},{_SPARK_HEIGHT - _SPARK_EDGE - rate / top * down:.1f}"
        for place, rate in rates
    )


def day_of(days: int) -> date:
    """The calendar day of a number of the roll-ups."""
    return _EPOCH + timedelta(days=days)


def day_number(at: datetime) -> int:
    """The number of an instant's UTC day in the roll-ups."""
    return (at.astimezone(UTC).date() - _EPOCH).days


def _ceiling(weeks: Sequence[Week]) -> float:
    """A round number above everything that is drawn, per 1,000 reviews."""
    highest = max(
        [week.rate or 0.0 for week in weeks] + [week.high or 0.0 for week in weeks], default=0.0
    )
    highest = highest * _PER or 1.0
    size = 10.0 ** math.floor(math.log10(highest))
    return next(step * size for step in (1, 2, 4, 6, 8, 10, 20) if step * size >= highest)


def _stretches(
    weeks: Sequence[Week], x: Callable[[int], float], y: Callable[[float], float]
) -> list[str]:
    """Lines through neighbouring weeks; a week without reviews leaves a hole, not a zero."""
    found: list[list[str]] = [[]]
    for place, week in enumerate(weeks):
        if week.rate is None:
            found.append([])
        else:
            found[-1].append(f"{x(place)},{y(week.rate)}")
    return [" ".join(one) for one in found if len(one) > 1]


def _band(weeks: Sequence[Week], across: float, y: Callable[[float], float]) -> str:
    upper: list[str] = []
    lower: list[str] = []
    for place, week in enumerate(weeks):
        if week.low is None or week.high is None:
            continue
        begin, end = LEFT + place * across, LEFT + (place + 1) * across
        high, low = y(week.high), y(week.low)
        upper += [f"{begin:.1f},{high}", f"{end:.1f},{high}"]
        lower += [f"{begin:.1f},{low}", f"{end:.1f},{low}"]
    return " ".join([*upper, *reversed(lower)])


def _words(week: Week) -> str:
    outside = ", outside the limits" if week.is_outside else ""
    return f"week of {day_of(week.start)}: {week.fired} in {week.reviews} reviews{outside}"


def _line(week: Week) -> WeekLine:
    limits = (
        f"{week.low * _PER:.1f} to {week.high * _PER:.1f}"
        if week.low is not None and week.high is not None
        else ""
    )
    return WeekLine(
        start=day_of(week.start),
        reviews=week.reviews,
        fired=week.fired,
        rate=f"{week.rate * _PER:.1f}" if week.rate is not None else "no reviews",
        limits=limits,
        is_outside=week.is_outside,
    )
