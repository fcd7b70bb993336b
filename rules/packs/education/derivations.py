"""Long-term vitamin D above the paired range, and which vitamin K is on the list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rules.authoring import derivation
from rules.packs.vitamin_d_status.exposure import amount, taken

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.facts import Finding


@derivation(
    gives=("long-high-vitamin-d",), reads=("vitamin-d-source",), needs=("class:native-vitamin-d",)
)
def long_term_high_vitamin_d(e: Evidence) -> Iterator[Finding]:
    """The sum of what has been taken long enough; what was added lately does not make the rest long-term."""
    above, least = e.parameter("teaching.high-d-above"), e.parameter("teaching.high-d-for")
    long = [
        made for made in e.findings("vitamin-d-source")
        if isinstance(made.values.get("days"), int) and amount(made, "days") >= least.value and not made.values["proposed"]
    ]  # fmt: skip
    daily = sum(amount(made, "daily") for made in long)
    if daily > above.value:
        yield e.finding(
            "long-high-vitamin-d", because=long, parameters=(above, least), daily=daily,
            days=min(int(amount(made, "days")) for made in long),
        )  # fmt: skip


@derivation(
    gives=("no-vitamin-k2-listed", "mk4-supplement", "any-vitamin-k"),
    reads=("vitamin-k-intake", "unspecified-multivitamin", "medication-lists-read"),
)
def vitamin_k_on_the_list(e: Evidence) -> Iterator[Finding]:
    """No K2 can be said only after both lists were read, and not beside a multivitamin of unknown composition."""
    read = e.first("medication-lists-read")
    if read is not None and not taken(e, "k2") and e.first("unspecified-multivitamin") is None:
        yield e.finding("no-vitamin-k2-listed", because=(read,))
    most = e.parameter("teaching.mk4-up-to")
    for intake in e.findings("vitamin-k-intake"):
        mk4 = amount(intake, "mk4")
        if 0 < mk4 <= most.value:
            yield e.finding("mk4-supplement", because=(intake,), parameters=(most,), mk4=mk4)
        if amount(intake, "products") > 0:
            yield e.finding("any-vitamin-k", because=(intake,), products=intake.values["products"])
