"""Structured Timing: how often, how many times, how long; ``repeat`` first, then the timing code, then its words."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from fhir_adapter.dose_words import read_dose_words
from fhir_adapter.elements import Resource, codings, items, mapping, number, text, words_of
from fhir_adapter.lens import Lens
from fhir_adapter.moments import period
from rules.naming import fold
from rules.vocabulary import Vocabulary

_DAY = 1.0
_WEEK = 7.0
_SHORTEST = 1 / 1440
_LONGEST = 36525.0


class Timing(NamedTuple):
    """``interval_days`` between administrations; ``start`` and ``end`` include both days."""

    interval_days: float | None = None
    single: bool = False
    bounded_days: int | None = None
    doses: int | None = None
    start: date | None = None
    end: date | None = None
    ranged: bool = False
    problem: str = ""


_NONE = Timing()


def read_timing(value: Any, lens: Lens) -> Timing:
    """Read a Timing element of any FHIR version."""
    timing = mapping(value)
    if not timing:
        return _NONE
    repeat = mapping(timing.get("repeat"))
    read = _repeat(repeat, lens)
    if read.interval_days is None and not read.single and not read.problem:
        interval, single = _coded(timing.get("code"), lens.vocabulary)
        if interval is not None or single:
            read = read._replace(interval_days=interval, single=single)
        elif len(items(timing.get("event"))) == 1 and not repeat:
            read = read._replace(single=True)
    return read


def _repeat(repeat: Resource, lens: Lens) -> Timing:
    vocabulary = lens.vocabulary
    count = number(repeat.get("countMax")) or number(repeat.get("count"))
    doses = round(count) if count and 1 <= count <= _LONGEST else None
    bounded, start, end = _bounds(repeat, lens)
    times = number(repeat.get("frequencyMax")) or number(repeat.get("frequency"))
    ranged = "frequencyMax" in repeat or "periodMax" in repeat
    length = number(repeat.get("period"))
    interval: float | None = None
    problem = ""
    unit = repeat.get("periodUnit", repeat.get("periodUnits"))
    if length is not None or unit is not None:
        days = days_of(unit, vocabulary)
        if days is None or length is None or length <= 0:
            problem = "the period of the timing cannot be read"
        else:
            interval = length * days / (times if times is not None and times > 0 else 1.0)
    interval = _on_days(repeat, interval, times, length)
    if interval is not None and not _SHORTEST <= interval <= _LONGEST:
        interval, problem = None, "the period of the timing is beyond all use"
    single = interval is None and doses == 1 and not problem
    if doses == 1 and interval is not None:
        single, interval = True, None
    return Timing(interval, single, bounded, doses, start, end, ranged, "" if interval else problem)


def _on_days(
    repeat: Resource, interval: float | None, times: float | None, length: float | None
) -> float | None:
    """Days of the week and times of the day thin out or multiply the basic interval."""
    days = len({str(day) for day in items(repeat.get("dayOfWeek"))})
    moments = len({str(one) for one in items(repeat.get("timeOfDay"))}) or len(
        {str(one) for one in items(repeat.get("when"))}
    )
    if not days and not moments:
        return interval
    if interval is None:
        if length is not None:
            return None
        each_day = times or moments or 1.0
        return _WEEK / (days * each_day) if days else _DAY / each_day
    if moments and interval == _DAY and (times is None or times == 1):
        # "once a day" with two times of day contradicts itself; the more frequent reading is the careful one
        interval = _DAY / moments
    if days and interval <= _DAY:
        return interval * _WEEK / days
    if days and interval >= _WEEK and (times is None or times == 1):
        return interval / days
    return interval


def _bounds(repeat: Resource, lens: Lens) -> tuple[int | None, date | None, date | None]:
    duration = mapping(repeat.get("boundsDuration")) or mapping(repeat.get("boundsQuantity"))
    duration = duration or mapping(mapping(repeat.get("boundsRange")).get("high"))
    length = number(duration.get("value"))
    unit = days_of(duration.get("code"), lens.vocabulary) or days_of(
        duration.get("unit"), lens.vocabulary
    )
    bounded = round(length * unit) if length and unit and 1 <= length * unit <= _LONGEST else None
    start, end = period(repeat.get("boundsPeriod"), lens.zone)
    if start and end and start.exact and end.exact and end.last >= start.first:
        bounded = (end.last - start.first).days + 1  # both end days count
    return bounded, start.first if start and start.exact else None, end.last if end else None


@lru_cache(maxsize=8)
def _periods(vocabulary: Vocabulary) -> dict[str, float]:
    timing = vocabulary.content.timing
    if timing is None:
        return {}
    words = {
        fold(word): float(Fraction(days))
        for days, group in timing.periods.items()
        for word in group
    }
    return words | {
        fold(code): float(Fraction(str(days))) for code, days in timing.period_codes.items()
    }


def days_of(unit: Any, vocabulary: Vocabulary) -> float | None:
    """Days of one period: UCUM codes, and the words that real data put there."""
    return _periods(vocabulary).get(fold(text(unit)))


def _coded(concept: Any, vocabulary: Vocabulary) -> tuple[float | None, bool]:
    """Interval, and whether it is given only once."""
    for system, code in codings(concept):
        interval = vocabulary.timing(system, code)
        if interval is not None:
            return interval, False
    for words in words_of(concept) + [
        text(one.get("code"))
        for one in items(mapping(concept).get("coding"))
        if isinstance(one, dict)
    ]:
        said = read_dose_words(words, vocabulary)
        if said.interval_days is not None or said.single:
            return said.interval_days, said.single
    return None, False
