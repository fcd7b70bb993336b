"""25-hydroxyvitamin D: which result is the status value, and into which band it falls.

1,25-dihydroxyvitamin D and parent vitamin D are other measures and never come in here. A cut-off is a pair
(ng/mL | nmol/L) and is compared in the family in which the result was reported: converting 30 nmol/L
(12.02 ng/mL) or 375 nmol/L (150.24 ng/mL) would change the band at the edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rules.authoring import derivation
from rules.packs.vitamin_d_status.exposure import taken
from rules.packs.vitamin_d_status.intervals import Interval, interval_of

if TYPE_CHECKING:
    from datetime import date

    from rules.evidence import Evidence
    from rules.facts import Finding, LabResult, ParameterUse

MEASURE = "25ohd"
TOTALS = ("total", "total-legacy")
_NOTHING = Interval(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one blood draw says about total 25(OH)D; ``problem`` when it says nothing."""

    labs: tuple[LabResult, ...]
    interval: Interval = _NOTHING
    assumed_total: bool = False
    problem: str = ""

    @property
    def lab(self) -> LabResult:
        """The result that gives unit and day."""
        return self.labs[0]


@derivation(
    gives=(
        "vitamin-d-level", "vitamin-d-level-severe", "vitamin-d-level-under-adequate", "vitamin-d-level-very-high",
        "vitamin-d-latest", "vitamin-d-low-before", "vitamin-d-unusable", "vitamin-d-newer-unusable",
    ),
    reads=("age-group", "hypercalcaemia"), needs=("measure:25ohd",))  # fmt: skip
def vitamin_d_level(e: Evidence) -> Iterator[Finding]:
    """The newest draw that can be read, banded by the profile (by the paediatric table under 18)."""
    readings = [_with_known_unit(e, one) for one in _readings(e)]
    unusable = [one for one in readings if one.problem]
    usable = [one for one in readings if not one.problem]
    window = e.parameter("vitd.level.window")
    newest = usable[0] if usable else None
    yield from _unusable(e, unusable, newest, window)
    if newest is None:
        return
    days = e.days_since(newest.lab.taken) or 0
    value = round(sum(lab.value or 0.0 for lab in newest.labs), 6)
    latest = e.finding(
        "vitamin-d-latest",
        because=newest.labs,
        value=value,
        comparator=newest.interval.comparator,
        unit=newest.lab.unit,
        taken=newest.lab.taken,
        days=days,
    )
    yield latest
    adequate = e.parameter("vitd.level.adequate")
    low = next((one for one in usable if _below(one, adequate)), None)
    if low is not None:
        yield e.finding(
            "vitamin-d-low-before", because=low.labs, parameters=(adequate,), taken=low.lab.taken
        )
    if days <= window.value:
        yield from _banded(e, newest, latest, days, value)


def _banded(
    e: Evidence, newest: Reading, latest: Finding, days: int, value: float
) -> Iterator[Finding]:
    band, used = _band(e, newest)
    missing = []
    if newest.assumed_total:
        missing.append(str(e.parameter("vitd.words.assumed-total").value))
    level = e.finding(
        "vitamin-d-level", because=(latest,), parameters=(e.parameter("vitd.level.window"), *used), missing=missing,
        value=value, comparator=newest.interval.comparator, unit=newest.lab.unit, taken=newest.lab.taken,
        days=days, band=band, profile=_profile(e), assumed_total=newest.assumed_total,
    )  # fmt: skip
    yield level
    severe = e.parameter("vitd.level.severe")
    adequate = e.parameter("vitd.level.adequate")
    if _below(newest, severe):
        yield e.finding("vitamin-d-level-severe", because=(level,), parameters=(severe,))
    if _below(newest, adequate):
        yield e.finding("vitamin-d-level-under-adequate", because=(level,), parameters=(adequate,))
    very_high = e.parameter_or_none("vitd.band.warning-high")
    if very_high is not None and newest.interval.above(very_high.value[newest.lab.unit]):
        yield e.finding("vitamin-d-level-very-high", because=(level,), parameters=(very_high,))


def _band(e: Evidence, reading: Reading) -> tuple[str, tuple[ParameterUse, ...]]:
    """The band that holds the whole range of the result, and the cut-offs it was compared with.

    A result such as ">100" is at least high: nothing it allows lies lower, although it may be toxic.
    """
    unit, interval = reading.lab.unit, reading.interval
    child = any(group.values["group"] in {"child", "infant"} for group in e.findings("age-group"))
    deficient = e.parameter_or_none("vitd.paediatric.deficient" if child else "vitd.band.deficient")
    insufficient = e.parameter_or_none(
        "vitd.paediatric.insufficient" if child else "vitd.band.insufficient"
    )
    high, toxic = e.parameter_or_none("vitd.band.high"), e.parameter_or_none("vitd.band.toxic")
    with_calcium = e.parameter("vitd.paediatric.toxic-with-hypercalcaemia")
    if toxic and interval.above(toxic.value[unit]):
        return "toxic", (toxic,)
    if child and e.first("hypercalcaemia") and interval.above(with_calcium.value[unit]):
        return "toxic", (with_calcium,)
    if high and interval.above(high.value[unit]):
        return "high", (high, *((toxic,) if toxic else ()))
    if deficient and interval.below(deficient.value[unit]):
        return "deficient", (deficient,)
    floor = deficient.value[unit] if deficient else 0.0
    if insufficient and interval.from_(floor) and interval.below(insufficient.value[unit]):
        return "insufficient", tuple(one for one in (deficient, insufficient) if one)
    floor = insufficient.value[unit] if insufficient else floor
    if interval.from_(floor) and (high is None or interval.up_to(high.value[unit])):
        return "sufficient", tuple(one for one in (insufficient, high) if one)
    return "spans-bands", tuple(one for one in (deficient, insufficient, high) if one)


def _profile(e: Evidence) -> str:
    return e.context.profile


def _below(reading: Reading, cut: ParameterUse) -> bool:
    return reading.interval.below(cut.value[reading.lab.unit])


def _unusable(
    e: Evidence, unusable: list[Reading], newest: Reading | None, window: ParameterUse
) -> Iterator[Finding]:
    """The newest draw that could not be used, as long as nothing newer makes it unimportant."""
    words = e.parameter("lab.words.problems").value
    for one in unusable:
        days = e.days_since(one.lab.taken)
        if days is not None and days > window.value:
            continue
        known = newest is not None and newest.lab.taken is not None
        if known and one.lab.taken is not None and newest.lab.taken >= one.lab.taken:  # type: ignore[union-attr,operator]
            continue
        made = e.finding(
            "vitamin-d-unusable", MEASURE, because=one.labs, parameters=(window,), reported=one.lab.reported,
            reason=words.get(one.problem, one.problem), taken=one.lab.taken,
        )  # fmt: skip
        yield made
        if newest is not None:
            yield e.finding("vitamin-d-newer-unusable", because=(made,))
        return


def _readings(e: Evidence) -> Iterator[Reading]:
    """Every draw once, newest first; D2 alone and results that are not final say nothing."""
    statuses = e.parameter("lab.usable-statuses").value
    labs = [lab for lab in e.facts.labs if lab.measure == MEASURE and lab.status in statuses]
    labs.sort(
        key=lambda lab: (lab.taken is not None, lab.taken or e.today, lab.instant or e.as_of),
        reverse=True,
    )
    by_day: dict[date | None, list[int]] = {}
    for place, lab in enumerate(labs):
        by_day.setdefault(lab.taken, []).append(place)
    done: set[int] = set()
    for place, lab in enumerate(labs):
        if place in done or (lab.taken is not None and lab.taken > e.today):
            continue
        places = [index for index in by_day[lab.taken] if _same_draw(lab, labs[index])]
        done.update(places)
        reading = _read_draw(e, [labs[index] for index in places])
        if reading is not None:
            yield reading


def _same_draw(one: LabResult, other: LabResult) -> bool:
    if one is other:
        return True
    if one.taken is None:
        return False
    if one.specimen and other.specimen:
        return one.specimen == other.specimen
    if one.instant and other.instant:
        return one.instant == other.instant
    return True


def _read_draw(e: Evidence, draw: list[LabResult]) -> Reading | None:
    for group in TOTALS:
        for lab in draw:
            if lab.group == group and not lab.problem:
                return Reading((lab,), interval_of(lab), assumed_total=group == "total-legacy")
    d3 = next((lab for lab in draw if lab.group == "d3" and not lab.problem), None)
    d2 = next((lab for lab in draw if lab.group == "d2" and not lab.problem), None)
    broken = next((lab for lab in draw if lab.problem and lab.group != "d2"), None)
    if d3 is None:
        return Reading((broken,), problem=broken.problem) if broken else None
    if d2 is not None:
        if d2.unit != d3.unit:
            return Reading((d3, d2), problem="fractions-in-two-unit-families")
        return Reading((d3, d2), interval_of(d3) + interval_of(d2))
    if _reports_fractions(e, d3) and _takes_d2(e):
        return Reading((d3,), problem="d3-fraction-only")
    return Reading((d3,), interval_of(d3), assumed_total=True)


def _with_known_unit(e: Evidence, reading: Reading) -> Reading:
    """Cut-offs exist in two unit families; a result in a third one cannot be banded."""
    if reading.problem or reading.lab.unit in e.parameter("vitd.level.adequate").value:
        return reading
    return Reading(reading.labs, problem="unit-not-understood")


def _reports_fractions(e: Evidence, d3: LabResult) -> bool:
    """Whether this laboratory was ever seen to report D2 apart, so that its D3 is truly D3 alone."""
    return any(
        lab.measure == MEASURE and lab.group == "d2" and lab.performer == d3.performer
        for lab in e.facts.labs
    )


def _takes_d2(e: Evidence) -> bool:
    floor = float(e.parameter("vitd.level.d2-that-matters").value)
    uses = [use for use in taken(e, "native-vitamin-d") if use.ingredient == "vitamin-d2"]
    return sum(use.daily or 0.0 for use in uses) >= floor
