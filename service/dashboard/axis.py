"""The value axis of a panel: a few round steps, each with its number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """A horizontal line: a step of the axis, or a limit with words."""

    y: float
    words: str


class Scale:
    """A value axis with a few round steps."""

    def __init__(self, values: Sequence[float], top: float, height: float) -> None:
        low, high = min(values), max(values)
        spread = (high - low) or abs(high) or 1.0
        rough = spread / 3
        power = 10.0 ** math.floor(math.log10(rough))
        self._step: float = next(
            power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough
        )
        self._low = math.floor(low / self._step) * self._step
        self._high = max(math.ceil(high / self._step) * self._step, self._low + self._step)
        self._top, self._height = top, height

    def y(self, value: float) -> float:
        """The place of a value."""
        return self._top + self._height * (1 - (value - self._low) / (self._high - self._low))

    def steps(self) -> tuple[Level, ...]:
        """The steps of the axis with their numbers."""
        count = round((self._high - self._low) / self._step)
        values = [self._low + self._step * place for place in range(count + 1)]
        return tuple(Level(y=self.y(value), words=f"{value:,.10g}") for value in values)
