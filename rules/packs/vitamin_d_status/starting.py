"""When vitamin D may be suggested at all, in which dose, and who is treated with high doses on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rules.authoring import derivation
from rules.packs.vitamin_d_status.exposure import amount, taken

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.facts import Fact, Finding


@derivation(
    gives=("vitamin-d-start-blocked", "active-vitamin-d-taken"),
    reads=("hypercalcaemia", "granulomatous-disease", "primary-hyperparathyroidism"),
)
def vitamin_d_start_blocked(e: Evidence) -> Iterator[Finding]:
    """High calcium, a disease that makes its own calcitriol, or an active analogue: no start, no increase."""
    reasons: list[tuple[str, Fact | Finding]] = []
    for name in ("hypercalcaemia", "primary-hyperparathyroidism"):
        reasons += [(name, made) for made in e.findings(name)]
    reasons += [(str(made.values["disease"]), made) for made in e.findings("granulomatous-disease")]
    problems = e.parameter("problems.blocking-vitamin-d")
    for problem in problems.value:
        # A status that is not recorded blocks too: suggesting less is the safe side here.
        reasons += [
            (problem, one) for one in e.conditions_of(problem) if one.clinical_status != "resolved"
        ]
    active = taken(e, "active-vitamin-d-or-25oh", "active-vitamin-d", "vitamin-d-25oh")
    reasons += [(use.ingredient, use) for use in active]
    if active:
        yield e.finding("active-vitamin-d-taken", because=active, drug=active[0].ingredient)
    if reasons:
        yield e.finding(
            "vitamin-d-start-blocked", because=[why for _, why in reasons], parameters=(problems,),
            reason=reasons[0][0],
        )  # fmt: skip


@derivation(
    gives=("vitamin-d-dose-unknown",), reads=("vitamin-d-intake",), requires=("vitamin-d-intake",)
)
def vitamin_d_dose_unknown(e: Evidence) -> Iterator[Finding]:
    """At least one vitamin D product whose daily dose is not known: the total is a lower bound."""
    for intake in e.findings("vitamin-d-intake"):
        if amount(intake, "unknown_products") > 0:
            yield e.finding("vitamin-d-dose-unknown", because=(intake,))


@derivation(
    gives=("may-suggest-vitamin-d", "may-suggest-d3-maintenance", "may-suggest-d3-weekly", "may-suggest-loading"),
    reads=(
        "vitamin-d-start-blocked", "unspecified-multivitamin", "vitamin-d-intake", "vitamin-d-dose-unknown", "age-group",
        "pregnant-or-breastfeeding", "calcium-measured", "stone-disease", "ckd-from-stage-3", "fat-malabsorption",
        "medication-lists-read", "problems-read", "vitamin-d-level-severe", "calcium-intake",
        "vitamin-d-latest",
    ),
)  # fmt: skip
def what_may_be_suggested(e: Evidence) -> Iterator[Finding]:
    """A dose is offered only if, once drafted, no rule here would object to it.

    Needs both medication lists and the problem list, an adult, nothing that blocks, and no vitamin D
    product whose dose is unknown.
    """
    needed = ("medication-lists-read", "problems-read")
    hindering = ("vitamin-d-start-blocked", "unspecified-multivitamin", "vitamin-d-dose-unknown")
    adult = next(
        (made for made in e.findings("age-group") if made.values["group"] == "adult"), None
    )
    if (
        adult is None
        or any(e.first(name) is None for name in needed)
        or any(e.first(name) for name in hindering)
    ):
        return
    allowed = e.finding("may-suggest-vitamin-d", because=(adult,))
    yield allowed
    if _room_for_maintenance(e):
        yield e.finding("may-suggest-d3-maintenance", because=(allowed,))
    if _weekly_is_fit(e, amount(adult, "years")):
        yield e.finding("may-suggest-d3-weekly", because=(allowed,))
        profiles = e.parameter("vitd.weekly.profiles")
        if e.context.profile in profiles.value or e.first("vitamin-d-level-severe"):
            yield e.finding("may-suggest-loading", because=(allowed,), parameters=(profiles,))


def _room_for_maintenance(e: Evidence) -> bool:
    """The upper level still holds with the dose added, and calcium supplements or stones do not object."""
    dose = e.parameter("prescribe.d3-low").value
    known = amount(e.first("vitamin-d-intake"), "daily")
    if known + dose > e.parameter("vitd.maintenance.ceiling").value:
        return False
    much = amount(e.first("calcium-intake"), "daily") >= e.parameter("calcium.much").value
    return not (
        much and (e.first("stone-disease") or e.first("ckd-from-stage-3"))
    ) and _kidney_watched(e)


def _kidney_watched(e: Evidence) -> bool:
    kidney = e.first("ckd-from-stage-3")
    if kidney is None:
        return True
    windows = {int(row["stage"]): row["days"] for row in e.parameter("ckd.monitoring").value}
    return _calcium_within(e, windows[int(amount(kidney, "stage"))])


def _weekly_is_fit(e: Evidence, years: float) -> bool:
    """50,000 weekly: not in pregnancy, only with a recent calcium, not at 50 and over under endo-2024."""
    if e.first("pregnant-or-breastfeeding") or e.first("stone-disease"):
        return False
    daily_only = e.context.profile in e.parameter("vitd.weekly.no-bolus-profiles").value
    if daily_only and years >= e.parameter("vitd.weekly.no-bolus-age").value:
        return False
    daily = amount(e.first("vitamin-d-intake"), "daily")
    if daily >= e.parameter("vitd.intake.adequate").value:
        return False
    return _calcium_within(e, e.parameter("vitd.weekly.calcium-within").value) and _kidney_watched(
        e
    )


def _calcium_within(e: Evidence, days: float) -> bool:
    measured = e.first("calcium-measured")
    return measured is not None and amount(measured, "days") <= days


@derivation(
    gives=("supervised-high-vitamin-d",),
    reads=("fat-malabsorption", "vitamin-d-intake", "vitamin-d-level", "vitamin-d-low-before"),
    requires=("vitamin-d-intake",),
)
def supervised_high_vitamin_d(e: Evidence) -> Iterator[Finding]:
    """A reason to need two to three times the usual dose, a bounded dose, and a recent level that is not high."""
    intake, level = e.findings("vitamin-d-intake")[0], e.first("vitamin-d-level")
    most, highest = (
        e.parameter("vitd.supervised.most"),
        e.parameter("vitd.supervised.highest-level"),
    )
    if level is None or amount(intake, "daily") > most.value:
        return
    if amount(level, "value") > highest.value[str(level.values["unit"])]:
        return
    reasons: list[Fact | Finding] = [*e.findings("fat-malabsorption"), *taken(e, "enzyme-inducer")]
    obese = [one for one in e.conditions_of("obesity") if one.clinical_status == "active"]
    lacking = [*e.findings("vitamin-d-low-before")]
    listed = [
        one for one in e.conditions_of("vitamin-d-deficiency") if one.clinical_status == "active"
    ]
    if obese and (lacking or listed):
        reasons += [*obese, *lacking, *listed]
    if reasons:
        yield e.finding(
            "supervised-high-vitamin-d", because=(*reasons, level), parameters=(most, highest)
        )
