"""The score that orders the worklist: a sum of a few parts, kept with the alert, so that the page shows what it adds up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec
import yaml


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One addend: which part of priority.yaml, its points, and what in the record it comes from."""

    code: str
    points: int
    says: str = ""


class _Table(msgspec.Struct, frozen=True):
    """Points by name."""

    points: dict[str, int]


class _Distance(msgspec.Struct, frozen=True):
    """Points for each so much outside the range."""

    points: int
    each: float
    most: int
    low: float
    high: float


class _Fresh(msgspec.Struct, frozen=True):
    """Points for what is not older than so many days."""

    within_days: int
    points: int


class _Each(msgspec.Struct, frozen=True):
    """Points for each further one."""

    points: int
    most: int


class Scheme(msgspec.Struct, frozen=True):
    """priority.yaml."""

    titles: dict[str, str]
    severity: _Table
    inr_distance: _Distance
    fresh: tuple[_Fresh, ...]
    further_drugs: _Each
    course: _Table

    @property
    def most_beside_severity(self) -> int:
        """What all parts together can add to the points of the severity."""
        freshest = max((step.points for step in self.fresh), default=0)
        return (
            self.inr_distance.most
            + freshest
            + self.further_drugs.most
            + max(self.course.points.values())
        )


@lru_cache(maxsize=1)
def scheme() -> Scheme:
    """The points in force."""
    text = (files("service.alerts") / "priority.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), Scheme)


def parts_of(
    leaves: Iterable[Mapping[str, Any]], facts: Mapping[str, Any], today: date
) -> tuple[Part, ...]:
    """The parts that the record gives, from the facts an alert rests on and all facts (plain JSON values)."""
    held = list(leaves)
    found = (_distance(held, facts), _freshness(held, today), _further(held))
    return tuple(part for part in found if part is not None)


def added_up(indicator: str, course: str, parts: Iterable[Part]) -> tuple[Part, ...]:
    """All parts: severity first, then what the record gives, then how the alert goes on."""
    points = scheme()
    every = [Part("severity", points.severity.points.get(indicator, 0), indicator), *parts]
    if course in points.course.points:
        every.append(Part("course", points.course.points[course], course))
    return tuple(every)


def _distance(leaves: list[Mapping[str, Any]], facts: Mapping[str, Any]) -> Part | None:
    """How far the newest INR lies outside its target, where the alert rests on an anticoagulant or an INR."""
    if not any("vka" in leaf.get("classes", ()) or leaf.get("measure") == "inr" for leaf in leaves):
        return None
    results = [
        lab for lab in facts["labs"]
        if lab["measure"] == "inr" and not lab["problem"] and lab["taken"] and lab["value"] is not None
    ]  # fmt: skip
    if not results:
        return None
    newest, points = max(results, key=lambda lab: lab["taken"]), scheme().inr_distance
    low, high = _target(facts, points)
    value = newest["value"]
    outside = max(low - value, value - high, 0.0)
    if outside <= 0:
        return None
    side = f"{outside:.1f} below {low:g}" if value < low else f"{outside:.1f} above {high:g}"
    gained = min(points.most, max(1, round(outside / points.each * points.points)))
    return Part("inr_distance", gained, f"{value:g}, {side}")


def _target(facts: Mapping[str, Any], points: _Distance) -> tuple[float, float]:
    for goal in facts["goals"]:
        if goal["measure"] == "inr" and goal["low"] is not None and goal["high"] is not None:
            return goal["low"], goal["high"]
    return points.low, points.high


def _freshness(leaves: list[Mapping[str, Any]], today: date) -> Part | None:
    days = [
        date.fromisoformat(leaf[name])
        for leaf in leaves
        for name in ("taken", "start")
        if isinstance(leaf.get(name), str) and not leaf.get("start_is_bound")
    ]
    past = [day for day in days if day <= today]
    if not past:
        return None
    newest = max(past)
    for step in scheme().fresh:
        if (today - newest).days <= step.within_days:
            return Part("fresh", step.points, newest.isoformat())
    return None


def _further(leaves: list[Mapping[str, Any]]) -> Part | None:
    names = sorted({leaf["ingredient"] for leaf in leaves if leaf.get("ingredient")})
    points = scheme().further_drugs
    if len(names) < 2:  # noqa: PLR2004 - the first is the subject itself
        return None
    return Part(
        "further_drugs", min(points.most, points.points * (len(names) - 1)), str(len(names))
    )
