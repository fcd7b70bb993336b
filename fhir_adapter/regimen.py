"""From dosage and strength to an amount a day: what is not stated stays unknown, with the reason."""

from __future__ import annotations

from typing import NamedTuple

from fhir_adapter.dosage import Dose
from fhir_adapter.product_words import Part
from rules.vocabulary import Vocabulary

_CLOSE = 0.01
_RATIOS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


class Regimen(NamedTuple):
    """Amount per administration, days between administrations, amount a day; in the ingredient's unit."""

    amount: float | None = None
    interval_days: float | None = None
    daily: float | None = None
    problem: str = ""
    note: str = ""


def regimen_of(
    part: Part, parts: tuple[Part, ...], doses: list[Dose], vocabulary: Vocabulary
) -> Regimen:
    """Add up the dosage elements of one ingredient."""
    if not doses:
        return Regimen(problem="no dosage is recorded")
    if len({dose.sequence for dose in doses}) > 1:
        return Regimen(problem="the dosage has several steps")
    regimens = [_one(part, parts, dose, vocabulary) for dose in doses]
    if len(regimens) == 1:
        return regimens[0]
    notes = [one.note for one in regimens if one.note]
    unknown = next((one for one in regimens if one.daily is None), None)
    if unknown is not None:
        return Regimen(problem=unknown.problem, note="; ".join(dict.fromkeys(notes)))
    daily = sum(one.daily or 0.0 for one in regimens)
    often = sum(1 / one.interval_days for one in regimens if one.interval_days)
    interval = 1 / often
    note = "; ".join(dict.fromkeys([*notes, "several doses of one day are added up"]))
    return Regimen(round(daily * interval, 6), round(interval, 6), round(daily, 6), note=note)


def _one(part: Part, parts: tuple[Part, ...], dose: Dose, vocabulary: Vocabulary) -> Regimen:
    note = "; ".join(dose.notes)
    if dose.problem:
        return Regimen(problem=f"the dosage cannot be read: {dose.problem}", note=note)
    amount, problem = amount_of(part, parts, dose, vocabulary)
    interval = round(dose.interval_days, 6) if dose.interval_days else None
    if amount is None:
        return Regimen(None, interval, problem=problem, note=note)
    if amount <= 0:  # a placeholder of the sending system: a dose of nothing is not a dose
        return Regimen(None, interval, problem="the amount is recorded as zero", note=note)
    if dose.single:
        return Regimen(amount, problem="it is a single dose", note=note)
    if dose.interval_days is None:
        problem = "how often it is taken is not recorded"
        if dose.ambiguous:
            problem = "the instruction can be read in two ways"
        limit = vocabulary.never_daily_from(part.ingredient)
        if limit is not None and amount >= limit:
            problem += "; such an amount is usually taken weekly or monthly"
        return Regimen(amount, problem=problem, note=note)
    if dose.ambiguous:
        return Regimen(None, interval, problem="the instruction can be read in two ways", note=note)
    return Regimen(amount, interval, round(amount / dose.interval_days, 6), note=note)


def amount_of(
    part: Part, parts: tuple[Part, ...], dose: Dose, vocabulary: Vocabulary
) -> tuple[float | None, str]:
    """Amount of one ingredient per administration in its own unit, or why it is unknown."""
    if dose.amounts:
        return _from_amounts(part, parts, dose, vocabulary)
    if dose.pieces is not None:
        return _times(part, "piece", dose.pieces, "the strength of one piece is not known")
    if dose.volume is not None:
        return _times(part, "mL", dose.volume, "the dose is a volume of unknown concentration")
    if dose.drops is not None:
        return _times(part, "drop", dose.drops, "the dose is in drops of unknown strength")
    if part.amount is not None:
        return None, "how many pieces are taken is not recorded"
    return None, "the amount is not recorded"


def _times(part: Part, per: str, count: float, otherwise: str) -> tuple[float | None, str]:
    if part.amount is None or part.per != per:
        return None, part.problem or otherwise
    return round(part.amount * count, 6), ""


def _from_amounts(
    part: Part, parts: tuple[Part, ...], dose: Dose, vocabulary: Vocabulary
) -> tuple[float | None, str]:
    value, unit = next(((v, u) for v, u in dose.amounts if u.dimension == "units"), dose.amounts[0])
    measured = [
        (one, amount)
        for one in parts
        if (amount := vocabulary.amount(one.ingredient, value, unit)) is not None
    ]
    if not measured:
        return None, "the unit of the dose does not fit the substance"
    if not _agree(part, dose, vocabulary):
        return None, "two different amounts are stated"
    if len(measured) > 1:
        fitting = [(one, a) for one, a in measured if _ratio(a, one) is not None]
        if len(fitting) != 1:
            return None, "the dose does not say which ingredient it counts"
        measured = fitting
    counted, stated = measured[0]
    own = counted.ingredient == part.ingredient
    pieces = dose.pieces
    if dose.relation == "each" and pieces is not None:
        stated *= pieces
    elif dose.relation == "unclear" and pieces is not None and pieces != 1:
        if counted.amount is None:
            return None, "whether the amount is for one piece or for all is unclear"
        if abs(stated - counted.amount) <= _CLOSE * stated:
            stated *= pieces
        elif abs(stated - counted.amount * pieces) > _CLOSE * stated:
            return None, "pieces, strength and amount contradict each other"
    if own:
        return round(stated, 6), ""
    ratio = _ratio(stated, counted)
    if ratio is None or part.amount is None or part.per != "piece":
        return None, part.problem or "the dose counts another ingredient of the product"
    return round(part.amount * ratio, 6), ""


def _agree(part: Part, dose: Dose, vocabulary: Vocabulary) -> bool:
    """Two figures of one dose, as in "125 mcg (5,000 units)", must be the same amount."""
    amounts = [vocabulary.amount(part.ingredient, v, u) for v, u in dose.amounts]
    given = [one for one in amounts if one is not None]
    tolerance = vocabulary.content.label_tolerance
    margin = tolerance.value if tolerance else 0.0
    return all(abs(one - given[0]) <= margin * given[0] for one in given)


def _ratio(stated: float, part: Part) -> float | None:
    """How many pieces make the stated amount, if that is a usual number."""
    if not part.amount or part.per != "piece":
        return None
    return next((r for r in _RATIOS if abs(stated / part.amount - r) <= _CLOSE * r), None)
