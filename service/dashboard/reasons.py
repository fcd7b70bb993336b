"""Coded reasons that a form offers, and how long an alert may be put off."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import msgspec
import yaml

if TYPE_CHECKING:
    from rules.rulebook import Rulebook

_SNOOZES = (
    ("1h", "1 hour", timedelta(hours=1)),
    ("4h", "4 hours", timedelta(hours=4)),
    ("1d", "24 hours", timedelta(hours=24)),
    ("3d", "3 days", timedelta(days=3)),
    ("7d", "7 days", timedelta(days=7)),
    ("14d", "14 days", timedelta(days=14)),
    ("30d", "30 days", timedelta(days=30)),
    ("90d", "90 days", timedelta(days=90)),
)


THE_REST: Final = "rest"  # as long as is still allowed
# Besides these, a snoozed alert always comes back when it becomes more severe
WAKES: Final = {
    "": "at that time, or when it becomes more severe",
    "new-result": "also as soon as its evidence changes",
    "escalation": "only when it becomes more severe, at the latest at the longest time allowed",
}


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A coded reason with its words."""

    code: str
    display: str


def reasons_for(book: Rulebook, rule: str) -> dict[str, list[Choice]]:
    """What may be chosen for each action on an alert of this rule."""
    card = book.cards.get(rule)
    codes = list(card.override_reasons) if card is not None else []
    known = book.override_reasons
    chosen = [code for code in codes if code in known] or sorted(known)
    override = [Choice(code=code, display=known[code].display) for code in chosen]
    return {"override": override, **_ours()}


def snooze_choices(longest: timedelta) -> list[Choice]:
    """The spans that fit into what is allowed; the longest one stands last."""
    return [Choice(code=code, display=words) for code, words, span in _SNOOZES if span <= longest]


def wakes_for(indicator: str) -> dict[str, str]:
    """What may bring an alert back; nothing is more severe than a critical one, so it never waits for that alone."""
    if indicator != "critical":
        return WAKES
    return {
        "": "at that time",
        **{code: words for code, words in WAKES.items() if code not in {"", "escalation"}},
    }


def snooze_span(code: str) -> timedelta | None:
    """The span of a choice; None for what was never offered."""
    return next((span for known, _, span in _SNOOZES if known == code), None)


def reason_words(book: Rulebook, code: str) -> str:
    """What was chosen, in the words in which it was offered; a code of the system itself is its own words."""
    if code in book.override_reasons:
        return book.override_reasons[code].display
    offered = (one for choices in _ours().values() for one in choices)
    return next((one.display for one in offered if one.code == code), code.replace("-", " "))


@lru_cache(maxsize=1)
def _ours() -> dict[str, list[Choice]]:
    text = (files("service.dashboard") / "reasons.yaml").read_text(encoding="utf-8")
    return {
        action: [Choice(code=code, display=display) for code, display in held.items()]
        for action, held in yaml.safe_load(text).items()
    }
