"""Plots as numbers for SVG: true time on the x axis, so that unequal distances look unequal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

import msgspec

_WIDTH: Final = 88
_HEIGHT: Final = 22
_EDGE: Final = 3
_DAYS: Final = 365


class Spark(msgspec.Struct, frozen=True, kw_only=True):
    """A small line of the last twelve months: its points, its newest one, and the target as a band where one is set."""

    points: str
    x: float
    y: float
    band: tuple[float, float] | None = None


def sparkline(
    points: Sequence[tuple[date, float]], target: Sequence[float | None] | None = None
) -> Spark | None:
    """The results of the twelve months before the newest, which stands last; None below two."""
    if len(points) < 2:  # noqa: PLR2004 - a line has two ends
        return None
    newest = points[-1][0]
    kept = [(day, value) for day, value in points if (newest - day).days <= _DAYS]
    ends = [end for end in target or () if end is not None]
    low = min([*(value for _, value in kept), *ends])
    high = max([*(value for _, value in kept), *ends])
    spread = high - low or 1.0

    def y(value: float) -> float:
        return round(_HEIGHT - _EDGE - (value - low) / spread * (_HEIGHT - 2 * _EDGE), 1)

    places = [
        (
            round(_WIDTH - _EDGE - (newest - day).days / _DAYS * (_WIDTH - 2 * _EDGE), 1),
            y(value),
        )
        for day, value in kept
    ]
    both = len(ends) == 2  # noqa: PLR2004 - a band has two edges
    return Spark(
        points=" ".join(f"{across},{up}" for across, up in places),
        x=places[-1][0],
        y=places[-1][1],
        band=(y(max(ends)), round(y(min(ends)) - y(max(ends)), 1)) if both else None,
    )
