"""Plots as numbers for SVG: true time on the x axis, so that unequal distances look unequal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

_WIDTH: Final = 88
_HEIGHT: Final = 22
_EDGE: Final = 3
_DAYS: Final = 365


def sparkline(points: Sequence[tuple[date, float]]) -> str:
    """The ``points`` attribute of a polyline over the last twelve months before the newest value; "" below two."""
    if len(points) < 2:  # noqa: PLR2004 - a line has two ends
        return ""
    newest = points[-1][0]
    kept = [(day, value) for day, value in points if (newest - day).days <= _DAYS]
    low, high = min(value for _, value in kept), max(value for _, value in kept)
    spread = high - low or 1.0
    places = [
        (
            _WIDTH - _EDGE - (newest - day).days / _DAYS * (_WIDTH - 2 * _EDGE),
            _HEIGHT - _EDGE - (value - low) / spread * (_HEIGHT - 2 * _EDGE),
        )
        for day, value in kept
    ]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
