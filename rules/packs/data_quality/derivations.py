"""Results that a rule was about to use, and doses whose absence could hide too much vitamin D."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rules.authoring import derivation
from rules.packs.vitamin_d_status.exposure import amount, taken

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.facts import Finding, LabResult

CALCIUM = ("calcium-ionised", "calcium-corrected", "calcium")


@derivation(
    gives=("unusable-result",),
    reads=("vitamin-d-unusable", "vitamin-d-newer-unusable"),
    needs=("measure:25ohd",),
)
def unusable_vitamin_d_levels(e: Evidence) -> Iterator[Finding]:
    """25(OH)D always, while no usable result of the same or a later day makes it unimportant."""
    for made in e.findings("vitamin-d-unusable"):
        yield e.finding(
            "unusable-result", made.about, because=(made,), parameters=made.parameters, reported=made.values["reported"],
            reason=made.values["reason"], taken=made.values.get("taken"),
        )  # fmt: skip


@derivation(gives=("unusable-result",), requires=("listed-vka",), needs=("measure:inr",))
def unusable_inr(e: Evidence) -> Iterator[Finding]:
    """INR on an antagonist."""
    yield from _newest_unusable(e, ("inr",), "dq.inr-within")


@derivation(
    gives=("unusable-result",),
    requires=("calcium-raising-exposure",),
    needs=("measure:calcium", "measure:calcium-ionised", "measure:calcium-corrected"),
)
def unusable_calcium(e: Evidence) -> Iterator[Finding]:
    """Calcium with something on the list that could raise it."""
    yield from _newest_unusable(e, CALCIUM, "dq.calcium-within")


def _newest_unusable(e: Evidence, measures: tuple[str, ...], parameter: str) -> Iterator[Finding]:
    window, words = e.parameter(parameter), e.parameter("lab.words.problems").value
    statuses = e.parameter("lab.usable-statuses").value
    usable = [
        lab for name in measures for lab in e.labs_of(name) if lab.status in statuses and lab.taken
    ]
    newest = max((lab.taken for lab in usable if lab.taken), default=None)
    broken: list[LabResult] = [
        lab for name in measures for lab in e.unusable_labs(name) if lab.status in statuses
    ]
    for lab in broken:
        days = e.days_since(lab.taken)
        stale = days is not None and not 0 <= days <= window.value
        outdone = newest is not None and lab.taken is not None and newest >= lab.taken
        if not stale and not outdone:
            yield e.finding(
                "unusable-result", lab.measure, because=(lab,), parameters=(window,), reported=lab.reported,
                reason=words.get(lab.problem, lab.problem), taken=lab.taken,
            )  # fmt: skip
            return


@derivation(
    gives=("vitamin-d-question",),
    reads=("vitamin-d-intake", "vitamin-d-level", "hypercalcaemia", "vitamin-d-loading"),
    requires=("vitamin-d-intake",),
    needs=("class:native-vitamin-d",),
)
def vitamin_d_questions(e: Evidence) -> Iterator[Finding]:
    """An unknown dose where a level, a calcium or the known sum makes it matter; a course without a start."""
    intake, words = e.findings("vitamin-d-intake")[0], e.parameter("dq.words").value
    level_above, known_from, strong = (
        e.parameter(name) for name in ("dq.level-above", "dq.known-dose-from", "loading.per-dose")
    )
    reasons: list[Finding] = [*e.findings("hypercalcaemia")]
    reasons += [
        made
        for made in e.findings("vitamin-d-level")
        if amount(made, "value") > level_above.value[str(made.values["unit"])]
    ]
    much = amount(intake, "daily") >= known_from.value
    asked: set[str] = set()
    for use in taken(e, "native-vitamin-d"):
        if use.daily is not None or use.ingredient in asked:
            continue
        # A high strength of unknown frequency is never taken for daily: it is asked about instead.
        if reasons or much or (use.amount or 0.0) >= strong.value:
            asked.add(use.ingredient)
            yield e.finding(
                "vitamin-d-question", use.ingredient, because=(use, intake, *reasons), daily=intake.values["daily"],
                parameters=(level_above, known_from, strong), what=words["dose"],
            )  # fmt: skip
    for course in e.findings("vitamin-d-loading"):
        if (
            "days" not in course.values
            and not course.values["proposed"]
            and course.about not in asked
        ):
            yield e.finding(
                "vitamin-d-question",
                course.about,
                because=(course, intake),
                daily=intake.values["daily"],
                what=words["start"],
            )
