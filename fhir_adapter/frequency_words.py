"""How often, in words: "every other day", "2x/week", "5 days a week", "QAM and QHS", "1-0-1", "Mon, Wed and Fri".

Two different frequencies in one text contradict each other, and none of them is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from math import isclose
from typing import NamedTuple

from fhir_adapter.amounts import NUMBER, TO, alternatives, number_of
from rules.code_files import TimingWords
from rules.naming import fold

END = r"(?![a-z0-9])"
_SCHEME = re.compile(
    r"(?<![\d\w.,/-])(\d|1/2|0,5)\s?-\s?(\d|1/2|0,5)\s?-\s?(\d|1/2|0,5)(?:\s?-\s?(\d|1/2|0,5))?(?![\d\w/-])"
)
_LATE = {"evening", "night"}
_ANOTHER = re.compile(r"[,;&+/]|\d.*[a-z]|\b(?:and|und|et|y|e)\b")  # between two times of day
_THROUGH = re.compile(r"\s?(?:-|to|through|thru|until|bis|au|a)\s?")  # between two weekdays
_COUNTS = {"once": 1.0, "twice": 2.0, "thrice": 3.0}
_MOST_A_PERIOD = 1440
LONGEST = 36525
_WEEK = 7


class Frequency(NamedTuple):
    """Days between administrations, and the text without the words that said so."""

    masked: str
    interval_days: float | None = None
    ambiguous: bool = False
    ranged: bool = False
    scheme: float | None = None  # pieces at each time of a 1-0-1 scheme


class _Said(NamedTuple):
    start: int
    end: int
    interval: float | None
    ranged: bool


class Numerals:
    """Numbers in digits or words."""

    def __init__(self, timing: TimingWords) -> None:
        self._values = {fold(word): value for word, value in timing.numbers.items()}
        strict = alternatives(word for word in timing.numbers if len(word) > 2)  # noqa: PLR2004 - no articles
        self.spelled = rf"(?:{alternatives(timing.numbers)})(?![a-z])"
        self.any = rf"(?:{NUMBER}|{self.spelled})"
        self.digits = rf"(?:{NUMBER}|(?:{strict})(?![a-z]))"

    def value(self, text: str) -> float | None:
        """The number that a word or digits stand for."""
        spelled = self._values.get(text)
        return spelled if spelled is not None else number_of(text)


class FrequencyWords:
    """The grammar of frequency, built from the lists of one vocabulary."""

    def __init__(self, timing: TimingWords, numerals: Numerals) -> None:
        self._numerals = numerals
        self.periods = days_of_words(timing.periods)
        self._adverbs = days_of_words(timing.adverbs)
        self._parts_of_day = {
            fold(word): part for part, words in timing.times_of_day.items() for word in words
        }
        period, adverb = alternatives(self.periods), alternatives(self._adverbs)
        days = alternatives(word for word, length in self.periods.items() if length == 1)
        times, per = alternatives(timing.times), alternatives(timing.per)
        number, digits = numerals.any, numerals.digits
        counts = "|".join(_COUNTS)
        self._patterns = (
            re.compile(
                rf"(?<![a-z])(?:{alternatives(timing.every)})\s?(?P<n>{digits})(?:{TO}(?P<n2>{digits}))?(?:st|nd|rd|th|\.)?\s?(?P<p>{period}){END}"
            ),
            re.compile(
                rf"(?<![a-z0-9])(?P<t>{number}|{counts})(?:{TO}(?P<t2>{digits}))?\s?(?:(?:{times})\s?(?:{per})?|(?:{days})\s?(?:{per})|(?:{per}))\s?(?P<p>{period}){END}"
            ),
            re.compile(
                rf"(?<![a-z0-9])(?P<t>{digits}|{counts})(?:{TO}(?P<t2>{digits}))?\s?(?:{times})\s?(?P<a>{adverb}){END}"
            ),
            re.compile(rf"(?<![a-z0-9])(?P<t>{counts})\s?(?P<a>{adverb}){END}"),
            re.compile(rf"(?:(?<![a-z])|(?=/))(?P<a>{adverb}){END}"),
        )
        word = r"(?<![a-z0-9])(?:{})" + END
        self._weekday = re.compile(word.format(alternatives(timing.weekdays)))
        self._time_of_day = re.compile(word.format(alternatives(self._parts_of_day)))

    def read(self, folded: str) -> Frequency:
        """Read how often, out of one dosage text."""
        scheme = _SCHEME.search(folded)
        if scheme:
            return _of_scheme(folded, scheme)
        said = self._said(folded)
        masked = folded
        for one in said:
            masked = masked_at(masked, one.start, one.end)
        days = list(self._weekday.finditer(folded))
        if _names_a_stretch(folded, days):
            return Frequency(masked, ambiguous=True)
        intervals = [one.interval for one in said if one.interval is not None]
        if len(intervals) < len(said):  # "1441 times a day" is no daily dose
            return Frequency(masked)
        if days:
            intervals.append(_WEEK / len({day.group() for day in days}))
        elif all(folded[one.start : one.end] in self._parts_of_day for one in said):
            moments = self._moments(folded)
            return Frequency(masked, 1 / moments if moments else None)
        if not isclose(min(intervals), max(intervals)):
            return Frequency(masked, ambiguous=True)
        return Frequency(masked, intervals[0], ranged=any(one.ranged for one in said))

    def _said(self, folded: str) -> list[_Said]:
        """Every frequency in the text; of those that overlap, the one that begins first."""
        found: list[_Said] = []
        for pattern in self._patterns:
            for match in pattern.finditer(folded):
                groups = match.groupdict()
                ranged = bool(groups.get("n2") or groups.get("t2"))
                found.append(_Said(match.start(), match.end(), self._interval(groups), ranged))
        kept: list[_Said] = []
        for one in sorted(found, key=lambda said: said.start):
            if not kept or one.start >= kept[-1].end:
                kept.append(one)
        return kept

    def _interval(self, groups: Mapping[str, str | None]) -> float | None:
        adverb, every = groups.get("a"), groups.get("n")
        days = self._adverbs[adverb] if adverb else self.periods[str(groups.get("p"))]
        if every:  # every n periods; of a range the more frequent end
            count = self._numerals.value(every)
            return count * days if count and count * days <= LONGEST else None
        times = groups.get("t2") or groups.get("t")  # of a range the more frequent end
        if not times:
            return days
        count = _COUNTS.get(times) or self._numerals.value(times)
        return days / count if count and count <= _MOST_A_PERIOD else None

    def _moments(self, folded: str) -> int:
        """How many times of a day are named; "every night at bedtime" and "in the evening with dinner" are one."""
        named = list(self._time_of_day.finditer(folded))
        parts = [self._parts_of_day[match.group()] for match in named[:1]]
        for before, match in pairwise(named):
            part = self._parts_of_day[match.group()]
            alike = {part, parts[-1]} <= _LATE
            if not alike or _ANOTHER.search(folded, before.end(), match.start()):
                parts.append(part)
        return len(set(parts))


def _of_scheme(folded: str, scheme: re.Match[str]) -> Frequency:
    counts = [number_of(one) or 0.0 for one in scheme.groups() if one]
    given = [one for one in counts if one > 0]
    masked = masked_at(folded, scheme.start(), scheme.end())
    if not given:
        return Frequency(masked, ambiguous=True)
    return Frequency(masked, 1 / len(given), scheme=sum(given) / len(given))


def _names_a_stretch(folded: str, days: list[re.Match[str]]) -> bool:
    """Whether exactly two weekdays stand as from and to, as in "Mon-Fri"; "Mon-Wed-Fri" is a list."""
    match days:
        case [first, last]:
            return _THROUGH.fullmatch(folded, first.end(), last.start()) is not None
    return False


def masked_at(text: str, start: int, end: int) -> str:
    """The text with one stretch made unreadable, so that nothing is read twice."""
    return text[:start] + "#" * (end - start) + text[end:]


def days_of_words(groups: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    """Folded word -> days, from lists whose keys are days."""
    return {fold(word): float(Fraction(days)) for days, words in groups.items() for word in words}
