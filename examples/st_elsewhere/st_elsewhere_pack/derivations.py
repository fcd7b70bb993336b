"""Strong vitamin D capsules, whatever their schedule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rules.authoring import derivation

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.facts import Finding


@derivation(
    gives=["ste-strong-capsule"],
    reads=["vitamin-d-loading", "vitamin-d-loading-overrun", "vitamin-d-high-strength-daily"],
)
def strong_vitamin_d_capsule(e: Evidence) -> Iterator[Finding]:
    """A loading course, ended or not, or a daily mistake: the capsule is the same."""
    strong = e.parameter_or_none("ste.warfarin.loading-from")
    if strong is None:
        return  # a replay of a day before the committee's decision
    courses = ("vitamin-d-loading", "vitamin-d-loading-overrun", "vitamin-d-high-strength-daily")
    for made in (one for name in courses for one in e.findings(name)):
        if made.amount >= strong.value:
            yield e.finding(
                "ste-strong-capsule",
                made.about,
                because=(made,),
                parameters=(strong,),
                amount=made.amount,
            )
