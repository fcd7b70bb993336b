"""Drugs that make a high calcium likelier or more dangerous: thiazides, digitalis, two active forms of vitamin D."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rules.authoring import derivation
from rules.packs.vitamin_d_status.exposure import amount, taken

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.facts import Fact, Finding

ACTIVE = ("active-vitamin-d-or-25oh", "active-vitamin-d", "vitamin-d-25oh")


@derivation(
    gives=("thiazide-load",),
    reads=("vitamin-d-intake", "calcium-intake", "active-vitamin-d-taken", "ckd-from-stage-3"),
    needs=("class:thiazide",),
)
def thiazide_with_vitamin_d(e: Evidence) -> Iterator[Finding]:
    """Only much vitamin D, an active analogue, or vitamin D with much calcium in those at higher risk.

    A thiazide with an ordinary vitamin D product is the commonest false alert of this kind.
    """
    thiazides = taken(e, "thiazide")
    above, some = (
        e.parameter("thiazide.vitamin-d-above"),
        e.parameter("thiazide.vitamin-d-with-calcium"),
    )
    older, much = e.parameter("thiazide.older"), e.parameter("calcium.much")
    intake, calcium = e.first("vitamin-d-intake"), e.first("calcium-intake")
    daily, elemental = amount(intake, "daily"), amount(calcium, "daily")
    analogues = e.findings("active-vitamin-d-taken")
    at_risk = (e.patient.age_years or 0) >= older.value or e.first("ckd-from-stage-3") is not None
    load = daily > above.value or bool(analogues)
    load = load or (daily >= some.value and elemental >= much.value and at_risk)
    if thiazides and load:
        because: list[Fact | Finding] = [*thiazides]
        because += [intake] if intake is not None and daily else []
        because += [calcium] if calcium is not None and elemental else []
        yield e.finding(
            "thiazide-load", because=(*because, *analogues), parameters=(above, some, older, much),
            drug=thiazides[0].ingredient, daily=daily, calcium=elemental, analogue=bool(analogues),
        )  # fmt: skip


@derivation(
    gives=("digitalis-risk",),
    reads=("hypercalcaemia", "calcium-raising-exposure", "vitamin-d-intake", "active-vitamin-d-taken", "calcium-measured", "minerals-read"), needs=("class:digitalis",))  # fmt: skip
def digitalis_with_calcium_risk(e: Evidence) -> Iterator[Finding]:
    """High calcium with something that raises it; or much vitamin D while nobody has looked at calcium."""
    digitalis = taken(e, "digitalis")
    if not digitalis:
        return
    words, drug = e.parameter("digitalis.words"), digitalis[0].ingredient
    high, exposure = e.first("hypercalcaemia"), e.first("calcium-raising-exposure")
    if high is not None and exposure is not None:
        yield e.finding(
            "digitalis-risk", because=(*digitalis, high, exposure), drug=drug, state=words.value["high"],
            exposure=exposure.values["first"],
        )  # fmt: skip
        return
    above, within = (
        e.parameter("digitalis.vitamin-d-above"),
        e.parameter("digitalis.calcium-within"),
    )
    analogues = e.findings("active-vitamin-d-taken")
    much = [made for made in e.findings("vitamin-d-intake") if amount(made, "daily") > above.value]
    measured = any(amount(made, "days") <= within.value for made in e.findings("calcium-measured"))
    if (analogues or much) and not measured and e.first("minerals-read"):
        first = (
            analogues[0].values["drug"]
            if analogues
            else e.parameter("exposure.words").value["vitamin-d-intake"]
        )
        yield e.finding(
            "digitalis-risk", because=(*digitalis, *analogues, *much, *e.findings("calcium-measured")),
            parameters=(above, within), drug=drug, state=words.value["not-measured"], exposure=first,
        )  # fmt: skip


@derivation(
    gives=("active-vitamin-d-overlap",),
    reads=("vitamin-d-intake", "vitamin-d-loading", "vitamin-d-high-strength-daily"),
    requires=("active-vitamin-d-taken",),
    needs=("class:active-vitamin-d", "class:active-vitamin-d-or-25oh", "class:vitamin-d-25oh"),
)
def active_vitamin_d_twice(e: Evidence) -> Iterator[Finding]:
    """Two different active forms, or one beside high-dose vitamin D; ordinary repletion is allowed."""
    above, words = e.parameter("overlap.vitamin-d-above"), e.parameter("overlap.words")
    uses = taken(e, *ACTIVE)
    names = sorted({use.ingredient for use in uses})
    much = [made for made in e.findings("vitamin-d-intake") if amount(made, "daily") > above.value]
    much += [
        made
        for name in ("vitamin-d-loading", "vitamin-d-high-strength-daily")
        for made in e.findings(name)
    ]
    if len(names) > 1:
        yield e.finding("active-vitamin-d-overlap", because=uses, drug=names[0], other=names[1])
    elif much:
        yield e.finding(
            "active-vitamin-d-overlap",
            because=(*uses, *much),
            parameters=(above,),
            drug=names[0],
            other=str(words.value),
        )
