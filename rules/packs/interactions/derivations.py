"""Diseases in which vitamin D is dangerous, and what speaks for a recent check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rules.authoring import derivation
from rules.packs.vitamin_d_status.exposure import amount, days_on, taken

if TYPE_CHECKING:
    from datetime import date

    from rules.evidence import Evidence
    from rules.facts import Fact, Finding

ACTIVE = ("active-vitamin-d-or-25oh", "active-vitamin-d", "vitamin-d-25oh")


@derivation(
    gives=("vitamin-d-in-any-form",),
    reads=("vitamin-d-intake",),
    needs=(
        "class:native-vitamin-d",
        "class:active-vitamin-d",
        "class:active-vitamin-d-or-25oh",
        "class:vitamin-d-25oh",
    ),
)
def vitamin_d_in_any_form(e: Evidence) -> Iterator[Finding]:
    """Native vitamin D, calcifediol or an analogue, taken or drafted, of whatever dose."""
    uses = taken(e, "native-vitamin-d", *ACTIVE)
    if uses:
        drafts_first = sorted(uses, key=lambda use: use.taking != "draft")
        yield e.finding(
            "vitamin-d-in-any-form",
            because=uses,
            first=drafts_first[0].ingredient,
            sources=len({use.record for use in uses}),
        )


@derivation(
    gives=("granulomatous-checked",),
    reads=("calcium-normal",),
    requires=("granulomatous-disease", "calcium-normal"),
)
def granulomatous_disease_checked(e: Evidence) -> Iterator[Finding]:
    """Both are needed: a normal calcium, and the hormone that the disease itself may make."""
    calcium, hormone = (
        e.parameter("granulomatous.calcium-within"),
        e.parameter("granulomatous.calcitriol-within"),
    )
    normal = [
        made for made in e.findings("calcium-normal") if amount(made, "days") <= calcium.value
    ]
    measured = [lab for lab in e.labs_of("1-25-ohd") if _within(e, lab.taken, hormone.value)]
    if normal and measured:
        yield e.finding(
            "granulomatous-checked", because=(normal[0], measured[0]), parameters=(calcium, hormone)
        )


@derivation(
    gives=("phpt-vitamin-d",),
    reads=("vitamin-d-intake", "vitamin-d-loading"),
    requires=("primary-hyperparathyroidism",),
    needs=("class:native-vitamin-d",),
)
def vitamin_d_in_primary_hyperparathyroidism(e: Evidence) -> Iterator[Finding]:
    """More than the careful dose, or a loading course."""
    above = e.parameter("phpt.vitamin-d-above")
    loading = e.findings("vitamin-d-loading")
    for intake in e.findings("vitamin-d-intake"):
        if amount(intake, "daily") > above.value or loading:
            yield e.finding(
                "phpt-vitamin-d",
                because=(intake, *loading),
                parameters=(above,),
                daily=intake.values["daily"],
            )


@derivation(gives=("ckd-monitoring-due",), reads=("vitamin-d-intake", "calcium-intake", "calcium-measured", "active-vitamin-d-taken"), requires=("ckd-from-stage-3", "minerals-read"))  # fmt: skip
def ckd_monitoring_due(e: Evidence) -> Iterator[Finding]:
    """Vitamin D, an analogue or calcium in kidney disease, and calcium older than the stage allows."""
    kidney, table, least = (
        e.findings("ckd-from-stage-3")[0],
        e.parameter("ckd.monitoring"),
        e.parameter("ckd.vitamin-d-from"),
    )
    stage = int(amount(kidney, "stage"))
    window = next(int(row["days"]) for row in table.value if int(row["stage"]) == stage)
    words = e.parameter("exposure.words").value
    found: list[tuple[str, Fact | Finding]] = [
        (str(made.values["drug"]), made) for made in e.findings("active-vitamin-d-taken")
    ]
    found += [
        (words["vitamin-d-intake"], made)
        for made in e.findings("vitamin-d-intake")
        if amount(made, "daily") >= least.value
    ]
    found += [
        (words["calcium-intake"], made)
        for made in e.findings("calcium-intake")
        if amount(made, "products") > 0
    ]
    recent = any(amount(made, "days") <= window for made in e.findings("calcium-measured"))
    if found and not recent:
        yield e.finding(
            "ckd-monitoring-due", because=(kidney, *(why for _, why in found), *e.findings("calcium-measured")),
            parameters=(table, least), stage=stage, exposure=found[0][0], window=window,
        )  # fmt: skip


@derivation(
    gives=("vitamin-d-loss-drug",),
    needs=(
        "class:enzyme-inducer",
        "class:glucocorticoid",
    ),
)
def drug_that_lowers_vitamin_d(e: Evidence) -> Iterator[Finding]:
    """Enzyme inducers and systemic glucocorticoids, taken for months; the longest one speaks for all."""
    least = e.parameter("loss.taken-for")
    known = days_on(e, "enzyme-inducer")
    # Glucocorticoids are often creams, sprays or inhalers: only what is known to be systemic counts.
    known += [
        one for one in days_on(e, "glucocorticoid") if any(use.systemic is True for use in one[2])
    ]
    long = sorted(
        (one for one in known if one[1] >= least.value), key=lambda one: (-one[1], one[0])
    )
    if long:
        drug, days, _ = long[0]
        uses = [use for _, _, current in long for use in current]
        yield e.finding(
            "vitamin-d-loss-drug", because=uses, parameters=(least,), drug=drug, days=days
        )


@derivation(
    gives=("malabsorption-response",),
    reads=("fat-malabsorption", "vitamin-d-level", "vitamin-d-level-under-adequate", "vitamin-d-source", "vitamin-d-intake", "vitamin-k-intake"), needs=("measure:25ohd", "class:fat-malabsorption-drug"))  # fmt: skip
def malabsorption_response(e: Evidence) -> Iterator[Finding]:
    """A level that stays low on enough vitamin D, or a fat blocker about to be ordered beside vitamin D or K."""
    causes: list[tuple[str, Fact | Finding]] = [
        (str(made.values["cause"]), made) for made in e.findings("fat-malabsorption")
    ]
    drugs = taken(e, "fat-blocker", "bile-acid-sequestrant")
    causes += [(use.ingredient, use) for use in drugs if use.taking == "yes"]
    level = e.first("vitamin-d-level") if e.first("vitamin-d-level-under-adequate") else None
    enough = _taken_long_enough(e, level)
    if causes and level is not None and enough:
        used = (e.parameter("malabsorption.intake-from"), e.parameter("malabsorption.taken-for"))
        yield e.finding(
            "malabsorption-response",
            because=(*(why for _, why in causes), level, *enough),
            parameters=used,
            cause=causes[0][0],
        )
        return
    drafts = [use for use in taken(e, "fat-malabsorption-drug") if use.taking == "draft"]
    products = [
        made
        for name in ("vitamin-d-intake", "vitamin-k-intake")
        for made in e.findings(name)
        if amount(made, "products") > 0
    ]
    if e.context.moment == "order" and drafts and products:
        yield e.finding(
            "malabsorption-response", because=(*drafts, *products), cause=drafts[0].ingredient
        )


def _taken_long_enough(e: Evidence, level: Finding | None) -> list[Finding]:
    """Sources that were taken long enough before the level was drawn, if together they are a treatment dose."""
    least, long = e.parameter("malabsorption.intake-from"), e.parameter("malabsorption.taken-for")
    if level is None:
        return []
    before = amount(level, "days")
    sources = [
        made for made in e.findings("vitamin-d-source")
        if isinstance(made.values.get("days"), int) and amount(made, "days") - before >= long.value
    ]  # fmt: skip
    return sources if sum(amount(made, "daily") for made in sources) >= least.value else []


@derivation(
    gives=("stone-load", "urine-calcium-known"),
    reads=("vitamin-d-intake", "calcium-intake"),
    requires=("stone-disease",),
)
def stones_with_vitamin_d_or_calcium(e: Evidence) -> Iterator[Finding]:
    """Much vitamin D, or some vitamin D with much calcium, in somebody who forms stones."""
    disease = e.findings("stone-disease")[0]
    above, some = (
        e.parameter("stones.vitamin-d-above"),
        e.parameter("stones.vitamin-d-with-calcium"),
    )
    much, within = e.parameter("calcium.much"), e.parameter("stones.urine-within")
    intake, calcium = e.first("vitamin-d-intake"), e.first("calcium-intake")
    daily, elemental = amount(intake, "daily"), amount(calcium, "daily")
    if daily > above.value or (daily >= some.value and elemental >= much.value):
        because = [
            disease,
            *e.findings("vitamin-d-intake"),
            *(e.findings("calcium-intake") if elemental else ()),
        ]
        yield e.finding(
            "stone-load", because=because, parameters=(above, some, much), disease=disease.values["disease"],
            daily=daily, calcium=elemental,
        )  # fmt: skip
    kinds = e.parameter("stones.urine-collections").value  # a spot sample is no 24-hour collection
    urine = [lab for lab in e.labs_of("urine-calcium") if lab.group in kinds]
    measured = [lab for lab in urine if _within(e, lab.taken, within.value)]
    if measured:
        yield e.finding("urine-calcium-known", because=measured, parameters=(within,))


def _within(e: Evidence, day: date | None, window: float) -> bool:
    days = e.days_since(day)
    return days is not None and 0 <= days <= window
