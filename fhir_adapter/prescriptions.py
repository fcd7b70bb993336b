"""What a record says is taken, and how: product and dosage together, apart from who takes it and since when.

The same product with the same dosage repeats endlessly, in a population and from call to call. It is read
once: the answer depends on nothing but these two elements, so it is kept under their exact bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta, tzinfo
from typing import NamedTuple

import orjson

from fhir_adapter.dosage import Dose, read_dosages, worded_dose
from fhir_adapter.elements import Resource
from fhir_adapter.lens import Lens
from fhir_adapter.product_words import Part
from fhir_adapter.products import Product, product_of
from fhir_adapter.regimen import Regimen, regimen_of
from rules.vocabulary import Vocabulary

_KEPT = 4096
_read: dict[tuple[Vocabulary, tzinfo, bytes], Prescription] = {}


class Line(NamedTuple):
    """One ingredient with its classes, its regimen, and whether it acts on the whole body."""

    part: Part
    classes: tuple[str, ...]
    unit: str
    regimen: Regimen
    systemic: bool | None


class Prescription(NamedTuple):
    """One product as taken.

    ``last`` is set only when every dosage element has an end. ``unread`` says why a dosage that is there gives no
    daily dose; it is empty where none is recorded, and for doses that have none (once, or as needed).
    """

    product: Product
    lines: tuple[Line, ...] = ()
    words: tuple[str, ...] = ()
    route: str = ""
    single: bool = False
    as_needed: bool = False
    bounded_days: int | None = None
    doses: int | None = None
    first: date | None = None
    last: date | None = None
    unread: str = ""


def prescription_of(
    record: Resource, medications: Mapping[str, Resource], lens: Lens
) -> Prescription:
    """Read product and dosage of a statement or request."""
    concept = record.get("medicationCodeableConcept")
    if concept.__class__ is not dict or "medicationReference" in record or "medication" in record:
        return _fresh(record, medications, lens)
    try:
        content = orjson.dumps((concept, record.get("dosageInstruction", record.get("dosage"))))
    except (TypeError, ValueError):
        return _fresh(record, medications, lens)
    key = (lens.vocabulary, lens.zone, content)
    known = _read.get(key)
    if known is None:
        known = _fresh(record, medications, lens)
        if len(_read) >= _KEPT:
            _read.clear()
        _read[key] = known
    return known


def _fresh(record: Resource, medications: Mapping[str, Resource], lens: Lens) -> Prescription:
    product = product_of(record, medications, lens.vocabulary)
    if not product.parts:
        return Prescription(product)
    doses = read_dosages(record, lens)
    if not doses and product.name:
        said = worded_dose(product.name, lens.vocabulary)
        if said.interval_days is not None:
            doses = [_dose_in_name(said)]
    route = next((dose.route for dose in doses if dose.route), "")
    starts = [dose.start for dose in doses if dose.start]
    ends = [dose.end for dose in doses if dose.end]
    bounded = [dose.bounded_days for dose in doses if dose.bounded_days]
    planned = [dose.doses for dose in doses if dose.doses]
    lines = tuple(_line(part, product, doses, route, lens.vocabulary) for part in product.parts)
    occasional = any(dose.single or dose.as_needed for dose in doses)
    unread = (line.regimen.problem for line in lines if line.regimen.daily is None)
    return Prescription(
        product,
        lines,
        tuple(dose.words for dose in doses if dose.words),
        route,
        any(dose.single for dose in doses),
        any(dose.as_needed for dose in doses),
        max(bounded) if bounded else _length(starts, ends),
        max(planned) if planned else None,
        min(starts) if starts else None,
        max(ends) if ends and len(ends) == len(doses) else None,
        next(unread, "") if doses and not occasional else "",
    )


def _dose_in_name(said: Dose) -> Dose:
    """A name like "Vitamin D3 2000 IU daily" states strength and frequency: its strength is the dose."""
    return said._replace(amounts=(), pieces=said.pieces or 1.0, relation="")


def _length(starts: list[date], ends: list[date]) -> int | None:
    if not starts or not ends:
        return None
    length = (max(ends) - min(starts) + timedelta(days=1)).days
    return length if length > 0 else None


def _line(
    part: Part, product: Product, doses: list[Dose], route: str, vocabulary: Vocabulary
) -> Line:
    regimen = regimen_of(part, product.parts, doses, vocabulary)
    unit = vocabulary.unit_of(part.ingredient) if regimen.amount is not None else ""
    systemic = vocabulary.systemic_route(route)
    if systemic is None:
        systemic = _systemic(part, product, doses, vocabulary)
    return Line(part, vocabulary.classes(part.ingredient), unit, regimen, systemic)


def _systemic(
    part: Part, product: Product, doses: list[Dose], vocabulary: Vocabulary
) -> bool | None:
    """Without a route the form decides; creams and tablets of one substance need some sign of either."""
    if product.topical:
        return False
    entry = vocabulary.ingredients.get(part.ingredient)
    pieces = part.amount is not None or any(dose.pieces is not None for dose in doses)
    return None if entry is not None and entry.topical_forms and not pieces else True
