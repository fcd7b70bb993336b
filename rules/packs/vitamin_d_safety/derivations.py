"""Doses against the upper level of the age, levels that are high, and what could raise a high calcium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rules.authoring import derivation
from rules.packs.vitamin_d_status.exposure import amount, taken
from rules.packs.vitamin_d_status.intervals import interval_of

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.facts import Fact, Finding


@derivation(
    gives=(
        "vitamin-d-above-upper-level", "vitamin-d-excess-serious", "upper-level-labs-useful", "upper-level-25ohd-useful",
        "several-vitamin-d-products",
    ),
    reads=("vitamin-d-intake", "age-group", "pregnant-or-breastfeeding", "calcium-measured", "may-order-25ohd"),
    requires=("vitamin-d-intake", "aged-one-or-over"),
    needs=("class:native-vitamin-d",),
)  # fmt: skip
def vitamin_d_above_upper_level(e: Evidence) -> Iterator[Finding]:
    """The known sum is above the limit; what is unknown could only add to it."""
    intake, group = e.findings("vitamin-d-intake")[0], e.findings("age-group")[0]
    table = e.parameter(str(e.parameter("profile.ul").value))
    years = amount(group, "years")
    limit = next(row["limit"] for row in table.value if years < row["below_years"])
    daily = amount(intake, "daily")
    if daily <= limit:
        return
    products = int(amount(intake, "products"))
    made = e.finding(
        "vitamin-d-above-upper-level", because=(intake, group), parameters=(e.parameter("profile.ul"), table),
        daily=daily, limit=limit, products=products, unknown_products=intake.values["unknown_products"],
    )  # fmt: skip
    yield made
    warn = e.parameter("vitd.ul.warn")
    delicate = e.findings("pregnant-or-breastfeeding")
    if daily >= warn.value or group.values["group"] == "child" or delicate:
        yield e.finding("vitamin-d-excess-serious", because=(made, *delicate), parameters=(warn,))
    if products > 1:
        yield e.finding("several-vitamin-d-products", because=(made,))
    within = e.parameter("vitd.ul.calcium-within")
    measured = e.first("calcium-measured")
    if daily >= warn.value or measured is None or amount(measured, "days") > within.value:
        yield e.finding("upper-level-labs-useful", because=(made,), parameters=(within,))
        if e.first("may-order-25ohd"):
            yield e.finding("upper-level-25ohd-useful", because=(made,))


@derivation(
    gives=("recent-low-level",),
    reads=("vitamin-d-level",),
    requires=("vitamin-d-level-under-adequate",),
)
def recent_low_level(e: Evidence) -> Iterator[Finding]:
    """A course may go on while its own level is still low."""
    within = e.parameter("overrun.low-level-within")
    for level in e.findings("vitamin-d-level"):
        if amount(level, "days") <= within.value:
            yield e.finding("recent-low-level", because=(level,), parameters=(within,))


@derivation(gives=("high-strength-for-weeks",), requires=("vitamin-d-high-strength-daily",))
def high_strength_for_weeks(e: Evidence) -> Iterator[Finding]:
    """Long enough for calcium to have risen; a draft has not been taken yet."""
    after = e.parameter("high-strength.calcium-after")
    for course in e.findings("vitamin-d-high-strength-daily"):
        if not course.values["proposed"] and amount(course, "days") > after.value:
            yield e.finding(
                "high-strength-for-weeks", course.about, because=(course,), parameters=(after,)
            )


@derivation(
    gives=("infant-vitamin-d-excess", "infant-vitamin-d-very-high"),
    reads=("vitamin-d-intake",),
    requires=("vitamin-d-intake", "age-group"),
    needs=("class:native-vitamin-d",),
)
def infant_dose(e: Evidence) -> Iterator[Finding]:
    """The limit of the first or the second half year; the age in days is needed, corrected age is not used."""
    intake, group = e.findings("vitamin-d-intake")[0], e.findings("age-group")[0]
    age = e.patient.age_days
    if group.values["group"] != "infant" or age is None:
        return
    limits, critical = e.parameter("infant.limits"), e.parameter("infant.critical")
    limit = next(row["limit"] for row in limits.value if age < row["below_days"])
    daily = amount(intake, "daily")
    if daily > limit:
        made = e.finding(
            "infant-vitamin-d-excess",
            because=(intake, group),
            parameters=(limits,),
            daily=daily,
            limit=limit,
            age_days=age,
        )
        yield made
        if daily >= critical.value:
            yield e.finding("infant-vitamin-d-very-high", because=(made,), parameters=(critical,))


@derivation(
    gives=("vitamin-d-level-high",),
    reads=("vitamin-d-level-very-high", "vitamin-d-intake"),
    requires=("vitamin-d-level", "vitamin-d-intake"),
)
def vitamin_d_level_high(e: Evidence) -> Iterator[Finding]:
    """Very high whatever the dose; above the profile's high band only with a dose that could explain it."""
    level, intake = e.findings("vitamin-d-level")[0], e.findings("vitamin-d-intake")[0]
    profiles, dose = e.parameter("vitd.high.info-profiles"), e.parameter("vitd.high.info-from-dose")
    if level.values["band"] != "high":
        return
    explained = e.context.profile in profiles.value and amount(intake, "daily") >= dose.value
    very = e.findings("vitamin-d-level-very-high")
    if very or explained:
        yield e.finding(
            "vitamin-d-level-high", because=(level, intake), parameters=() if very else (profiles, dose),
            value=level.values["value"], comparator=level.values["comparator"], unit=level.values["unit"],
            taken=level.values.get("taken"), days=level.values["days"], daily=intake.values["daily"],
        )  # fmt: skip


@derivation(
    gives=("calcium-raising-exposure",),
    reads=("vitamin-d-intake", "active-vitamin-d-taken", "calcium-intake"),
    needs=(
        "class:native-vitamin-d",
        "class:active-vitamin-d",
        "class:active-vitamin-d-or-25oh",
        "class:vitamin-d-25oh",
        "class:calcium",
    ),
)
def calcium_raising_exposure(e: Evidence) -> Iterator[Finding]:
    """Vitamin D in more than food amounts or of unknown dose, an active analogue, calcifediol, or calcium."""
    least = e.parameter("hypercalcaemia.vitamin-d-from")
    found: list[tuple[str, Fact | Finding]] = [
        (use.ingredient, use)
        for use in taken(e, "active-vitamin-d-or-25oh", "active-vitamin-d", "vitamin-d-25oh")
    ]
    found += [
        ("vitamin-d-intake", made)
        for made in e.findings("vitamin-d-intake")
        if amount(made, "daily") >= least.value or amount(made, "unknown_products") > 0
    ]
    found += [
        ("calcium-intake", made)
        for made in e.findings("calcium-intake")
        if amount(made, "products") > 0
    ]
    if found:
        names = e.parameter("exposure.words").value
        first = found[0][0]
        yield e.finding(
            "calcium-raising-exposure", because=[why for _, why in found], parameters=(least,),
            first=names.get(first, first), sources=len(found),
        )  # fmt: skip


@derivation(gives=("suppressed-pth",), requires=("hypercalcaemia",))
def suppressed_pth(e: Evidence) -> Iterator[Finding]:
    """A low parathyroid hormone beside high calcium points away from the parathyroid glands."""
    low, window = e.parameter("pth.low"), e.parameter("pth.window")
    for lab in e.labs_of("pth"):
        days = e.days_since(lab.taken)
        if lab.unit not in low.value or days is None or not 0 <= days <= window.value:
            continue
        if interval_of(lab).below(low.value[lab.unit]):
            yield e.finding(
                "suppressed-pth",
                because=(lab,),
                parameters=(low, window),
                value=lab.value,
                unit=lab.unit,
                taken=lab.taken,
            )
        return
