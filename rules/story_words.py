"""The words of stories: days, how often, and the clauses of a line."""

from __future__ import annotations

import re
from datetime import date, timedelta

DAY = r"(\d{4}-\d\d-\d\d|today|yesterday|\d+ (?:day|week|month|year)s? ago|in \d+ (?:day|week|month|year)s?)"
NUMBER = r"(\d+(?:\.\d+)?)"
NUMBER = r"(\d+(?:\.\d+)?)"
EVERY = (
    (re.compile(r"/d|daily|a day|once a day"), 1.0),
    (re.compile(r"/wk|weekly|once a week"), 7.0),
    (re.compile(r"monthly|/mo"), 30.0),
)


class Unreadable(Exception):
    """A line that does not follow the grammar."""


class Sentence:
    """A line of a story from which clauses are taken away, one by one, until only its heart is left."""

    def __init__(self, text: str, today: date) -> None:
        self.text, self.today = " ".join(text.replace(",", " ").split()), today

    def take(self, pattern: str) -> str | None:
        """Take a clause away; gives its first group, or all of it, or ``None`` when it is not there."""
        match = re.search(pattern, self.text)
        if match is None:
            return None
        self.text = " ".join(f"{self.text[: match.start()]} {self.text[match.end() :]}".split())
        return match[1] if match.lastindex else match[0]

    def flag(self, pattern: str) -> bool:
        """Take a clause away and tell whether it was there."""
        return self.take(pattern) is not None

    def word(self, word: str) -> bool:
        """Take away a word at the beginning and tell whether it was there."""
        return self.take(rf"^{word} ") is not None

    def day(self, before: str) -> date | None:
        """Take away a day that follows the words ``before``."""
        said = self.take(rf"{before}{DAY}")
        return None if said is None else day_of(said, self.today)


def day_of(said: str, today: date) -> date:
    """The day that words like ``20 days ago``, ``in 5 days`` or ``2026-11-01`` mean, seen from ``today``."""
    if said in {"today", "yesterday"}:
        return today if said == "today" else today - timedelta(days=1)
    match = re.fullmatch(r"(in )?(\d+) (day|week|month|year)s?(?: ago)?", said)
    if match is None:
        return date.fromisoformat(said)
    return day_before(today, -int(match[2]) if match[1] else int(match[2]), match[3])


def day_before(today: date, count: int, unit: str) -> date:
    """The day that lies ``count`` days, weeks, months or years before ``today`` (after it, when negative)."""
    if unit in {"day", "week"}:
        return today - timedelta(days=count * (7 if unit == "week" else 1))
    months = today.year * 12 + today.month - 1 - count * (12 if unit == "year" else 1)
    return date(months // 12, months % 12 + 1, min(today.day, 28 if months % 12 == 1 else 30))


def interval_of(often: str, line: str) -> float | None:
    """Days between two doses; ``None`` when nothing is said.

    Raises:
        Unreadable: the words are not understood.
    """
    if not often:
        return None
    for pattern, days in EVERY:
        if pattern.fullmatch(often):
            return days
    if match := re.fullmatch(r"(\d+) times a (day|week)", often):
        return (1 if match[2] == "day" else 7) / int(match[1])
    if match := re.fullmatch(r"every (\d+) (day|week)s?", often):
        return float(match[1]) * (1 if match[2] == "day" else 7)
    raise Unreadable(f"'{line}': '{often}' does not say how often.")
