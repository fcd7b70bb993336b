"""Which anticoagulants are taken, how certain that is, and how much depends on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from rules.authoring import derivation
from rules.evidence import Evidence
from rules.facts import Fact, Finding, MedicationUse
from rules.packs.core.courses import Course, courses_of, is_current, is_planned, last_day, was_taken
from rules.packs.core.words import text


def _vka_course(e: Evidence) -> Course | None:
    """All current vitamin K antagonist records as one therapy; the one taken longest gives its name."""
    courses = courses_of(e, e.uses_of("vka"), one_course=True)
    return courses[0] if courses else None


def _uncertain(e: Evidence) -> list[MedicationUse]:
    """On hold, of unknown status, only intended, or active but not yet begun."""
    return [
        use
        for use in e.uses_of("vka")
        if use.systemic is not False
        and (
            (use.taking == "uncertain" and not was_taken(use, e.today)) or is_planned(use, e.today)
        )
    ]


@derivation(gives=["current-vka", "listed-vka", "vka-uncertain"], needs=["class:vka"])
def vitamin_k_antagonist(e: Evidence) -> Iterator[Finding]:
    """The antagonist in use; one of uncertain status counts as listed, so that a new vitamin K is still noticed."""
    course = _vka_course(e)
    if course is not None:
        parameters = [e.parameter("course.gap")]
        days, about = course.days(e.today), course.ingredient
        missing = (
            []
            if course.proposed or days is not None
            else [text(e, "missing_start", name=e.name_of(about))]
        )
        yield e.finding(
            "current-vka", about, because=course.uses, parameters=parameters, missing=missing,
            proposed=course.proposed, days=days, since=course.start,
        )  # fmt: skip
        yield e.finding(
            "listed-vka", about, because=course.uses, parameters=parameters, missing=missing,
            certain=True, proposed=course.proposed, days=days, since=course.start,
        )  # fmt: skip
        return
    uncertain = _uncertain(e)
    if uncertain:
        first = min(
            uncertain, key=lambda use: (use.start is None, use.start or date.min, use.source)
        )
        days = e.days_since(first.start)
        yield e.finding(
            "listed-vka", first.ingredient, because=uncertain, certain=False, proposed=False,
            days=None if days is None else max(days, 0), since=first.start,  # a planned one begins later
        )  # fmt: skip
        yield e.finding("vka-uncertain", because=uncertain, status=_status_words(first, e.today))


def _status_words(use: MedicationUse, today: date) -> str:
    return "not begun" if is_planned(use, today) else use.status


@derivation(gives=["recent-vka"], reads=["listed-vka", "vka-uncertain"], needs=["class:vka"])
def vitamin_k_antagonist_still_acting(e: Evidence) -> Iterator[Finding]:
    """An antagonist that is current, on hold, unknown, or was stopped a few days ago: its high INR is still its effect."""
    listed = e.first("listed-vka")
    if listed is not None:
        uncertain = e.first("vka-uncertain")
        status = uncertain.status if uncertain else "active"
        yield e.finding("recent-vka", listed.about, because=[listed], status=status)
        return
    window = e.parameter("vka.still-acting")
    stopped = [
        (days, use)
        for use in e.uses_of("vka")
        if was_taken(use, e.today)
        and (days := e.days_since(last_day(use))) is not None
        and days <= window.value
    ]
    if stopped:
        days, use = min(stopped, key=lambda one: (one[0], one[1].source))
        yield e.finding(
            "recent-vka",
            use.ingredient,
            because=[use],
            parameters=[window],
            status=use.status,
            stopped_days=days,
        )


@derivation(
    gives=["current-doac", "anticoagulants-overlap"], reads=["current-vka"], needs=["class:doac"]
)
def direct_oral_anticoagulant(e: Evidence) -> Iterator[Finding]:
    """A direct oral anticoagulant in use, and whether it stands beside an antagonist without a documented switch."""
    courses = courses_of(e, e.uses_of("doac"), one_course=True)
    if not courses:
        return
    course = courses[0]
    doac = e.finding(
        "current-doac", course.ingredient, because=course.uses,
        proposed=course.proposed, days=course.days(e.today),
    )  # fmt: skip
    yield doac
    vka = e.first("current-vka")
    if vka is None:
        return
    longest = e.parameter("anticoagulants.switch-overlap")
    vka_now = [use for use in e.uses_of("vka") if is_current(use, e.today)]
    if _switch(vka_now, longest.value) or _switch(course.current, longest.value):
        return
    yield e.finding(
        "anticoagulants-overlap",
        course.ingredient,
        because=[vka, doac],
        parameters=[longest],
        vka=vka.about,
    )


def _switch(uses: Sequence[MedicationUse], longest: int) -> bool:
    """Whether every record of one side is planned to last no longer than a switch takes."""
    planned = [_planned_days(use) for use in uses]
    return bool(planned) and all(days is not None and days <= longest for days in planned)


def _planned_days(use: MedicationUse) -> int | None:
    if use.bounded_days is not None:
        return use.bounded_days
    if use.start is not None and use.end is not None:
        return (use.end - use.start).days + 1
    return None


@derivation(
    gives=["high-thrombotic-risk"],
    needs=[
        "problem:mechanical-valve",
        "problem:antiphospholipid-syndrome",
        "problem:venous-thromboembolism",
        "procedure:mechanical-valve",
    ],
)
def thrombotic_risk(e: Evidence) -> Iterator[Finding]:
    """A mechanical valve, antiphospholipid syndrome, or venous thromboembolism within its window."""
    window = e.parameter("thrombosis.recent")
    reasons: list[tuple[str, Fact]] = [
        (problem, held)
        for problem in ("mechanical-valve", "antiphospholipid-syndrome")
        for held in e.conditions_of(problem)
        if held.clinical_status != "resolved" or problem == "mechanical-valve"
    ]
    reasons += [("mechanical-valve", done) for done in e.procedures_of("mechanical-valve")]
    for clot in e.conditions_of("venous-thromboembolism"):
        days = e.days_since(clot.onset)
        if days is not None and 0 <= days <= window.value:
            reasons.append(("venous-thromboembolism", clot))
    if reasons:
        name = reasons[0][0]
        because = [fact for _, fact in reasons]
        yield e.finding("high-thrombotic-risk", because=because, parameters=[window], reason=name)
