"""Dosage elements of every FHIR version: structure first, words fill what it leaves open."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from math import isclose
from typing import Any, NamedTuple

from fhir_adapter.dose_words import WordedDose, read_dose_words
from fhir_adapter.elements import (
    Resource,
    codes,
    codings,
    mapping,
    mappings,
    number,
    text,
    words_of,
)
from fhir_adapter.lens import Lens
from fhir_adapter.timing import read_timing
from rules.naming import fold
from rules.units import DoseUnit
from rules.vocabulary import Vocabulary

_PREFERRED = ("ordered", "calculated")
_QUANTITIES = ("doseQuantity", "doseSimpleQuantity", "quantityQuantity", "quantity")
_RANGES = ("doseRange", "quantityRange")
_CLOSE = 0.01
_PIECES = DoseUnit("pieces")
OTHER_AMOUNT = "the instruction in words gives another amount; the structured one counts"
OTHER_FREQUENCY = "the instruction in words gives another frequency; the structured one counts"
RANGE = "a range is given; its high end counts"


class Dose(NamedTuple):
    """One dosage element: amounts as in words, how often, how long, by which route."""

    amounts: tuple[tuple[float, DoseUnit], ...] = ()
    pieces: float | None = None
    volume: float | None = None
    drops: float | None = None
    relation: str = ""
    interval_days: float | None = None
    ambiguous: bool = False
    as_needed: bool = False
    single: bool = False
    bounded_days: int | None = None
    doses: int | None = None
    start: date | None = None
    end: date | None = None
    route: str = ""
    sequence: float | None = None
    words: str = ""
    notes: tuple[str, ...] = ()
    problem: str = ""


class _Quantity(NamedTuple):
    value: float = 0.0
    unit: DoseUnit | None = None
    ranged: bool = False
    problem: str = ""


def read_dosages(record: Resource, lens: Lens) -> list[Dose]:
    """Every dosage element of a statement or request, in order."""
    return [_read(element, sequence, lens) for element, sequence in _elements(record)]


def worded_dose(words: str, vocabulary: Vocabulary) -> Dose:
    """A dose that stands only in words."""
    return _filled(Dose(words=words), read_dose_words(words, vocabulary))


def _elements(record: Resource) -> Iterator[tuple[Resource, float | None]]:
    raw = record.get("dosageInstruction", record.get("dosage"))
    for element in mappings(raw):
        steps = mappings(element.get("step"))
        if not steps:
            yield element, number(element.get("sequence"))
        for place, step in enumerate(steps):  # in the R6 ballot dosage is an object of steps
            for component in mappings(step.get("component")) or [step]:
                yield component, float(place) if len(steps) > 1 else None


def _read(element: Resource, sequence: float | None, lens: Lens) -> Dose:
    vocabulary = lens.vocabulary
    words = text(element.get("text")) or text(element.get("patientInstruction"))
    said = read_dose_words(words, vocabulary)
    timing = read_timing(element.get("timing"), lens)
    quantity = _quantity(element, vocabulary)
    problem = quantity.problem or timing.problem
    if element.get("modifierExtension"):
        problem = "it carries a modifier that is not understood"
    dose = Dose(
        interval_days=timing.interval_days,
        as_needed=_as_needed(element) or said.as_needed,
        single=timing.single,
        bounded_days=timing.bounded_days or said.bounded_days,
        doses=timing.doses,
        start=timing.start,
        end=timing.end,
        route=route_of(element.get("route"), vocabulary),
        sequence=sequence,
        words=words,
        problem=problem,
    )
    notes: list[str] = [RANGE] if quantity.ranged or timing.ranged else []
    if quantity.unit is not None:
        dose = _with_quantity(dose, quantity.value, quantity.unit)
        if (
            dose.pieces is not None
            and said.pieces is not None
            and not isclose(dose.pieces, said.pieces, abs_tol=_CLOSE)
        ):
            notes.append(OTHER_AMOUNT)
    if (
        said.interval_days
        and dose.interval_days
        and not isclose(said.interval_days, dose.interval_days, rel_tol=_CLOSE)
    ):
        notes.append(OTHER_FREQUENCY)
    dose = dose._replace(notes=tuple(notes))
    return dose if problem else _filled(dose, said)


def _with_quantity(dose: Dose, value: float, unit: DoseUnit) -> Dose:
    if unit.dimension == "pieces":
        return dose._replace(pieces=value)
    if unit.dimension == "volume":
        return dose._replace(volume=value * unit.times)
    if unit.dimension == "drops":
        return dose._replace(drops=value)
    return dose._replace(amounts=((value, unit),), relation="total")


def _filled(dose: Dose, said: WordedDose) -> Dose:
    """Words fill what the structure leaves open, amount and frequency apart."""
    if not dose.amounts and dose.pieces is dose.volume is dose.drops is None:
        dose = dose._replace(
            amounts=tuple((one.value, one.unit) for one in said.strengths),
            pieces=said.pieces,
            volume=said.volume,
            drops=said.drops,
            relation=said.relation,
            ambiguous=said.ambiguous,
            notes=(*dose.notes, RANGE) if said.ranged and RANGE not in dose.notes else dose.notes,
        )
    if dose.interval_days is None and not dose.single:
        dose = dose._replace(
            interval_days=said.interval_days,
            single=said.single,
            ambiguous=said.ambiguous,
        )
    return dose


def _quantity(element: Resource, vocabulary: Vocabulary) -> _Quantity:
    rates = sorted(mappings(element.get("doseAndRate")), key=_preference)
    for holder in (*rates, element):
        for key in _QUANTITIES:
            if holder.get(key):
                return _measured(mapping(holder[key]), vocabulary)
        for key in _RANGES:
            if holder.get(key):
                limits = mapping(holder[key])
                high = mapping(limits.get("high")) or mapping(limits.get("low"))
                return _measured(high, vocabulary, ranged="high" in limits)
    return _Quantity()


def _preference(rate: Resource) -> int:
    """Systems repeat one dose as ordered, calculated and dispensed: take the order, never the sum."""
    kind = rate.get("type")
    said = {*codes(kind), *map(fold, words_of(kind))}
    return next((i for i, name in enumerate(_PREFERRED) if name in said), len(_PREFERRED))


def _measured(quantity: Resource, vocabulary: Vocabulary, *, ranged: bool = False) -> _Quantity:
    value = number(quantity.get("value"))
    if value is None or value < 0:
        return _Quantity(problem="its amount is no number")
    code, unit = text(quantity.get("code")), text(quantity.get("unit"))
    if not code and not unit:
        return _Quantity(value, _PIECES, ranged)
    by_code = vocabulary.dose_unit(code)
    by_unit = vocabulary.dose_unit(unit)
    if by_code and by_unit and by_code != by_unit and code != "1":  # mg is no ug either
        return _Quantity(problem="code and name of its unit contradict each other")
    known = by_unit or by_code
    if known is None:
        return _Quantity(problem="its unit is not understood")
    return _Quantity(value, known, ranged)


def _as_needed(element: Resource) -> bool:
    return (
        element.get("asNeededBoolean") is True
        or element.get("asNeeded") is True
        or bool(mapping(element.get("asNeededCodeableConcept")))
        or bool(element.get("asNeededFor"))
    )


def route_of(concept: Any, vocabulary: Vocabulary) -> str:
    """Route id of a route element; the words as they are when they are not understood, empty when absent."""
    if not concept:
        return ""
    for system, code in codings(concept):
        known = vocabulary.route(system, code)
        if known:
            return known
    words = words_of(concept)
    for said in words:
        known = vocabulary.route_named(said)
        if known:
            return known
    return "other" if words or mapping(concept) else ""
