"""Chronic kidney disease: a stage needs a diagnosis, dialysis, a transplant, or two low eGFR 90 days apart.

One low eGFR is only a low eGFR: acute injury looks the same on one day.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rules.authoring import derivation
from rules.packs.vitamin_d_status.intervals import interval_of

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.facts import Fact, Finding, LabResult, ParameterUse


@derivation(
    gives=("ckd", "ckd-from-stage-3", "low-egfr"),
    needs=(
        "measure:egfr",
        "problem:ckd",
        "problem:dialysis",
        "problem:kidney-transplant",
        "procedure:dialysis",
        "procedure:kidney-transplant",
    ),
)
def kidney_disease(e: Evidence) -> Iterator[Finding]:
    """The worst stage that any of the four kinds of evidence supports."""
    stages = e.parameter("ckd.stages")
    known: list[tuple[int, Fact]] = []
    unstaged: list[Fact] = []
    for condition in e.conditions_of("ckd"):
        if condition.clinical_status == "active":
            if condition.stage is None:
                unstaged.append(condition)
            else:
                known.append((condition.stage, condition))
    for status in ("dialysis", "kidney-transplant"):
        stage = int(e.parameter(f"ckd.stage-of-{status}").value)
        conditions = [one for one in e.conditions_of(status) if one.clinical_status == "active"]
        known.extend((stage, one) for one in (*conditions, *e.procedures_of(status)))
    egfr, parameters = _egfr(e)
    low = egfr is not None and interval_of(egfr).below(_highest(stages))
    older = _lasting(e, egfr) if egfr is not None and low else None
    if egfr is not None and older is not None:
        known += [(_stage(egfr, stages), one) for one in (egfr, older)]
    if known:
        worst = max(stage for stage, _ in known)
        because = tuple(fact for stage, fact in known if stage == worst)
        made = e.finding("ckd", because=because, parameters=(stages, *parameters), stage=worst)
        yield made
        if worst >= e.parameter("ckd.stage-that-matters").value:
            yield e.finding("ckd-from-stage-3", because=(made,), stage=worst)
    elif unstaged:
        yield e.finding("ckd", because=unstaged, missing=("stage",))
    if egfr is not None and low:
        yield e.finding(
            "low-egfr",
            because=(egfr,),
            parameters=(stages, *parameters),
            value=egfr.value,
            taken=egfr.taken,
        )


def _egfr(e: Evidence) -> tuple[LabResult | None, tuple[ParameterUse, ...]]:
    window = e.parameter("egfr.window")
    for lab in _usable(e):
        days = e.days_since(lab.taken)
        return (lab if days is not None and days <= window.value else None), (window,)
    return None, (window,)


def _usable(e: Evidence) -> list[LabResult]:
    statuses = e.parameter("lab.usable-statuses").value
    return [
        lab
        for lab in e.labs_of("egfr")
        if lab.status in statuses and lab.taken and lab.taken <= e.today
    ]


def _lasting(e: Evidence, newest: LabResult) -> LabResult | None:
    """An older eGFR far enough back that is low as well, if none in between was normal."""
    apart, limit = e.parameter("ckd.apart").value, _highest(e.parameter("ckd.stages"))
    for lab in _usable(e):
        if not interval_of(lab).below(limit):
            return None
        if (
            newest.taken is not None
            and lab.taken is not None
            and (newest.taken - lab.taken).days >= apart
        ):
            return lab
    return None


def _highest(stages: ParameterUse) -> float:
    return float(max(row["below"] for row in stages.value))


def _stage(egfr: LabResult, stages: ParameterUse) -> int:
    fitting = [row for row in stages.value if interval_of(egfr).below(row["below"])]
    return int(max(row["stage"] for row in fitting))
