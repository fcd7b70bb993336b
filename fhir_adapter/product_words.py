"""What the words of a product say it contains: each strength belongs to the ingredient it stands beside."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import NamedTuple

from fhir_adapter.amounts import Strength, alternatives, amount_words
from rules.naming import Found, fold
from rules.vocabulary import FREE_OF_VITAMIN_K, OTHER, Vocabulary

_BETWEEN_LABELS = re.compile(r"[\s(\[/=,;:|]*(?:or|oder)?[\s(]*")


class Part(NamedTuple):
    """One ingredient of a product; ``amount`` in its own unit per piece, mL or drop; ``problem`` if unreadable."""

    ingredient: str
    amount: float | None = None
    per: str = "piece"
    problem: str = ""
    coded: bool = False


class WordedProduct(NamedTuple):
    """What the words name; ``others`` tells of further ingredients, ``topical`` of a form for the skin or eye."""

    parts: tuple[Part, ...]
    others: bool
    free_of_vitamin_k: bool
    topical: bool


@lru_cache(maxsize=8192)
def read_product_words(words: str, vocabulary: Vocabulary) -> WordedProduct:
    """Read one product text; the same text is read once."""
    found = [one for one in vocabulary.named(words) if one.ids != (FREE_OF_VITAMIN_K,)]
    free = any(one.ids == (FREE_OF_VITAMIN_K,) for one in vocabulary.named(words))
    topical = is_topical_form(words, vocabulary)
    ours = [one for one in found if one.ids != (OTHER,)]
    if not ours:
        return WordedProduct((), bool(found), free, topical)
    folded = fold(words)
    masked = folded
    for one in vocabulary.named(words):
        masked = masked[: one.start] + "#" * (one.end - one.start) + masked[one.end :]
    finder = amount_words(vocabulary)
    strengths = [_strength_of_product(one) for one in finder.strengths(masked)]
    serving = finder.serving(masked)
    given = _assign(found, strengths, masked, vocabulary)
    ids = _narrowest({identifier for one in ours for identifier in one.ids}, vocabulary)
    parts: list[Part] = []
    for identifier in sorted(ids):
        own: list[Strength] = []
        for place, one in enumerate(found):
            if any(i == identifier or vocabulary.narrows(identifier, i) for i in one.ids):
                own += given.get(place, [])
        parts.append(_part(identifier, own, serving, vocabulary))
    return WordedProduct(tuple(parts), len(found) > len(ours), free, topical)


def _strength_of_product(one: Strength) -> Strength:
    """In the name of a product "45-180 mcg" are the strengths of two ingredients, with one unit for both."""
    return one if one.low is None else one._replace(value=math.nan)


def _narrowest(ids: set[str], vocabulary: Vocabulary) -> set[str]:
    return {one for one in ids if not any(vocabulary.narrows(other, one) for other in ids)}


def _assign(
    found: list[Found], strengths: list[Strength], masked: str, vocabulary: Vocabulary
) -> dict[int, list[Strength]]:
    """Place of a name -> the strengths that belong to it."""
    given: dict[int, list[Strength]] = {}
    if not strengths:
        return given
    names = list(enumerate(found))
    apart = [p for p, one in names if p == 0 or not _same(found[p - 1], one, vocabulary)]
    labels = _labels(strengths, masked)
    if len(apart) > 1 and found[-1].end <= strengths[0].start:
        # "K2/D3 100 mcg/5000 IU": all names first, then as many strengths (or labels with two figures)
        for listed in ([[one] for one in strengths], labels):
            if len(listed) == len(apart) and all(
                _fits(found[p], one, vocabulary) for p, one in zip(apart, listed, strict=True)
            ):
                return dict(zip(apart, listed, strict=True))
    leading = strengths[0].start < found[0].start and strengths[-1].end <= found[-1].start
    for group in labels:
        before = [p for p, one in reversed(names) if one.end <= group[0].start]
        after = [p for p, one in names if one.start >= group[-1].end]
        order = after + before if leading or not before else before
        place = next((p for p in order if _fits(found[p], group, vocabulary)), None)
        if place is not None:
            given.setdefault(place, []).extend(group)
    return given


def _labels(strengths: list[Strength], masked: str) -> list[list[Strength]]:
    """Neighbouring figures of one label, as in "125 mcg (5000 IU)", stay together."""
    groups: list[list[Strength]] = []
    for one in strengths:
        if groups and _BETWEEN_LABELS.fullmatch(masked[groups[-1][-1].end : one.start]):
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _same(left: Found, right: Found, vocabulary: Vocabulary) -> bool:
    return any(
        a == b or vocabulary.narrows(a, b) or vocabulary.narrows(b, a)
        for a in left.ids
        for b in right.ids
    )


def _fits(name: Found, label: list[Strength], vocabulary: Vocabulary) -> bool:
    return name.ids == (OTHER,) or any(
        _measures(identifier, strength, vocabulary) for identifier in name.ids for strength in label
    )


def _measures(identifier: str, strength: Strength, vocabulary: Vocabulary) -> bool:
    """Whether the unit can measure the ingredient, and one piece can hold so much of it."""
    value = 0.0 if math.isnan(strength.value) else strength.value
    amount = vocabulary.amount(identifier, value, strength.unit)
    return amount is not None and amount / strength.per_count <= vocabulary.most_in_one(identifier)


def _part(
    identifier: str, own: list[Strength], serving: float | None, vocabulary: Vocabulary
) -> Part:
    amounts: list[tuple[float, str, bool]] = []
    for one in own:
        if math.isnan(one.value):
            return Part(identifier, None, problem="the strength could mean two numbers")
        amount = vocabulary.amount(identifier, one.value, one.unit)
        if amount is None:
            continue
        if one.per in {"serving", "other"}:
            continue
        per = {"volume": "mL", "drops": "drop"}.get(one.per, "piece")
        pieces = serving if per == "piece" and not one.per and serving else one.per_count
        amounts.append((amount / pieces, per, one.unit.dimension == "units"))
    if not amounts:
        return Part(identifier)
    first, per, _ = amounts[0]
    tolerance = vocabulary.content.label_tolerance
    margin = tolerance.value if tolerance else 0.0
    if any(unit != per or abs(value - first) > margin * first for value, unit, _ in amounts[1:]):
        return Part(identifier, None, problem="the label gives two different strengths")
    exact = next((value for value, _, counts_units in amounts if counts_units), first)
    return Part(identifier, round(exact, 6), per)


@lru_cache(maxsize=8)
def _form_patterns(vocabulary: Vocabulary) -> tuple[re.Pattern[str], re.Pattern[str]]:
    forms = vocabulary.content.forms
    never = re.compile(r"(?!)")
    if forms is None:
        return never, never
    wrap = r"(?<![a-z])(?:{})(?![a-z])"
    return (
        re.compile(wrap.format(alternatives(forms.topical))),
        re.compile(wrap.format(alternatives(forms.not_topical))),
    )


@lru_cache(maxsize=8192)
def is_topical_form(words: str, vocabulary: Vocabulary) -> bool:
    """Whether the words name a form that acts only where it is put (ointment, eye drops)."""
    topical, never = _form_patterns(vocabulary)
    return bool(topical.search(never.sub(" ", fold(words))))
