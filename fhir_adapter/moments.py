"""FHIR dates: partial, zoneless or odd ones included, as the range of days they can mean."""

from __future__ import annotations

import calendar
import re
from datetime import date, datetime, tzinfo
from functools import lru_cache
from typing import Any, NamedTuple

_YEAR = re.compile(r"\d{4}")
_MONTH = re.compile(r"(\d{4})-(\d{2})")
_LEAP_SECOND = re.compile(r":60(?=$|[.Z+-])")
_WHOLE_DAY = 10


class Moment(NamedTuple):
    """From the first to the last day the text can mean, in the client's zone; ``instant`` if it has a time."""

    first: date
    last: date
    instant: datetime | None = None

    @property
    def exact(self) -> bool:
        """Whether it names one day."""
        return self.first == self.last


@lru_cache(maxsize=8192)
def _moment(text: str, zone: tzinfo) -> Moment | None:
    text = text.strip()
    try:
        if len(text) == _WHOLE_DAY:
            day = date.fromisoformat(text)
            return Moment(day, day)
        if len(text) > _WHOLE_DAY:
            return _with_time(text, zone)
        if _YEAR.fullmatch(text):
            return Moment(date(int(text), 1, 1), date(int(text), 12, 31))
        month = _MONTH.fullmatch(text)
        if month:
            year, number = int(month[1]), int(month[2])
            return Moment(
                date(year, number, 1), date(year, number, calendar.monthrange(year, number)[1])
            )
    except (ValueError, OverflowError):
        pass
    return None


def _with_time(text: str, zone: tzinfo) -> Moment | None:
    if text[_WHOLE_DAY] != "T":
        return None
    if ":60" in text:
        text = _LEAP_SECOND.sub(":59", text)
    instant = datetime.fromisoformat(text)
    # Without a zone the time is the client's: rejecting it would lose whole published test sets.
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=zone)
    day = (instant if instant.tzinfo is zone else instant.astimezone(zone)).date()
    return Moment(day, day, instant)


def moment(value: Any, zone: tzinfo) -> Moment | None:
    """Read a date or dateTime; ``None`` when it is absent or unreadable."""
    return _moment(value, zone) if value.__class__ is str else None


def period(value: Any, zone: tzinfo) -> tuple[Moment | None, Moment | None]:
    """Start and end of a Period."""
    if value.__class__ is not dict:
        return None, None
    return moment(value.get("start"), zone), moment(value.get("end"), zone)


def latest_day(one: Moment | None, today: date) -> date | None:
    """The latest day it can mean, but not after today unless it surely is: the careful reading of a start."""
    if one is None:
        return None
    return one.last if one.exact else max(one.first, min(one.last, today))
