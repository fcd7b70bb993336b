"""Dosage in words: how much, how often, how long. What is not understood stays unknown.

"2 caps of 5,000 IU weekly", "125 mcg (5000 IU) daily", "1-0-1", "every other day", "50,000 units once a week".
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from fhir_adapter.amounts import NUMBER, Strength, alternatives, amount_words, number_of
from rules.naming import fold
from rules.vocabulary import Vocabulary

_SCHEME = re.compile(
    r"(?<![\d\w.,/-])(\d|1/2|0,5)\s?-\s?(\d|1/2|0,5)\s?-\s?(\d|1/2|0,5)(?:\s?-\s?(\d|1/2|0,5))?(?![\d\w/-])"
)
_TO = r"\s?(?:-|to|or|bis|a|oder)\s?"
_MOST_A_PERIOD = 1440
_LONGEST = 36525
_NO_PIECES = {"each", "ea", "count", "piece", "pieces", "st", "spray"}


class WordedDose(NamedTuple):
    """What a dosage text says; every field is ``None`` or empty when it says nothing (or two things)."""

    strengths: tuple[Strength, ...] = ()
    pieces: float | None = None
    volume: float | None = None
    drops: float | None = None
    relation: str = ""
    ranged: bool = False
    interval_days: float | None = None
    ambiguous: bool = False
    as_needed: bool = False
    single: bool = False
    bounded_days: int | None = None

    @property
    def has_amount(self) -> bool:
        """Whether any amount is stated."""
        return bool(self.strengths) or not (self.pieces is self.volume is self.drops is None)


class DoseWords:
    """The grammar of dosage words, built from the lists of one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        timing, units = vocabulary.content.timing, vocabulary.content.dose_units
        if timing is None or units is None:
            raise ValueError("the active packs list no dosage words")
        self._amounts = amount_words(vocabulary)
        self._numbers = {fold(word): value for word, value in timing.numbers.items()}
        self._periods = {
            fold(word): float(Fraction(days))
            for days, words in timing.periods.items()
            for word in words
        }
        self._adverbs = {
            fold(word): float(Fraction(days))
            for days, words in timing.adverbs.items()
            for word in words
        }
        spelled = rf"(?:{alternatives(timing.numbers)})(?![a-z])"
        strict = alternatives(word for word in timing.numbers if len(word) > 2)  # noqa: PLR2004 - no articles
        number, digits = rf"(?:{NUMBER}|{spelled})", rf"(?:{NUMBER}|(?:{strict})(?![a-z]))"
        period, end = alternatives(self._periods), r"(?![a-z0-9])"
        adverb = alternatives(self._adverbs)
        self._lasting = re.compile(
            rf"(?<![a-z0-9])(?:{alternatives(timing.lasting)})\s?(?P<n>{digits})(?:{_TO}{digits})?[\s-]?(?P<p>{period}){end}"
        )
        times, per = alternatives(timing.times), alternatives(timing.per)
        self._frequency = (
            re.compile(
                rf"(?<![a-z])(?:{alternatives(timing.every)})\s?(?P<n>{digits})(?:{_TO}{digits})?(?:st|nd|rd|th)?\s?(?P<p>{period}){end}"
            ),
            re.compile(
                rf"(?<![a-z0-9])(?P<t>{number}|once|twice|thrice)(?:{_TO}(?P<t2>{digits}))?\s?(?:(?:{times})\s?(?:{per})?|(?:{per}))\s?(?P<p>{period}){end}"
            ),
            re.compile(
                rf"(?<![a-z0-9])(?P<t>{digits}|once|twice|thrice)(?:{_TO}(?P<t2>{digits}))?\s?(?:{times})\s?(?P<a>{adverb}){end}"
            ),
            re.compile(rf"(?<![a-z])(?P<a>{adverb}){end}"),
        )
        pieces = alternatives(w for w in units.pieces if w[0].isalpha() and w not in _NO_PIECES)
        volume = {fold(w): float(ml) for ml, words in units.volume.items() for w in words}
        self._volume = volume
        self._counted = tuple(
            re.compile(
                rf"(?<![a-z0-9.,/-])(?P<n>{number})(?:{_TO}(?P<n2>{digits}))?[\s-]?(?:of the |whole |{spelled} )?(?P<u>{words}){end}"
            )
            for words in (pieces, alternatives(volume), alternatives(units.drops))
        )
        self._bare = re.compile(
            rf"^[\s#]*(?:(?:{alternatives(timing.take)})\s+)?(?P<n>{digits})(?:{_TO}(?P<n2>{digits}))?(?=[\s#,]|$)(?!\s?[a-z]*#?\s?%)"
        )
        self._multiplied = re.compile(rf"(?<![a-z0-9.,/-])(?P<n>{digits})\s?[x*]\s?(?=\d)")
        word = r"(?<![a-z0-9])(?:{})" + end
        self._as_needed = re.compile(word.format(alternatives(timing.as_needed)))
        self._single = re.compile(word.format(alternatives(timing.single)))
        self._unclear = re.compile(word.format(alternatives(timing.ambiguous)))
        self._weekday = re.compile(word.format(alternatives(timing.weekdays)))
        self._time_of_day = re.compile(word.format(alternatives(timing.times_of_day)))
        self._each = re.compile(r"\s?(?:{})\s?".format(alternatives([*timing.each, "x", "*"])))
        self._each_after = re.compile(rf"[\s)]*(?:{alternatives(timing.each)}){end}")

    def read(self, words: str) -> WordedDose:
        """Read one dosage text."""
        folded = fold(words)
        as_needed, single = bool(self._as_needed.search(folded)), bool(self._single.search(folded))
        masked, bounded = self._bounds(folded)
        masked, interval, ambiguous, scheme = self._how_often(masked)
        amounts = self._how_much(masked)
        if amounts.ambiguous or self._unclear.search(folded):
            ambiguous = True
        if scheme is not None and amounts.pieces is None and not amounts.strengths:
            amounts = amounts._replace(pieces=scheme)
        elif scheme is not None and amounts.pieces is not None and amounts.pieces != scheme:
            ambiguous = True
        return amounts._replace(
            interval_days=None if ambiguous else interval,
            ambiguous=ambiguous,
            as_needed=as_needed,
            single=single and interval is None,
            bounded_days=bounded,
        )

    def _number(self, text: str) -> float | None:
        spelled = self._numbers.get(text)
        return spelled if spelled is not None else number_of(text, counts_units=False)

    def _bounds(self, folded: str) -> tuple[str, int | None]:
        match = self._lasting.search(folded)
        if not match:
            return folded, None
        count = self._number(match["n"])
        days = (count or 0) * self._periods[match["p"]]
        masked = folded[: match.start()] + "#" * len(match.group()) + folded[match.end() :]
        return masked, round(days) if 1 <= days <= _LONGEST else None

    def _how_often(self, folded: str) -> tuple[str, float | None, bool, float | None]:
        """Masked text, interval, whether two intervals contradict, pieces of a 1-0-1 scheme."""
        scheme = _SCHEME.search(folded)
        if scheme:
            counts = [number_of(one, counts_units=False) or 0.0 for one in scheme.groups() if one]
            given = [one for one in counts if one > 0]
            masked = folded[: scheme.start()] + "#" * len(scheme.group()) + folded[scheme.end() :]
            if not given:
                return masked, None, True, None
            return masked, 1 / len(given), False, sum(given) / len(given)
        found: list[tuple[int, int, float]] = []
        for kind in self._frequency:
            for match in kind.finditer(folded):
                interval = self._interval(match.groupdict())
                if interval:
                    found.append((match.start(), match.end(), interval))
        found.sort(key=lambda one: (one[0] - one[1], one[0]))
        kept: list[tuple[int, int, float]] = []
        for one in found:
            if all(one[1] <= other[0] or one[0] >= other[1] for other in kept):
                kept.append(one)
        days = set(self._weekday.findall(folded))
        masked = folded
        for start, stop, _ in kept:
            masked = masked[:start] + "#" * (stop - start) + masked[stop:]
        intervals = {round(one[2], 4) for one in kept}
        if days:
            intervals.add(round(7 / len(days), 4))
        if len(intervals) > 1:
            return masked, None, True, None
        if intervals:
            exact = kept[0][2] if kept else 7 / len(days)
            return masked, exact, False, None
        moments = set(self._time_of_day.findall(masked))
        return masked, 1 / len(moments) if moments else None, False, None

    def _interval(self, groups: dict[str, str | None]) -> float | None:
        adverb, period = groups.get("a"), groups.get("p")
        days = self._adverbs[adverb] if adverb else self._periods[period or ""]
        if groups.get("n"):  # every n periods
            count = self._number(groups["n"] or "")
            return count * days if count and count * days <= _LONGEST else None
        times = groups.get("t2") or groups.get("t")  # of a range the more frequent end
        if not times:
            return days
        count = {"once": 1.0, "twice": 2.0, "thrice": 3.0}.get(times) or self._number(times)
        return days / count if count and count <= _MOST_A_PERIOD else None

    def _how_much(self, masked: str) -> WordedDose:
        strengths = tuple(
            one for one in self._amounts.strengths(masked) if not math.isnan(one.value)
        )
        rest = masked
        for one in strengths:
            rest = rest[: one.start] + "~" * (one.end - one.start) + rest[one.end :]
        counts: list[float | None] = []
        place: tuple[int, int] | None = None
        ranged = unequal = False
        for pattern in self._counted:
            matches = list(pattern.finditer(rest))
            value: float | None = None
            said = {match["n2"] or match["n"] for match in matches}
            unequal = unequal or len(said) > 1
            for match in matches[:1]:
                value = self._number(match["n2"] or match["n"])
                ranged = ranged or bool(match["n2"])
                if value is not None and match["u"] in self._volume:
                    value *= self._volume[match["u"]]
                place = place or (match.start(), match.end())
            counts.append(value)
        pieces, volume, drops = counts
        if pieces is volume is drops is None:
            multiplied = self._multiplied.search(masked)
            if multiplied and strengths and multiplied.end() == strengths[0].start:
                return WordedDose(strengths, self._number(multiplied["n"]), relation="each")
            bare = self._bare.match(rest)
            if bare and not strengths:
                pieces = self._number(bare["n2"] or bare["n"])
                ranged = bool(bare["n2"])
        relation = self._relation(rest, strengths, place) if pieces is not None else ""
        return WordedDose(strengths, pieces, volume, drops, relation, ranged, ambiguous=unequal)

    def _relation(
        self, rest: str, strengths: tuple[Strength, ...], place: tuple[int, int] | None
    ) -> str:
        """Whether the strength beside a number of pieces is for each of them, for all, or unclear."""
        if not strengths or place is None:
            return ""
        first, last = strengths[0], strengths[-1]
        if first.start >= place[1]:
            between = rest[place[1] : first.start]
            each = self._each.fullmatch(between) or self._each_after.match(rest[last.end :])
            return "each" if each else "unclear"
        between = rest[last.end : place[0]]
        return "total" if "(" in between or "=" in between else "unclear"


@lru_cache(maxsize=8)
def _grammar(vocabulary: Vocabulary) -> DoseWords:
    return DoseWords(vocabulary)


@lru_cache(maxsize=8192)
def read_dose_words(words: str, vocabulary: Vocabulary) -> WordedDose:
    """Read one dosage text; the same text is read once."""
    return _grammar(vocabulary).read(words)
