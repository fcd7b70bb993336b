"""Units of doses and results: what a spelling counts, and what an amount is in a substance's own unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from rules.code_files import CodeFile
from rules.errors import KnowledgeError
from rules.naming import fold

Dimension = Literal["mass", "units", "pieces", "volume", "drops"]
_TOO_MUCH = 1e12  # no amount of anything, whatever its unit
_ANNOTATION = re.compile(r"[{}]")


class DoseUnit(NamedTuple):
    """What a dose unit counts: mass in micrograms, international units, pieces, mL, drops."""

    dimension: Dimension
    times: float = 1.0


class LabUnit(NamedTuple):
    """A unit of a measure: ``reported x times`` is the value in ``unit``."""

    unit: str
    family: str
    times: float
    plausible: tuple[float, float] | None


class Units:
    """Lookups of unit spellings; no conversion ever crosses from mass to amount of substance."""

    def __init__(self, content: CodeFile) -> None:
        self._ingredients = content.ingredients
        self._per_ug = {
            name: substance.units_per_ug
            for name, entry in content.ingredients.items()
            for substance in content.substances
            if set(substance.classes) & set(entry.classes)
        }
        self._dose_units = _dose_units_of(content)
        self._lab_units = _lab_units_of(content)

    def unit_of(self, ingredient: str) -> str:
        """Canonical unit of an ingredient's amounts: ``[IU]``, ``ug`` or ``mg``."""
        entry = self._ingredients.get(ingredient)
        return entry.unit if entry else "mg"

    def dose_unit(self, text: str) -> DoseUnit | None:
        """What a unit of a dose counts, or ``None``."""
        folded = fold(text)
        return self._dose_units.get(folded) or self._dose_units.get(
            _ANNOTATION.sub("", folded).rstrip(".")
        )

    def amount(self, ingredient: str, value: float, unit: DoseUnit) -> float | None:
        """``value`` in the ingredient's own unit; ``None`` when the unit cannot measure this substance."""
        if not abs(value) < _TOO_MUCH:
            return None
        own = self.unit_of(ingredient)
        per_ug = self._per_ug.get(ingredient)
        if unit.dimension == "units":
            if own != "[IU]":
                return None
            return round(value * unit.times, 6)
        if unit.dimension != "mass":
            return None
        micrograms = value * unit.times
        if own == "ug":
            return round(micrograms, 6)
        if own == "mg":
            return round(micrograms / 1000, 6)
        return round(micrograms * per_ug, 6) if per_ug else None

    def lab_unit(self, measure: str, text: str) -> LabUnit | None:
        """Canonical unit of a reported unit spelling for one measure; ``None`` when not understood."""
        known = self._lab_units.get((measure, text))
        return known or self._lab_units.get((measure, _squeezed(text)))


def _squeezed(text: str) -> str:
    return fold(text).replace(" ", "")


def _dose_units_of(content: CodeFile) -> dict[str, DoseUnit]:
    units = content.dose_units
    table: dict[str, DoseUnit] = {}
    if units is None:
        return table
    pairs: list[tuple[str, DoseUnit]] = [(word, DoseUnit("pieces")) for word in units.pieces]
    pairs += [(word, DoseUnit("drops")) for word in units.drops]
    scaled: tuple[tuple[Dimension, Mapping[str, tuple[str, ...]]], ...] = (
        ("mass", units.mass),
        ("units", units.units),
        ("volume", units.volume),
    )
    for dimension, scales in scaled:
        for times, words in scales.items():
            pairs += [(word, DoseUnit(dimension, float(times))) for word in words]
    for word, unit in pairs:
        if table.setdefault(fold(word), unit) != unit:
            raise KnowledgeError(f"the dose unit {word!r} stands for two things.")
    return table


def _lab_units_of(content: CodeFile) -> dict[tuple[str, str], LabUnit]:
    table: dict[tuple[str, str], LabUnit] = {}
    for measure, entry in content.measures.items():
        for canonical, unit in entry.units.items():
            spellings: list[tuple[str, float]] = [(canonical, 1.0)]
            spellings += [
                (alias, 1.0) if isinstance(alias, str) else (alias.as_, alias.times)
                for alias in unit.aliases
            ]
            for text, times in spellings:
                known = LabUnit(canonical, unit.family, times, unit.plausible)
                for spelling in {text, _squeezed(text)}:
                    if table.setdefault((measure, spelling), known) != known:
                        raise KnowledgeError(f"{measure}: the unit {text!r} stands for two things.")
    return table
