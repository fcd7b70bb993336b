"""Dosage in words: how much, how often, how long. What is not understood stays unknown.

"2 caps of 5,000 IU weekly", "125 mcg (5000 IU) daily", "1-0-1", "every other day", "50,000 units once a week".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from fhir_adapter.amounts import TO, Strength, alternatives, amount_words
from fhir_adapter.frequency_words import (
    END,
    LONGEST,
    FrequencyWords,
    Numerals,
    days_of_words,
    masked_at,
)
from rules.naming import fold
from rules.vocabulary import Vocabulary

# "1-1/2 tablets" are one and a half; "1-1/2-0" is a scheme
_AND_A_FRACTION = re.compile(
    r"(?<![\d.,/-])(?<!- )(\d{1,2})\s?[-&+]\s?([1-9]/\d)(?![\d/])(?!\s?-\s?\d)"
)
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


class _Counts(NamedTuple):
    pieces: float | None
    volume: float | None
    drops: float | None
    ranged: bool
    unequal: bool
    place: tuple[int, int] | None


class DoseWords:
    """The grammar of dosage words, built from the lists of one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        timing, units = vocabulary.content.timing, vocabulary.content.dose_units
        if timing is None or units is None:
            raise ValueError("the active packs list no dosage words")
        self._amounts = amount_words(vocabulary)
        self._numerals = numerals = Numerals(timing)
        self._frequency = FrequencyWords(timing, numerals)
        self._most_pieces = timing.most_pieces.value
        number, digits = numerals.any, numerals.digits
        self._periods = days_of_words(timing.periods)
        period, per = alternatives(self._periods), alternatives(timing.per)
        self._lasting = re.compile(
            rf"(?<![a-z0-9])(?:{alternatives(timing.lasting)})\s?(?P<n>{digits})(?:{TO}(?P<n2>{digits}))?[\s-]?(?P<p>{period}){END}(?!\s?(?:{per})\s?(?:{period}){END})"
        )
        self._repeated = re.compile(rf"(?<![a-z0-9.,/-])(?P<n>{number})\s?\((?P<again>{number})\)")
        pieces = alternatives(w for w in units.pieces if w[0].isalpha() and w not in _NO_PIECES)
        volume = {fold(w): float(ml) for ml, words in units.volume.items() for w in words}
        self._volume = volume
        self._counted = tuple(
            re.compile(
                rf"(?<![a-z0-9.,/-])(?<!of )(?P<n>{number})(?:{TO}(?P<n2>{digits}))?[\s-]?(?:(?:of )?(?:the |an? |one )|of |whole )?(?P<u>{words}){END}{besides}"
            )
            for words, besides in (
                (pieces, ""),
                (
                    alternatives(volume),
                    rf"(?!\s?(?:of )?(?:{alternatives(timing.mixed_with)}){END})",
                ),
                (alternatives(units.drops), ""),
            )
        )
        takes = rf"^[\s#]*(?:(?:{alternatives(timing.take)})\s+)?"
        self._bare = re.compile(
            rf"{takes}(?P<n>{digits})(?:{TO}(?P<n2>{digits}))?(?=[\s#,]|$)(?!\s?[a-z]*#?\s?%|\s?[x*]\s?\d+[.,]\d)"
        )
        self._before_strength = re.compile(rf"{takes}(?P<n>{digits})\s?~+\s?(?:{pieces}){END}")
        self._of_strength = re.compile(
            rf"(?<![a-z0-9.,/-])(?P<n>{digits})\s?of (?:an? |one |the )?~+\s?(?:{pieces}){END}"
        )
        self._times_after = re.compile(rf"~\s?(?:(?:{pieces})\s)?\s?[x*]\s?(?P<n>{digits}){END}")
        self._times_pieces = re.compile(
            rf"(?<![a-z0-9.,/-])(?P<n>{digits})\s?[x*]\s?(?P<m>{digits})\s?(?:{pieces}){END}"
        )
        self._multiplied = re.compile(rf"(?<![a-z0-9.,/-])(?P<n>{digits})\s?[x*]\s?(?=\d)")
        word = r"(?<![a-z0-9])(?:{})" + END
        self._as_needed = re.compile(word.format(alternatives(timing.as_needed)))
        last = rf"(?<![a-z0-9])(?:{alternatives(timing.single_at_end)})\.?$"
        self._single = re.compile(f"{word.format(alternatives(timing.single))}|{last}")
        self._unclear = re.compile(word.format(alternatives(timing.ambiguous)))
        self._each = re.compile(rf"\s?(?:{alternatives(timing.each)}|[x*])\s?")
        self._each_after = re.compile(rf"[\s)]*(?:{alternatives(timing.each)}){END}")

    def read(self, words: str) -> WordedDose:
        """Read one dosage text."""
        folded, contradicted = self._told_once(_AND_A_FRACTION.sub(r"\1 \2", fold(words)))
        masked, bounded = self._bounds(folded)
        often = self._frequency.read(masked)
        amounts = self._how_much(often.masked)
        if often.scheme is not None:
            amounts = _by_scheme(amounts, often.scheme)
        ambiguous = often.ambiguous or amounts.ambiguous or contradicted
        ambiguous = ambiguous or bool(self._unclear.search(folded))
        return amounts._replace(
            ranged=amounts.ranged or often.ranged,
            interval_days=None if ambiguous else often.interval_days,
            ambiguous=ambiguous,
            as_needed=bool(self._as_needed.search(folded)),
            single=often.interval_days is None and bool(self._single.search(folded)),
            bounded_days=bounded,
        )

    def _told_once(self, folded: str) -> tuple[str, bool]:
        """Without the repetition in "2 (two) times daily", and whether a repetition says something else."""
        value = self._numerals.value
        contradicted = any(
            value(match["n"]) != value(match["again"]) for match in self._repeated.finditer(folded)
        )
        return self._repeated.sub(lambda match: match["n"], folded), contradicted

    def _bounds(self, folded: str) -> tuple[str, int | None]:
        match = self._lasting.search(folded)
        if not match:
            return folded, None
        count = self._numerals.value(match["n2"] or match["n"])  # of a range the longer end
        days = (count or 0) * self._periods[match["p"]]
        masked = masked_at(folded, match.start(), match.end())
        return masked, round(days) if 1 <= days <= LONGEST else None

    def _how_much(self, masked: str) -> WordedDose:
        strengths = tuple(
            one for one in self._amounts.strengths(masked) if not math.isnan(one.value)
        )
        rest = masked
        for one in strengths:
            rest = rest[: one.start] + "~" * (one.end - one.start) + rest[one.end :]
        counted = self._counts(rest)
        pieces, volume, drops, ranged, unequal, place = counted
        ranged = ranged or any(one.ranged for one in strengths)
        if pieces is volume is drops is None:
            each = self._times_strength(masked, rest, strengths)
            if each is not None:
                return WordedDose(strengths, each, relation="each", ranged=ranged)
            after = self._times_after.search(rest)  # of 1 mg four at once, or four times?
            unequal = unequal or (after is not None and self._numerals.value(after["n"]) != 1)
            bare = self._bare.match(rest)
            if bare and not strengths:
                pieces = self._numerals.value(bare["n2"] or bare["n"])
                ranged = bool(bare["n2"])
                if pieces is not None and pieces > self._most_pieces:
                    return WordedDose()  # a strength without its unit
        per_piece = bool(strengths) and strengths[0].per == "pieces"
        relation = "total" if per_piece else self._relation(rest, strengths, place)
        taken = _taken(strengths, {"pieces": pieces, "volume": volume, "drops": drops})
        relation = relation if pieces is not None else ""
        return WordedDose(taken, pieces, volume, drops, relation, ranged, ambiguous=unequal)

    def _counts(self, rest: str) -> _Counts:
        """How many pieces, mL and drops are stated, whether in two ways, and where the first stands."""
        found = [list(pattern.finditer(rest)) for pattern in self._counted]
        firsts = [matches[0] for matches in found if matches]
        pieces, volume, drops = (self._count(matches) for matches in found)
        ranged = any(match["n2"] for match in firsts)
        unequal = any(len({one["n2"] or one["n"] for one in matches}) > 1 for matches in found)
        place = next(((match.start(), match.end()) for match in firsts), None)
        times = self._times_pieces.search(rest)
        if times:  # "2 x 1 tablet"
            count, each = self._numerals.value(times["n"]), self._numerals.value(times["m"])
            pieces = count * each if count and each else None
        return _Counts(pieces, volume, drops, ranged, unequal, place)

    def _count(self, matches: list[re.Match[str]]) -> float | None:
        """The first count of one kind, of a range its high end; volumes in mL."""
        if not matches:
            return None
        value = self._numerals.value(matches[0]["n2"] or matches[0]["n"])
        return None if value is None else value * self._volume.get(matches[0]["u"], 1.0)

    def _times_strength(
        self, masked: str, rest: str, strengths: tuple[Strength, ...]
    ) -> float | None:
        """The count in "2 x 1000 IU" and "two 5 mg tablets"."""
        if not strengths:
            return None
        multiplied = self._multiplied.search(masked)
        if multiplied and multiplied.end() == strengths[0].start:
            return self._numerals.value(multiplied["n"])
        before = self._before_strength.match(rest) or self._of_strength.search(rest)
        return self._numerals.value(before["n"]) if before else None

    def _relation(
        self, rest: str, strengths: tuple[Strength, ...], place: tuple[int, int] | None
    ) -> str:
        """Whether the strength beside a number of pieces is for each of them, for all, or unclear."""
        if not strengths or place is None:
            return ""
        first, last = strengths[0], strengths[-1]
        if between := rest[place[1] : first.start]:
            each = self._each.fullmatch(between) or self._each_after.match(rest[last.end :])
            return "each" if each else "unclear"
        between = rest[last.end : place[0]]
        return "total" if "(" in between or "=" in between else "unclear"


def _by_scheme(amounts: WordedDose, pieces: float) -> WordedDose:
    """With the pieces at each time of a 1-0-1 scheme, which must not contradict a count that is stated besides."""
    if amounts.pieces is amounts.volume is amounts.drops is None:
        return amounts._replace(pieces=pieces, relation="each" if amounts.strengths else "")
    stated = 1.0 if amounts.pieces is None else amounts.pieces  # 5 drops 1-0-1: five each time
    return amounts._replace(ambiguous=amounts.ambiguous or pieces != stated)


def _taken(
    strengths: tuple[Strength, ...], counts: Mapping[str, float | None]
) -> tuple[Strength, ...]:
    """What is stated per mL, drop or piece, times how many are taken; a concentration alone is no dose."""
    taken: list[Strength] = []
    for one in strengths:
        count = counts.get(one.per)
        if count is not None:
            taken.append(one._replace(value=one.value * count / one.per_count))
        elif one.per in {"", "pieces"}:
            taken.append(one)
    return tuple(taken)


@lru_cache(maxsize=8)
def _grammar(vocabulary: Vocabulary) -> DoseWords:
    return DoseWords(vocabulary)


@lru_cache(maxsize=8192)
def read_dose_words(words: str, vocabulary: Vocabulary) -> WordedDose:
    """Read one dosage text; the same text is read once."""
    return _grammar(vocabulary).read(words)
