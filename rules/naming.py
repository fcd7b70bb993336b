"""Names in free text: which substances a product's words name, and where in the text they stand."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from rules.code_files import NameEntry, TextEntry
from rules.errors import KnowledgeError

_WORD = re.compile(r"[^\W_]+")
_SPACES = re.compile(r"\s+")
_MARKS = str.maketrans(
    {"®": "", "™": "", "©": "", "µ": "u", "μ": "u", "\u00a0": " ", "ß": "ss"}
    | dict.fromkeys("‐‑‒–—−", "-")  # noqa: RUF001 - typographic dashes
)
_MIXED_FRACTION = re.compile(r"(?<=\d)(?=[¼½¾⅓⅔⅛⅜⅝⅞])")
_LONGEST = 2000


@lru_cache(maxsize=8192)
def fold(text: str) -> str:
    """Lower case, without accents and trade marks, one kind of mu and dash, single spaces, at most 2,000 characters."""
    text = text[:_LONGEST]
    if not text.isascii():
        text = _MIXED_FRACTION.sub(" ", text)
        text = unicodedata.normalize("NFKD", text.translate(_MARKS))
        text = "".join(char for char in text if not unicodedata.combining(char))
        text = text.replace("μ", "u").replace("⁄", "/")
    return _SPACES.sub(" ", text.lower()).strip()


class Found(NamedTuple):
    """A name in a folded text: the ids it stands for and its place."""

    ids: tuple[str, ...]
    start: int
    end: int


class NameFinder:
    """Finds names in folded text; where finds overlap, the longest wins, then the earlier entry."""

    def __init__(self, entries: Iterable[NameEntry]) -> None:
        self._by_word: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
        self._patterns: list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = []
        self._compiled: dict[str, re.Pattern[str]] = {}
        for entry in entries:
            ids = (entry.is_,) if isinstance(entry.is_, str) else entry.is_
            for word in entry.words:
                parts = tuple(_WORD.findall(fold(word)))
                if not parts:
                    raise KnowledgeError(f"names of {ids[0]!r}: {word!r} has no letters.")
                self._by_word.setdefault(parts[0], []).append((parts, ids))
            if entry.patterns:
                if not entry.hints:
                    raise KnowledgeError(f"names of {ids[0]!r}: patterns need hints.")
                self._patterns.append((entry.hints, entry.patterns, ids))

    def find(self, folded: str) -> tuple[Found, ...]:
        """Names in the order in which they stand in the text."""
        found = list(self._words_in(folded))
        for hints, patterns, ids in self._patterns:
            if any(hint in folded for hint in hints):
                for pattern in patterns:
                    matches = self._compile(pattern).finditer(folded)
                    found += [Found(ids, match.start(), match.end()) for match in matches]
        found.sort(key=lambda one: (one.start - one.end, one.start))
        kept: list[Found] = []
        for one in found:
            if all(one.end <= other.start or one.start >= other.end for other in kept):
                kept.append(one)
        kept.sort(key=lambda one: one.start)
        return tuple(kept)

    def _words_in(self, folded: str) -> Iterable[Found]:
        by_word = self._by_word
        tokens: list[re.Match[str]] = list(_WORD.finditer(folded))
        texts = [token.group() for token in tokens]
        for place, text in enumerate(texts):
            for parts, ids in by_word.get(text, ()):
                if tuple(texts[place : place + len(parts)]) == parts:
                    yield Found(ids, tokens[place].start(), tokens[place + len(parts) - 1].end())

    def _compile(self, pattern: str) -> re.Pattern[str]:
        compiled = self._compiled.get(pattern)
        if compiled is None:
            compiled = self._compiled[pattern] = compile_pattern(pattern)
        return compiled


class TextFinder:
    """Finds foods or purposes in free text, unless a refusal stands beside them."""

    def __init__(self, entries: dict[str, TextEntry]) -> None:
        self._entries = entries
        self._compiled: dict[str, tuple[list[re.Pattern[str]], list[re.Pattern[str]]]] = {}

    def find(self, folded: str) -> tuple[str, ...]:
        """Ids that the text speaks of, in the order of the lists."""
        return tuple(name for name in self._entries if self._speaks_of(name, folded))

    def _speaks_of(self, name: str, folded: str) -> bool:
        patterns, unless = self._compiled.get(name) or self._compile(name)
        return any(one.search(folded) for one in patterns) and not any(
            one.search(folded) for one in unless
        )

    def _compile(self, name: str) -> tuple[list[re.Pattern[str]], list[re.Pattern[str]]]:
        entry = self._entries[name]
        compiled = (
            [compile_pattern(one) for one in entry.patterns],
            [compile_pattern(one) for one in entry.unless],
        )
        self._compiled[name] = compiled
        return compiled


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of a pack; raises KnowledgeError when it is no regular expression."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise KnowledgeError(f"{pattern!r} is no regular expression: {error}.") from None
