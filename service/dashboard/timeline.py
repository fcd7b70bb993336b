"""Results and doses of one patient on one true-time axis, as numbers for SVG.

Sittig et al. (doi:10.1093/jamia/ocv013) list what a clinical graph must have: a title with the patient, both axes
named with units, equal days equally wide, the newest on the right, every value readable, reference limits shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec
import yaml

from rules.facts import FactSet, LabResult, MedicationUse
from service.dashboard.axis import Level, Scale
from service.dashboard.casebook import as_reported, left_out, series

WIDTH: Final = 960
LEFT: Final = 64
RIGHT: Final = 160  # limits are named there, beside the panel and not over its results
_HIGH: Final = 96  # of a panel with results
_LOW: Final = 64  # of a panel with courses
_TOP: Final = 36  # above a panel, for its title
_HEAD: Final = 26  # the title of the whole
_MARKS: Final = 22  # the strip of alerts
_LANE: Final = 15  # a further row of it, for alerts that would cover each other
_LANES: Final = 5
_MARK_WIDTH: Final = 13
_ABOVE, _BELOW = -8, 17  # where the newest value stands, from its point
_FOOT: Final = 74  # months, the name of the axis, the legend
_DAY: Final = timedelta(days=1)
_LONGEST: Final = 3_653  # days; what is older stands in the table
_MONTHS_APART: Final = ((100, 1), (400, 2), (1_200, 6), (99_999, 12))


class Dot(msgspec.Struct, frozen=True, kw_only=True):
    """One result in its place, with words for whoever points at it."""

    x: float
    y: float
    words: str
    label: str = ""
    label_y: float = 0.0


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken together, in its place; ``known`` is false for a course whose dose is not."""

    x: float
    y: float
    width: float
    height: float
    words: str
    known: bool


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """One alert in its place, where it was first seen."""

    x: float
    y: float
    indicator: str
    words: str


class _Sum(NamedTuple):
    """What is taken together from one day to another (both count), in the unit of the panel a day."""

    start: date
    end: date
    daily: float
    uses: list[MedicationUse]


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One measure or one class over time."""

    title: str
    top: float
    height: float
    steps: tuple[Level, ...]
    limits: tuple[Level, ...] = ()
    band: tuple[float, float] | None = None
    dots: tuple[Dot, ...] = ()
    bars: tuple[Bar, ...] = ()
    note: str = ""

    @property
    def line(self) -> str:
        """The ``points`` of the line through the results."""
        return " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in self.dots)


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """The whole plot."""

    start: date
    end: date
    height: float
    panels: tuple[Panel, ...]
    months: tuple[tuple[float, str], ...]
    marks: tuple[Mark, ...] = ()

    @property
    def bottom(self) -> float:
        """Where the panels end and the axis begins."""
        return self.height - _FOOT


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which panels, windows and sources of facts there are (timeline.yaml)."""

    results: tuple[str, ...]
    courses: dict[str, str]
    windows: dict[str, int]
    window_titles: dict[str, str]
    needed_sources: tuple[str, ...]


@lru_cache(maxsize=1)
def wanted() -> Wanted:
    """What timeline.yaml asks for."""
    text = (files("service.dashboard") / "timeline.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), Wanted)


class Drawing:
    """Places facts on the axis from ``start`` to ``end``."""

    def __init__(
        self,
        start: date,
        end: date,
        *,
        title: Callable[[str], str],
        amount: Callable[[float, str], str],
    ) -> None:
        self.start, self.end = start, end
        self._title, self._amount = title, amount
        self._days = max(1, (end - start).days)

    def draw(self, facts: FactSet, alerts: Iterable[tuple[date, str, str]] = ()) -> Timeline:
        """Every panel for which there is something to show; ``alerts`` are (day, indicator, words)."""
        panels: list[Panel] = []
        marks = tuple(self._marks(alerts))
        top = _HEAD + (max(mark.y for mark in marks) - _HEAD + _MARKS / 2 if marks else 0.0)
        for measure in wanted().results:
            panel = self._results(facts, measure, top + _TOP)
            if panel is not None:
                panels.append(panel)
                top += _TOP + _HIGH
        for kind, name in wanted().courses.items():
            panel = self._courses(facts, kind, name, top + _TOP)
            if panel is not None:
                panels.append(panel)
                top += _TOP + _LOW
        return Timeline(
            start=self.start,
            end=self.end,
            height=top + _FOOT,
            panels=tuple(panels),
            months=tuple(self._months()),
            marks=marks,
        )

    def x(self, day: date) -> float:
        """The place of a day: equal spans of time are equally wide."""
        return LEFT + (day - self.start).days / self._days * (WIDTH - LEFT - RIGHT)

    def _marks(self, alerts: Iterable[tuple[date, str, str]]) -> Iterable[Mark]:
        """Alerts of one day, or of days too near to each other, stand below each other."""
        free = [-math.inf] * _LANES
        for day, indicator, words in sorted(alerts):
            if self.start <= day <= self.end:
                x = self.x(day)
                lane = next((lane for lane, end in enumerate(free) if end <= x), _LANES - 1)
                free[lane] = x + _MARK_WIDTH
                yield Mark(
                    x=x,
                    y=_HEAD + _MARKS / 2 + lane * _LANE,
                    indicator=indicator,
                    words=f"{day}: {words}",
                )

    def _results(self, facts: FactSet, measure: str, top: float) -> Panel | None:
        labs = [
            lab
            for lab in series(facts.labs, measure)
            if lab.taken and self.start <= lab.taken <= self.end
        ]
        if not labs:
            return None
        limits = dict(_limits(facts, labs[-1]))
        values = [lab.value or 0.0 for lab in labs]
        scale = Scale([*values, *limits.values()], top, _HIGH)
        # The line comes from the left: from above, the value stands below it, else above
        falls = len(values) > 1 and values[-1] < values[-2]
        label_y = scale.y(values[-1]) + (_BELOW if falls else _ABOVE)
        return Panel(
            title=self._name(measure, labs[-1].unit), top=top, height=_HIGH, steps=scale.steps(),
            limits=tuple(Level(y=scale.y(value), words=f"{words} {value:g}") for words, value in limits.items()),
            dots=tuple(
                Dot(
                    x=self.x(lab.taken or self.end), y=scale.y(lab.value or 0.0),
                    words=f"{lab.taken}: {as_reported(lab)}",
                    label=f"{lab.comparator}{lab.value:g}" if lab is labs[-1] else "", label_y=label_y,
                )
                for lab in labs
            ),
            note=_note(facts, measure, has_limits=bool(limits)), band=_band(facts, measure, scale),
        )  # fmt: skip

    def _courses(self, facts: FactSet, kind: str, name: str, top: float) -> Panel | None:
        uses = [
            use for use in facts.uses
            if kind in use.classes and use.taking not in {"no", "draft"} and (use.end or self.end) >= self.start and (use.start or self.start) <= self.end
        ]  # fmt: skip
        if not uses:
            return None
        units = sorted({use.unit for use in uses if use.dose_known})
        unit = units[0] if units else ""
        summed = list(self._sums(use for use in uses if _counts(use, unit)))
        scale = Scale([0.0, *(one.daily for one in summed)] if summed else [0.0, 1.0], top, _LOW)
        return Panel(
            title=f"{name}, {self._amount(0, f'{unit}/d').removeprefix('0 ')}" if unit else f"{name}, dose not known",
            top=top, height=_LOW, steps=scale.steps() if summed else (),
            bars=tuple(self._bars(summed, uses, unit, scale, top)),
        )  # fmt: skip

    def _sums(self, uses: Iterable[MedicationUse]) -> Iterable[_Sum]:
        """Spans in which the same products are taken; what is taken together adds up."""
        uses = list(uses)
        turns = {day for use in uses for day in (self._first(use), self._last(use) + _DAY)}
        for start, after in pairwise(sorted(turns)):
            together = [use for use in uses if self._first(use) <= start <= self._last(use)]
            if together:
                yield _Sum(start, after - _DAY, sum(use.daily or 0.0 for use in together), together)

    def _bars(
        self, summed: Iterable[_Sum], uses: Iterable[MedicationUse], unit: str, scale: Scale, top: float
    ) -> Iterable[Bar]:  # fmt: skip
        for one in summed:
            words = "; ".join(self._words(use) for use in one.uses)
            if len(one.uses) > 1:
                words = f"{self._amount(one.daily, f'{unit}/d')} together: {words}"
            yield self._bar(one.start, one.end, scale.y(one.daily), top, words, known=True)
        for use in uses:
            if not _counts(use, unit):
                y = top + _LOW / 2
                yield self._bar(
                    self._first(use), self._last(use), y, top, self._words(use), known=False
                )

    def _bar(self, start: date, end: date, y: float, top: float, words: str, *, known: bool) -> Bar:
        left, right = self.x(start), self.x(min(end + _DAY, self.end))
        return Bar(
            x=left, y=y, width=max(2.0, right - left), height=max(2.0, top + _LOW - y), words=words,
            known=known,
        )  # fmt: skip

    def _first(self, use: MedicationUse) -> date:
        return max(use.start or self.start, self.start)

    def _last(self, use: MedicationUse) -> date:
        return min(use.end or self.end, self.end)

    def _words(self, use: MedicationUse) -> str:
        known = use.dose_known and use.daily is not None
        dose = self._amount(use.daily or 0.0, f"{use.unit}/d") if known else "dose not known"
        since = f"since {use.start}" if use.start else "start not recorded"
        until = f" until {use.end}" if use.end else ""
        return f"{self._title(use.ingredient)}, {dose}, {since}{until}"

    def _name(self, measure: str, unit: str) -> str:
        words = self._amount(0, unit).removeprefix("0").strip() if unit else ""
        return f"{self._title(measure)}, {words or 'ratio'}"

    def _months(self) -> Iterable[tuple[float, str]]:
        apart = next(months for days, months in _MONTHS_APART if self._days <= days)
        for number in range(
            self.start.year * 12 + self.start.month, self.end.year * 12 + self.end.month
        ):
            if number % apart == 0:
                day = date(number // 12, number % 12 + 1, 1)
                yield self.x(day), f"{day:%b %Y}"


def _counts(use: MedicationUse, unit: str) -> bool:
    """Whether a course has a dose that can stand on the axis of its panel."""
    return use.dose_known and use.unit == unit and use.daily is not None


def window_start(facts: FactSet, end: date, window: str) -> date:
    """The first day of a window; ``all`` begins with the oldest result or course."""
    if window in wanted().windows:
        return end - timedelta(days=wanted().windows[window])
    days = [lab.taken for lab in facts.labs if lab.taken] + [
        use.start for use in facts.uses if use.start
    ]
    oldest = min([day for day in days if day < end], default=end - timedelta(days=30))
    return max(oldest - timedelta(days=7), end - timedelta(days=_LONGEST))


def _band(facts: FactSet, measure: str, scale: Scale) -> tuple[float, float] | None:
    """Top and height of the target range, where the record states both ends."""
    for goal in facts.goals:
        if goal.measure == measure and goal.low is not None and goal.high is not None:
            return scale.y(goal.high), scale.y(goal.low) - scale.y(goal.high)
    return None


def _note(facts: FactSet, measure: str, *, has_limits: bool) -> str:
    """What the panel cannot show: limits nobody supplied, and results in a unit that is not the newest one's."""
    others = left_out(facts.labs, measure)
    told = [] if has_limits else ["no reference limit was supplied"]
    if others:
        told.append(f"{others} in another unit: see the table")
    return "; ".join(told)


def _limits(facts: FactSet, newest: LabResult) -> Iterable[tuple[str, float]]:
    """Limits that the record states for this patient; none are made up."""
    for goal in facts.goals:
        if goal.measure == newest.measure:
            if goal.low is not None:
                yield "target from", goal.low
            if goal.high is not None:
                yield "target to", goal.high
    if newest.reference_high is not None:
        yield "lab's upper limit", newest.reference_high
