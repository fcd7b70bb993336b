"""Calcium: the newest result that counts, corrected for albumin where that is possible, and its grade."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rules.authoring import derivation
from rules.packs.vitamin_d_status.intervals import Interval, interval_of

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.facts import Finding, LabResult, ParameterUse

IONISED, CORRECTED, TOTAL = "calcium-ionised", "calcium-corrected", "calcium"
SECONDS_AN_HOUR = 3600


@dataclass(frozen=True, slots=True)
class _Calcium:
    labs: tuple[LabResult, ...]
    interval: Interval
    kind: str
    parameters: tuple[ParameterUse, ...] = ()

    @property
    def lab(self) -> LabResult:
        return self.labs[0]


@derivation(
    gives=(
        "calcium-measured",
        "calcium-normal",
        "hypercalcaemia",
        "marked-hypercalcaemia",
    ),
    reads=("age-group",),
    needs=("measure:calcium", "measure:calcium-corrected", "measure:calcium-ionised"),
)
def calcium_status(e: Evidence) -> Iterator[Finding]:
    """When calcium was last measured, and whether it is raised (results of the last days only)."""
    newest = _newest(e)
    if newest is None:
        return
    days = e.days_since(newest.lab.taken) or 0
    value = (
        round(newest.lab.value or 0.0, 2)
        if newest.kind != "corrected"
        else round(newest.interval.low, 2)
    )
    missing = (
        (str(e.parameter("calcium.words.uncorrected").value),)
        if newest.kind == "uncorrected"
        else ()
    )
    measured = e.finding(
        "calcium-measured", because=newest.labs, parameters=newest.parameters, missing=missing,
        value=value, comparator=newest.interval.comparator, unit=newest.lab.unit, taken=newest.lab.taken,
        days=days, kind=newest.kind,
    )  # fmt: skip
    yield measured
    first, second = _cut_offs(e, newest)
    grade, used = _grade(e, newest, first, second)
    if grade == 0:
        if newest.interval.up_to(_limit(newest, first)):
            yield e.finding("calcium-normal", because=(measured,), parameters=(first,), days=days)
        return
    window = e.parameter("calcium.window")
    if days <= window.value:
        raised = e.finding(
            "hypercalcaemia", because=(measured,), parameters=(window, *used), missing=missing, grade=grade,
            value=value, comparator=newest.interval.comparator, unit=newest.lab.unit, taken=newest.lab.taken,
            days=days,
        )  # fmt: skip
        yield raised
        if grade > 1:
            yield e.finding("marked-hypercalcaemia", because=(raised,), parameters=(second,))


def _cut_offs(e: Evidence, newest: _Calcium) -> tuple[ParameterUse, ParameterUse]:
    kind = "ionised" if newest.kind == "ionised" else "total"
    return e.parameter(f"calcium.{kind}.grade-1"), e.parameter(f"calcium.{kind}.grade-2")


def _limit(newest: _Calcium, first: ParameterUse) -> float:
    """The laboratory's own upper limit takes the place of the general one."""
    if newest.lab.reference_high is not None:
        return newest.lab.reference_high
    return float(first.value[newest.lab.unit])


def _grade(
    e: Evidence, newest: _Calcium, first: ParameterUse, second: ParameterUse
) -> tuple[int, tuple[ParameterUse, ...]]:
    """0 not raised (or not certainly), 1 above the limit, 2 from the second cut-off on.

    The general limit does not fit infants, whose calcium is higher: without the laboratory's own limit only
    the second cut-off counts for them.
    """
    if newest.interval.from_(second.value[newest.lab.unit]):
        return 2, (second,)
    infant = any(group.values["group"] == "infant" for group in e.findings("age-group"))
    if infant and newest.lab.reference_high is None:
        return 0, ()
    return (1, (first,)) if newest.interval.above(_limit(newest, first)) else (0, ())


def _newest(e: Evidence) -> _Calcium | None:
    """Ionised calcium wins when it is at least as recent as any total; then corrected, then total."""
    ionised, corrected, total = (_first(e, measure) for measure in (IONISED, CORRECTED, TOTAL))
    totals = [one for one in (corrected, total) if one is not None]
    latest = max((one.taken for one in totals if one.taken), default=None)
    if ionised is not None and (
        latest is None or (ionised.taken is not None and ionised.taken >= latest)
    ):
        return _Calcium((ionised,), interval_of(ionised), "ionised")
    if corrected is not None and corrected.taken == latest:
        return _Calcium((corrected,), interval_of(corrected), "laboratory-corrected")
    return _correct(e, total) if total is not None else None


def _first(e: Evidence, measure: str) -> LabResult | None:
    statuses = e.parameter("lab.usable-statuses").value
    units = e.parameter(
        "calcium.ionised.grade-1" if measure == IONISED else "calcium.total.grade-1"
    ).value
    for lab in e.labs_of(measure):
        if (
            lab.status in statuses
            and lab.taken is not None
            and lab.taken <= e.today
            and lab.unit in units
        ):
            return lab
    return None


def _correct(e: Evidence, total: LabResult) -> _Calcium:
    """Corrected calcium = total + factor x (normal albumin - albumin), if albumin was drawn close by."""
    normal, factor = e.parameter("calcium.albumin-normal"), e.parameter("calcium.correction")
    close = e.parameter("calcium.albumin-within")
    for albumin in e.labs_of("albumin"):
        unit = albumin.unit
        if (
            unit not in normal.value
            or albumin.comparator
            or not _close(total, albumin, close.value)
        ):
            continue
        shift = factor.value[total.unit][unit] * (normal.value[unit] - (albumin.value or 0.0))
        interval = interval_of(total) + Interval(shift, shift)
        return _Calcium((total, albumin), interval, "corrected", (normal, factor, close))
    return _Calcium((total,), interval_of(total), "uncorrected", (close,))


def _close(one: LabResult, other: LabResult, hours: float) -> bool:
    if one.instant is not None and other.instant is not None:
        return abs((one.instant - other.instant).total_seconds()) <= hours * SECONDS_AN_HOUR
    if one.taken is None or other.taken is None:
        return False
    return abs((one.taken - other.taken).days) * 24 <= hours
