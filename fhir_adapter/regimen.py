"""From dosage and strength to an amount a day: what is not stated stays unknown, with the reason."""

from __future__ import annotations

from math import isclose
from typing import NamedTuple

from fhir_adapter.dosage import Dose
from fhir_adapter.product_words import Part
from rules.vocabulary import Vocabulary

_CLOSE = 0.01
_DECIMALS = 6  # what is beyond them is noise of binary fractions
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
        return _rounded(regimens[0])
    notes = dict.fromkeys(note for dose in doses for note in dose.notes)
    unknown = next((one for one in regimens if one.daily is None), None)
    if unknown is not None:
        return Regimen(problem=unknown.problem, note="; ".join(notes))
    daily = sum(one.daily for one in regimens if one.daily is not None)
    interval = 1 / sum(1 / one.interval_days for one in regimens if one.interval_days)
    note = "; ".join([*notes, "several doses of one day are added up"])
    return _rounded(Regimen(daily * interval, interval, daily, note=note))


def _rounded(exact: Regimen) -> Regimen:
    """Rounded once, at the end: three sevenths of what is taken weekly are no 0.428572."""
    amount, interval, daily = (
        None if value is None else round(value, _DECIMALS)
        for value in (exact.amount, exact.interval_days, exact.daily)
    )
    return Regimen(amount, interval, daily, exact.problem, exact.note)


def _one(part: Part, parts: tuple[Part, ...], dose: Dose, vocabulary: Vocabulary) -> Regimen:
    note = "; ".join(dose.notes)
    if dose.problem:
        return Regimen(problem=f"the dosage cannot be read: {dose.problem}", note=note)
    found = amount_of(part, parts, dose, vocabulary)
    interval = dose.interval_days
    if isinstance(found, str):
        return Regimen(None, interval, problem=found, note=note)
    amount = round(found, _DECIMALS)
    if amount <= 0:  # a placeholder of the sending system: a dose of nothing is not a dose
        return Regimen(None, interval, problem="the amount is recorded as zero", note=note)
    if dose.single:
        return Regimen(amount, problem="it is a single dose", note=note)
    if interval is None:
        problem = "how often it is taken is not recorded"
        if dose.ambiguous:
            problem = "the instruction can be read in two ways"
        limit = vocabulary.never_daily_from(part.ingredient)
        if limit is not None and amount >= limit:
            problem += "; such an amount is usually taken weekly or monthly"
        return Regimen(amount, problem=problem, note=note)
    if dose.ambiguous:
        return Regimen(None, interval, problem="the instruction can be read in two ways", note=note)
    return Regimen(amount, interval, amount / interval, note=note)


def amount_of(
    part: Part, parts: tuple[Part, ...], dose: Dose, vocabulary: Vocabulary
) -> float | str:
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
        return "how many pieces are taken is not recorded"
    return "the amount is not recorded"


def _times(part: Part, per: str, count: float, otherwise: str) -> float | str:
    if part.amount is None or part.per != per:
        return part.problem or otherwise
    return part.amount * count


def _from_amounts(
    part: Part, parts: tuple[Part, ...], dose: Dose, vocabulary: Vocabulary
) -> float | str:
    value, unit = next(((v, u) for v, u in dose.amounts if u.dimension == "units"), dose.amounts[0])
    measured = [
        (one, amount)
        for one in parts
        if (amount := vocabulary.amount(one.ingredient, value, unit)) is not None
    ]
    if not measured:
        return "the unit of the dose does not fit the substance"
    if not _agree(part, dose, vocabulary):
        return "two different amounts are stated"
    if len(measured) > 1:
        fitting = [(one, a) for one, a in measured if _ratio(a, one) is not None]
        if len(fitting) != 1:
            return "the dose does not say which ingredient it counts"
        measured = fitting
    counted, stated = measured[0]
    own = counted.ingredient == part.ingredient
    pieces = dose.pieces
    if dose.relation == "each" and pieces is not None:
        stated *= pieces
    elif dose.relation == "unclear" and pieces is not None and pieces != 1:
        if counted.amount is None:
            return "whether the amount is for one piece or for all is unclear"
        if abs(stated - counted.amount) <= _CLOSE * stated:
            stated *= pieces
        elif abs(stated - counted.amount * pieces) > _CLOSE * stated:
            return "pieces, strength and amount contradict each other"
    if own:
        return stated
    ratio = _ratio(stated, counted)
    if ratio is None or part.amount is None or part.per != "piece":
        return part.problem or "the dose counts another ingredient of the product"
    return part.amount * ratio


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
    return next((r for r in _RATIOS if isclose(stated / part.amount, r, rel_tol=_CLOSE)), None)
