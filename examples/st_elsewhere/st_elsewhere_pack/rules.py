"""What the anticoagulation pharmacist of St Elsewhere wants to see."""

from typing import Any

from rules.authoring import Outcome, c, finding, recommend, rule, when_all


@rule("ste-warfarin-strong-vitamin-d")
@when_all(
    c.vka << finding("current-vka"),
    c.capsule << finding("ste-strong-capsule"),
)
def strong_vitamin_d_on_an_antagonist(case: Any) -> Outcome:
    """The capsule is the subject: the pharmacist reads its label."""
    return recommend(case.capsule, case.vka)
