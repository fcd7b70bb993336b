"""The INR: the latest result and the range it should be in."""

from __future__ import annotations

from collections.abc import Iterator

from rules.authoring import derivation
from rules.evidence import Evidence
from rules.facts import Finding, LabResult
from rules.packs.core.words import text

FINAL = frozenset({"final", "amended", "corrected"})


def inrs(e: Evidence) -> list[LabResult]:
    """Final INR results with a value and a day not in the future, newest first."""
    return e.once("inrs", lambda: _inrs(e))


def _inrs(e: Evidence) -> list[LabResult]:
    return [
        lab
        for lab in e.labs_of("inr")
        if lab.status in FINAL
        and lab.value is not None
        and lab.taken is not None
        and lab.taken <= e.today
    ]


@derivation(gives=["inr-latest"], needs=["measure:inr"])
def latest_inr(e: Evidence) -> Iterator[Finding]:
    """The newest final INR; preliminary ones wait."""
    for lab in inrs(e)[:1]:
        yield e.finding(
            "inr-latest", "inr", because=[lab],
            value=lab.value, comparator=lab.comparator, days=e.days_since(lab.taken), on=lab.taken,
        )  # fmt: skip


@derivation(gives=["inr-target"])
def target_of_the_inr(e: Evidence) -> Iterator[Finding]:
    """The range set for this patient; without one the usual range, and the card says that it is assumed."""
    goals = [goal for goal in e.goals_of("inr") if goal.low is not None and goal.high is not None]
    if goals:
        low = max(goal.low for goal in goals if goal.low is not None)
        high = min(goal.high for goal in goals if goal.high is not None)
        if low < high:
            several = [text(e, "missing_one_inr_target")] if len(goals) > 1 else []
            yield e.finding(
                "inr-target",
                "inr",
                because=goals,
                missing=several,
                low=low,
                high=high,
                assumed=False,
            )
            return
    usual_low, usual_high = e.parameter("inr.target-low"), e.parameter("inr.target-high")
    yield e.finding(
        "inr-target", "inr", because=goals, parameters=[usual_low, usual_high],
        missing=[text(e, "missing_inr_target")],
        low=float(usual_low.value), high=float(usual_high.value), assumed=True,
    )  # fmt: skip
