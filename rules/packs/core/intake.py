"""Vitamin D and calcium from all products, and courses of high single doses."""

from __future__ import annotations

from collections.abc import Iterator

from rules.authoring import derivation
from rules.evidence import Evidence
from rules.facts import Finding, MedicationUse
from rules.packs.core.courses import Course, courses_of, is_current
from rules.packs.core.words import lacking_dose, text


def _regular(e: Evidence, ingredient_class: str) -> list[MedicationUse]:
    """Current records that are taken again and again; a dose given once adds nothing to a daily total."""
    return [
        use for use in e.uses_of(ingredient_class) if is_current(use, e.today) and not use.single
    ]


def _both_lists_read(e: Evidence) -> bool:
    return not (e.unread("medication-statements") or e.unread("medication-requests"))


def vitamin_d_courses(e: Evidence) -> list[Course]:
    """Courses of native vitamin D, ingredient by ingredient."""
    by_ingredient: dict[str, list[MedicationUse]] = {}
    for use in e.uses_of("native-vitamin-d"):
        if not use.single:
            by_ingredient.setdefault(use.ingredient, []).append(use)
    return [
        course for name in sorted(by_ingredient) for course in courses_of(e, by_ingredient[name])
    ]


@derivation(gives=["vitamin-d-source", "vitamin-d-intake"])
def vitamin_d_from_all_products(e: Evidence) -> Iterator[Finding]:
    """The known daily sum, with the number of products whose dose is unknown: at least this much is taken."""
    courses = vitamin_d_courses(e)
    by_ingredient: dict[str, list[Course]] = {}
    for course in courses:
        by_ingredient.setdefault(course.ingredient, []).append(course)
    for about, held in by_ingredient.items():
        taken = [c for c in held if not c.proposed]
        oldest = min((c.start for c in taken if c.start is not None), default=None)
        known = sum(c.daily for c in held)
        yield e.finding(
            "vitamin-d-source", about, because=[use for c in held for use in c.uses],
            daily=known or None, dose_known=all(c.dose_known for c in held),
            products=len({use.record for c in held for use in c.current}), proposed=not taken,
            days=e.days_since(oldest) if taken else 0, since=oldest,
        )  # fmt: skip
    uses = [use for course in courses for use in course.current]
    unknown = [use for use in uses if use.daily is None]
    starts = [c.start for c in courses if c.start is not None and not c.proposed]
    yield e.finding(
        "vitamin-d-intake", because=uses,
        missing=[lacking_dose(e, use.ingredient) for use in unknown],
        daily=sum(use.daily or 0.0 for use in uses), products=len({use.record for use in uses}),
        unknown_products=len({use.record for use in unknown}),
        proposed=any(use.taking == "draft" for use in uses), days=e.days_since(min(starts, default=None)),
        complete=_both_lists_read(e) and not unknown,
    )  # fmt: skip


@derivation(
    gives=["vitamin-d-loading", "vitamin-d-loading-overrun", "vitamin-d-high-strength-daily"],
    needs=["class:native-vitamin-d"],
)
def high_single_doses_of_vitamin_d(e: Evidence) -> Iterator[Finding]:
    """High single doses: a loading course, one that was not ended, or the weekly capsule taken every day."""
    dose, apart = e.parameter("loading.per-dose"), e.parameter("loading.min-interval")
    burst, often = e.parameter("loading.burst"), e.parameter("high-strength.max-interval")
    for course in vitamin_d_courses(e):
        use = course.current[0]  # the records of a course have one dose
        amount, interval, total = use.amount, use.interval_days, _planned_total(course)
        if amount is None or interval is None or amount < dose.value:
            continue
        if interval >= apart.value:
            yield from _intermittent(e, course, amount, interval)
        elif total is not None and total <= burst.value:
            yield e.finding(
                "vitamin-d-loading", course.ingredient, because=course.uses, parameters=[dose, burst],
                amount=amount, interval=interval, days=course.days(e.today), proposed=course.proposed,
            )  # fmt: skip
        elif interval <= often.value:
            yield e.finding(
                "vitamin-d-high-strength-daily", course.ingredient, because=course.uses,
                parameters=[dose, often, burst], amount=amount, interval=interval,
                days=course.days(e.today), proposed=course.proposed,
            )  # fmt: skip


def _intermittent(e: Evidence, course: Course, amount: float, interval: float) -> Iterator[Finding]:
    """Doses days apart: loading for a while, an overrun later; an unknown start is never called an overrun."""
    dose, apart = e.parameter("loading.per-dose"), e.parameter("loading.min-interval")
    longest, daily = e.parameter("loading.max-days"), e.parameter("loading.overrun-daily")
    days, name = course.days(e.today), e.name_of(course.ingredient)
    if days is None or days <= longest.value:
        yield e.finding(
            "vitamin-d-loading", course.ingredient, because=course.uses, parameters=[dose, apart, longest],
            missing=[] if days is not None else [text(e, "missing_course_start", name=name)],
            amount=amount, interval=interval, days=days, proposed=course.proposed,
        )  # fmt: skip
    elif amount / interval > daily.value:
        yield e.finding(
            "vitamin-d-loading-overrun", course.ingredient, because=course.uses,
            parameters=[dose, longest, daily], amount=amount, interval=interval, days=days,
        )  # fmt: skip


def _planned_total(course: Course) -> float | None:
    """The whole amount of a course, if the length of every record is written down."""
    totals = [_planned(use) for use in course.current]
    known = [total for total in totals if total is not None]
    return max(known) if len(known) == len(totals) else None


def _planned(use: MedicationUse) -> float | None:
    if use.amount is None or use.interval_days is None:
        return None
    if use.doses is not None:
        return use.amount * use.doses
    days = use.bounded_days
    if days is None and use.start is not None and use.end is not None:
        days = (use.end - use.start).days + 1
    return None if days is None else use.amount * days / use.interval_days


@derivation(gives=["calcium-intake"])
def elemental_calcium(e: Evidence) -> Iterator[Finding]:
    """Elemental calcium a day; salts count with their elemental share."""
    share = e.parameter("calcium.elemental-share")
    uses = _regular(e, "calcium")
    daily = sum((use.daily or 0.0) * share.value.get(use.ingredient, 1.0) for use in uses)
    unknown = [use for use in uses if use.daily is None]
    yield e.finding(
        "calcium-intake", because=uses, parameters=[share] if uses else [],
        daily=daily, products=len({use.record for use in uses}),
        unknown_products=len({use.record for use in unknown}), complete=_both_lists_read(e) and not unknown,
    )  # fmt: skip
