"""Observations -> laboratory results in the unit family they were reported in, and diet from social history."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from fhir_adapter.elements import (
    Resource,
    codes,
    mapping,
    mappings,
    name_of,
    notes_of,
    number,
    reference_of,
    text,
    words_of,
)
from fhir_adapter.lens import Lens
from fhir_adapter.moments import Moment, latest_day, moment, period
from rules.code_files import ResultCode
from rules.facts import Diet, LabResult
from rules.units import LabUnit

_USABLE = frozenset({"final", "amended", "corrected"})
_NO_FACT = frozenset({"entered-in-error", "cancelled"})
_COMPARATORS = frozenset({"<", "<=", ">=", ">"})
_WORDED = re.compile(r"\s*(<=|>=|<|>|≤|≥)?\s*(-?\d+(?:[.,]\d+)?)\s*([^\d\s].{0,30})?\s*")
_TOO_MUCH = 1e9  # no result of anything; keeps overflow out of every later step
_SIGNS = {"≤": "<=", "≥": ">="}


class _Value(NamedTuple):
    value: float | None
    comparator: str = ""
    unit: str = ""
    unit_code: str = ""


def read_observation(record: Resource, lens: Lens) -> tuple[list[LabResult], list[Diet]]:
    """Results that some rule can use, and foods that are mentioned as eaten."""
    known = _measured(record.get("code"), lens)
    labs: list[LabResult] = []
    if known is not None:
        lab = _lab(record, record, *known, lens)
        if lab is not None:
            labs.append(lab)
        return labs, []
    for component in mappings(record.get("component")):
        part = _measured(component.get("code"), lens)
        if part is not None:
            lab = _lab(record, component, *part, lens)
            if lab is not None:
                labs.append(lab)
    if labs:
        return labs, []
    diets = _diets(record, lens) if "social-history" in codes(record.get("category")) else []
    if not diets:
        _named_only(record, lens)
        lens.counts["irrelevant_results"] += 1
    return [], diets


def _measured(concept: Any, lens: Lens) -> tuple[ResultCode, str] | None:
    result = lens.vocabulary.result
    codings = (concept if concept.__class__ is dict else mapping(concept)).get("coding")
    for coding in codings if codings.__class__ is list else mappings(codings):
        if coding.__class__ is not dict:
            continue
        system, code = coding.get("system"), coding.get("code")
        if system.__class__ is str and code.__class__ is str:
            code = code.strip()
            found = result(system.strip(), code)
            if found is not None:
                return found, code
    return None


def _named_only(record: Resource, lens: Lens) -> None:
    """A result that we know only by its name (no code, or a local one) is neither used nor lost in silence."""
    status = text(record.get("status")).lower()
    holders = [one for one in (record, *mappings(record.get("component"))) if _holds_value(one)]
    if status in _NO_FACT or not holders:
        return
    for words in (words for one in holders for words in words_of(one.get("code"))):
        measure = lens.vocabulary.result_named(words)
        if measure:
            lens.gap(
                record,
                "code",
                "result-not-coded",
                f"A result named like {lens.vocabulary.title(measure)} has no known code and was not used.",
                (measure, lens.vocabulary.measures[measure].source),
            )
            return


def _holds_value(holder: Resource) -> bool:
    return any(name.startswith("value") for name in holder)


def _lab(
    record: Resource, holder: Resource, known: ResultCode, code: str, lens: Lens
) -> LabResult | None:
    status = text(record.get("status")).lower()
    if status in _NO_FACT:
        lens.take_back(record)
        return None
    measure = known.is_
    taken = _taken(record, lens)
    if taken is not None and taken.first > lens.today:
        # After the moment of the review: it decides nothing, and does not outdate what was drawn before.
        lens.counts["results_of_later_days"] += 1
        lens.gap(
            record,
            "effective[x]",
            "result-of-later-day",
            "The result is dated after the review.",
            (),
        )
        return None
    value = _value(holder)
    unit, problem = _unit(known, value, lens)
    amount = value.value
    if amount is not None and not abs(amount) < _TOO_MUCH:
        amount, problem = None, "implausible"
    if unit is not None and amount is not None:
        amount = round(amount * unit.times, 6)
    if record.get("modifierExtension") or holder.get("modifierExtension"):
        problem = "modifier-not-understood"
        lens.gap(
            record,
            "modifierExtension",
            problem,
            "The result carries a modifier that is not understood.",
            (measure, lens.vocabulary.measures[measure].source),
        )
    if not problem and status not in _USABLE:
        problem = "not-final"
    if not problem and amount is not None and unit is not None and unit.plausible:
        low, high = unit.plausible
        if not low <= amount <= high and not (
            (value.comparator.startswith("<") and amount < low)
            or (value.comparator.startswith(">") and amount > high)
        ):
            problem = "implausible"
    day = taken.first if taken is not None and taken.exact else None
    if not problem and day is None:
        problem = "no-date"
    if problem:
        lens.counts["unusable_results"] += 1
    return LabResult(
        source=(name_of(record),),
        measure=measure,
        value=amount,
        unit=unit.unit if unit else "",
        comparator=value.comparator,
        taken=day,
        instant=taken.instant if taken else None,
        status=status or "unknown",
        performer=_performer(record) if "performer" in record else "",
        code=code,
        group=known.group,
        specimen=reference_of(record["specimen"]) if "specimen" in record else "",
        reference_high=_reference_high(holder, unit, measure, lens),
        reported=_reported(value),
        problem=problem,
    )


def _value(holder: Resource) -> _Value:
    quantity = holder.get("valueQuantity")
    if quantity.__class__ is dict:
        held = quantity.get("value")
        value = number(held)
        unit, code = text(quantity.get("unit")), text(quantity.get("code"))
        comparator = text(quantity["comparator"]) if "comparator" in quantity else ""
        if value is None and held.__class__ is str:
            worded = _from_words(held)
            return worded._replace(unit=unit or worded.unit, unit_code=code)
        if comparator and comparator not in _COMPARATORS:
            return _Value(None, "", unit, code)
        return _Value(value, comparator, unit, code)
    for key in ("valueString", "valueInteger", "valueDecimal"):
        if key in holder:
            held = holder[key]
            return _from_words(held) if held.__class__ is str else _Value(number(held))
    for words in words_of(holder.get("valueCodeableConcept")):
        read = _from_words(words)
        if read.value is not None:
            return read
    return _Value(None)


def _from_words(words: str) -> _Value:
    match = _WORDED.fullmatch(words[:60])
    if match is None:
        return _Value(None)
    sign = match[1] or ""
    return _Value(
        float(match[2].replace(",", ".")), _SIGNS.get(sign, sign), (match[3] or "").strip()
    )


def _unit(known: ResultCode, value: _Value, lens: Lens) -> tuple[LabUnit | None, str]:
    """The unit family, or why the value cannot be used."""
    if value.value is None:
        return None, "no-value"
    vocabulary, measure = lens.vocabulary, known.is_
    # A bare unit text counts only when the code is absent or not understood.
    unit = vocabulary.lab_unit(measure, value.unit_code) if value.unit_code else None
    alike = value.unit == value.unit_code
    by_text = vocabulary.lab_unit(measure, value.unit) if value.unit and not alike else None
    if unit and by_text and unit.family != by_text.family:
        return None, "unit-mismatch"
    unit = unit or by_text
    if unit is None:
        if value.unit_code or value.unit:
            return None, "unit-not-understood"
        default = vocabulary.measures[measure].without_unit
        unit = vocabulary.lab_unit(measure, default) if default else None
        if unit is None:
            return None, "no-unit"
    if known.family and unit.family != known.family:
        return unit, "unit-mismatch"
    return unit, ""


def _reported(value: _Value) -> str:
    if value.value is None:
        return ""
    unit = value.unit or value.unit_code
    reported = f"{value.comparator}{value.value:g}"
    return f"{reported} {unit}" if unit else reported


def _taken(record: Resource, lens: Lens) -> Moment | None:
    zone = lens.zone
    direct = moment(record.get("effectiveDateTime") or record.get("effectiveInstant"), zone)
    if direct is not None:
        return direct
    start, end = period(record.get("effectivePeriod"), zone)
    # Some systems send only when it was released: the careful upper bound of when it was taken.
    return end or start or moment(record.get("issued"), zone)


def _performer(record: Resource) -> str:
    for one in mappings(record.get("performer")):
        target = reference_of(one)
        if target:
            return target
    return ""


def _reference_high(
    holder: Resource, unit: LabUnit | None, measure: str, lens: Lens
) -> float | None:
    """The laboratory's own upper limit, in the same unit family; zero means not given."""
    if unit is None or "referenceRange" not in holder:
        return None
    for one in mappings(holder["referenceRange"]):
        high = mapping(one.get("high"))
        value = number(high.get("value"))
        if value is None or value <= 0:
            continue
        named = text(high.get("code")) or text(high.get("unit"))
        own = lens.vocabulary.lab_unit(measure, named) if named else unit
        if own is not None and own.family == unit.family:
            return round(value * own.times, 6)
    return None


def _diets(record: Resource, lens: Lens) -> list[Diet]:
    if text(record.get("status")).lower() in _NO_FACT:
        return []
    said = [text(record.get("valueString")), *words_of(record.get("valueCodeableConcept"))]
    said += [*words_of(record.get("code")), *notes_of(record)]
    for component in mappings(record.get("component")):
        said += [
            text(component.get("valueString")),
            *words_of(component.get("valueCodeableConcept")),
        ]
    return diets_of(record, said, moment(record.get("effectiveDateTime"), lens.zone), lens)


def diets_of(record: Resource, said: list[str], when: Moment | None, lens: Lens) -> list[Diet]:
    """Foods that any of the texts mentions as eaten."""
    foods: dict[str, str] = {}
    for words in said:
        for food in lens.vocabulary.foods_in(words) if words else ():
            foods.setdefault(food, words)
    return [
        Diet(
            source=(name_of(record),),
            food=food,
            recorded=latest_day(when, lens.today),
            says=words,
        )
        for food, words in sorted(foods.items())
    ]


def consumed(record: Resource) -> Iterator[str]:
    """Words of what a NutritionIntake says was consumed."""
    for item in mappings(record.get("consumedItem")):
        product = item.get("nutritionProduct")
        yield from words_of(mapping(product).get("concept") or product)
        yield from words_of(item.get("type"))
    yield from notes_of(record)
