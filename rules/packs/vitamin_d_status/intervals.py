"""A laboratory number as the range it stands for: "<4" is everything below 4, "30" is 30 alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rules.facts import LabResult


@dataclass(frozen=True, slots=True)
class Interval:
    """Every value that a result allows, lowest to highest; an open end is not itself included."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False

    def __add__(self, other: Interval) -> Interval:
        return Interval(
            round(self.low + other.low, 6),
            round(self.high + other.high, 6),
            self.low_open or other.low_open,
            self.high_open or other.high_open,
        )

    @property
    def comparator(self) -> str:
        """How the stated number is to be read: ``>`` or ``<`` when the range is open to one side."""
        if math.isinf(self.high):
            return ">" if self.low_open else ">="
        if self.low < self.high:
            return "<" if self.high_open else "<="
        return ""

    def below(self, cut: float) -> bool:
        """Every value allowed is lower than the cut-off."""
        return self.high < cut or (self.high == cut and self.high_open)

    def from_(self, cut: float) -> bool:
        """Every value allowed is at the cut-off or higher."""
        return self.low >= cut

    def above(self, cut: float) -> bool:
        """Every value allowed is higher than the cut-off."""
        return self.low > cut or (self.low == cut and self.low_open)

    def up_to(self, cut: float) -> bool:
        """Every value allowed is at the cut-off or lower."""
        return self.high <= cut


def interval_of(lab: LabResult) -> Interval:
    """The range of a usable result; its comparator says which side is open."""
    value = 0.0 if lab.value is None else lab.value
    match lab.comparator:
        case "<":
            return Interval(0.0, value, high_open=True)
        case "<=":
            return Interval(0.0, value)
        case ">":
            return Interval(value, math.inf, low_open=True)
        case ">=":
            return Interval(value, math.inf)
        case _:
            return Interval(value, value)
