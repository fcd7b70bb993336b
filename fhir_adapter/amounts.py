"""Numbers and units in free text: "5,000 IU", "5.000 IE", "5k units", "1/2", "0.05 mg", "400 IU/mL"."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from rules.code_files import DoseUnits
from rules.naming import fold
from rules.units import DoseUnit
from rules.vocabulary import Vocabulary

NUMBER = (
    r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d{1,3}(?:[ ']000)+"
    r"|\d+ \d/\d|\d+/\d+|\d+(?:[.,]\d+)?|\.\d+"
)
TO = r"\s?(?:-|to|or|bis|a|oder)\s?"  # between the ends of a range
_POINTS = re.compile(r"\d{1,3}(?:\.\d{3})+")
_COMMAS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_TOO_MUCH = 1e12  # no dose of anything; keeps overflowing digits out of the arithmetic
_PER_MASS = ("g", "kg")  # of an ointment, of a body: not what a dose counts
_WIDEST_RANGE = 10.0  # "2 - 1000 IU" is no range
_SAME_LABEL = re.compile(r"[\s(\[/=,;:|]*")  # between two figures of one label
_MIXED = re.compile(r"\d{1,3}(?:\.\d{3})+,\d+")


class Strength(NamedTuple):
    """An amount in a text: value, unit, what it is per, and where it stands."""

    value: float
    unit: DoseUnit
    per: str
    per_count: float
    start: int
    end: int
    low: float | None = (
        None  # "1000-2000 IU": a range in a dosage, two strengths in the name of a product
    )

    @property
    def ranged(self) -> bool:
        """Whether the number before it makes a range with it."""
        return self.low is not None and self.low < self.value <= _WIDEST_RANGE * self.low


def alternatives(words: Iterable[str]) -> str:
    """A pattern for any of the words, longest first."""
    return "|".join(
        re.escape(word)
        for word in sorted({fold(word) for word in words}, key=lambda w: (-len(w), w))
    )


def number_of(text: str, *, counts_units: bool = False) -> float | None:
    """Read a number as people write it; ``None`` when a point could mean thousands or a fraction.

    A point before three digits means thousands for international units (5.000 IE), which are never given
    in thousandths; for a mass (1.250 mg) it stays unreadable, unless the number starts with zero.
    """
    value = _number(text.replace("'", " ").strip(), counts_units=counts_units)
    return value if value is not None and value < _TOO_MUCH else None


def _number(text: str, *, counts_units: bool) -> float | None:
    if "/" in text:
        whole, _, fraction = text.rpartition(" ")
        top, bottom = map(float, fraction.split("/"))
        return float(whole or 0) + top / bottom if bottom else None
    text = text.replace(" ", "")
    if _MIXED.fullmatch(text):
        return float(text.replace(".", "").replace(",", "."))
    if _COMMAS.fullmatch(text) and not text.startswith("0"):
        return float(text.replace(",", ""))
    if _POINTS.fullmatch(text) and not text.startswith("0"):
        if counts_units or text.count(".") > 1:
            return float(text.replace(".", ""))
        return None
    return float(text.replace(",", "."))


def _of_one_label(found: list[Strength], folded: str) -> list[Strength]:
    """In "10 mcg (400 IU) per mL" the first figure is per mL as well."""
    read: list[Strength] = []
    for one in reversed(found):
        if read and _share_a_label(one, read[-1], folded):
            read.append(one._replace(per=read[-1].per, per_count=read[-1].per_count))
        else:
            read.append(one)
    return list(reversed(read))


def _share_a_label(one: Strength, following: Strength, folded: str) -> bool:
    dual = one.unit.dimension != following.unit.dimension and following.per and not one.per
    return bool(dual and _SAME_LABEL.fullmatch(folded, one.end, following.start))


class AmountWords:
    """Finds strengths in folded text, with the units of one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        units = vocabulary.content.dose_units or DoseUnits()
        self._vocabulary = vocabulary
        mass, counted, volume = (
            [word for words in scales.values() for word in words]
            for scales in (units.mass, units.units, units.volume)
        )
        pieces = [word for word in units.pieces if word[0].isalpha()]
        serving = vocabulary.content.timing.serving if vocabulary.content.timing else ()
        per = alternatives([*volume, *pieces, *units.drops, *serving, *_PER_MASS])
        single = alternatives(counted)
        self._strength = re.compile(
            rf"(?<![a-z0-9.,])(?<![0-9]-)(?:(?P<low>{NUMBER}){TO})?(?P<n>{NUMBER})\s?(?:(?P<k>k)\s?(?=(?:{single})(?![a-z0-9])))?-?"
            rf"(?P<u>{alternatives([*mass, *counted])})(?![a-z0-9])"
            rf"(?:\s?\)?\s?(?:/|per |pro |par |je |in each |in )\s?(?P<pn>{NUMBER})?\s?(?P<pu>{per})(?![a-z0-9]))?"
        )
        self._serving = re.compile(
            rf"(?:{alternatives(serving)})\D{{0,12}}?(?P<n>{NUMBER})\s?(?:{alternatives(pieces)})(?![a-z])"
        )

    def strengths(self, folded: str) -> list[Strength]:
        """Every amount with a mass or unit in the text, left to right."""
        found: list[Strength] = []
        for match, unit in self._measured(folded):
            value = number_of(match["n"], counts_units=unit.dimension == "units")
            if value is None:
                value = math.nan
            elif match["k"]:
                value *= 1000
            per, per_count = self._per(match)
            low = match["low"]
            low = number_of(low, counts_units=unit.dimension == "units") if low else None
            one = Strength(value, unit, per, per_count, match.start("n"), match.end(), low)
            found.append(one._replace(start=match.start()) if one.ranged else one)
        return _of_one_label(found, folded)

    def _measured(self, folded: str) -> Iterator[tuple[re.Match[str], DoseUnit]]:
        for match in self._strength.finditer(folded):
            unit = self._vocabulary.dose_unit(match["u"])
            if unit is not None:
                yield match, unit

    def _per(self, match: re.Match[str]) -> tuple[str, float]:
        """What an amount is per, and how much of that; per a number that cannot be read is per something else."""
        if not match["pu"]:
            return "", 1.0
        known, count = self._vocabulary.dose_unit(match["pu"]), number_of(match["pn"] or "1")
        if known is None or match["pu"] in _PER_MASS or not count:
            return "other", 1.0
        return known.dimension, count * known.times

    def serving(self, folded: str) -> float | None:
        """Pieces that make one serving, if the text says so."""
        match = self._serving.search(folded)
        return number_of(match["n"]) if match else None


@lru_cache(maxsize=8)
def amount_words(vocabulary: Vocabulary) -> AmountWords:
    """The finder of a vocabulary, built once."""
    return AmountWords(vocabulary)
