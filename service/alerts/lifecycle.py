"""What may happen to an alert: pure states, without a database.

new -> acknowledged -> resolved | overridden | data-problem; ``cleared`` is closed by the system because the facts no
longer hold. ``snoozed_until`` and ``suppressed_by`` stand beside the state, ``course`` says how it goes on:
first, ongoing, escalated, recurred.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from rules.errors import RequestError

State = Literal["new", "acknowledged", "resolved", "overridden", "data-problem", "cleared"]
Action = Literal[
    "acknowledge", "claim", "release", "assign", "resolve", "override", "data-problem", "snooze", "wake",
    "comment", "reopen",
]  # fmt: skip
OPEN: frozenset[str] = frozenset({"new", "acknowledged"})
CLOSED: frozenset[str] = frozenset({"resolved", "overridden", "data-problem", "cleared"})
SEVERITIES = {"critical": 2, "warning": 1, "info": 0}
WakesOn = Literal["", "new-result", "escalation"]
_CLOSING: dict[str, State] = {
    "resolve": "resolved",
    "override": "overridden",
    "data-problem": "data-problem",
}
_NEEDS_REASON = {"override", "data-problem", "reopen"}
_ON_OPEN = {"acknowledge", "claim", "release", "assign", "snooze", "wake", *_CLOSING}


class SnoozeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The longest time each severity may be put off (house policy, not a clinical statement)."""

    critical: timedelta = timedelta(hours=24)
    warning: timedelta = timedelta(days=14)
    info: timedelta = timedelta(days=90)

    def longest(self, indicator: str) -> timedelta:
        """How long an alert of this severity may be put off at once."""
        span: timedelta = getattr(self, indicator, self.critical)
        return span


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an alert that actions change."""

    state: State
    indicator: str
    assignee: str = ""
    snoozed_until: datetime | None = None
    wakes_on: str = ""
    close_reason: str = ""
    closed: datetime | None = None
    closed_by: str = ""
    new_data: bool = False


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asks to do with an alert; ``reason`` is a code, ``until`` for snoozing, ``to`` for assigning.

    A snoozed alert comes back at ``until``, at once when it becomes more severe, and with ``wakes_on`` set to
    ``new-result`` also as soon as its evidence changes.
    """

    action: Action
    actor: str
    at: datetime
    reason: str = ""
    note: str = ""
    until: datetime | None = None
    wakes_on: WakesOn = ""
    to: str = ""


def act(now: Standing, request: Request, limits: SnoozeLimits) -> Standing:
    """The standing afterwards; raises RequestError (422) when the action does not fit the state."""
    action = request.action
    if action in _ON_OPEN and now.state not in OPEN:
        raise RequestError(
            f"the alert is {now.state}; it cannot be changed by '{action}'.", status=422
        )
    if action in _NEEDS_REASON and not request.reason:
        raise RequestError(f"'{action}' needs a coded reason.", status=422)
    if action in _CLOSING:
        return msgspec.structs.replace(
            now,
            state=_CLOSING[action],
            close_reason=request.reason,
            closed=request.at,
            closed_by=request.actor,
            snoozed_until=None,
            wakes_on="",
            new_data=False,
        )
    change = _CHANGES.get(action)
    if change is None:
        raise RequestError(f"there is no action '{action}'.", status=422)
    return msgspec.structs.replace(now, **change(now, request, limits))


def _acknowledged(_now: Standing, _request: Request, _limits: SnoozeLimits) -> dict[str, Any]:
    return {"state": "acknowledged", "new_data": False}


def _claimed(now: Standing, request: Request, _limits: SnoozeLimits) -> dict[str, Any]:
    if now.assignee not in {"", request.actor}:
        raise RequestError(
            "the alert is claimed by somebody else; 'assign' hands it over.", status=422
        )
    return {"assignee": request.actor}


def _assigned(_now: Standing, request: Request, _limits: SnoozeLimits) -> dict[str, Any]:
    if not request.to:
        raise RequestError("'assign' needs whom to assign it to.", status=422)
    return {"assignee": request.to}


def _snoozed(now: Standing, request: Request, limits: SnoozeLimits) -> dict[str, Any]:
    if request.until is None or request.until <= request.at:
        raise RequestError("'snooze' needs a time to come.", status=422)
    if request.wakes_on == "escalation" and now.indicator == "critical":
        raise RequestError(
            "nothing is more severe than a critical alert: give the time when it comes back.",
            status=422,
        )
    longest = limits.longest(now.indicator)
    if request.until - request.at > longest:
        raise RequestError(
            f"a {now.indicator} alert can be snoozed for {longest} at most.", status=422
        )
    return {"snoozed_until": request.until, "wakes_on": request.wakes_on}


def _reopened(now: Standing, _request: Request, _limits: SnoozeLimits) -> dict[str, Any]:
    if now.state in OPEN:
        raise RequestError("the alert is open already.", status=422)
    return {"state": "new", "close_reason": "", "closed": None, "closed_by": ""}


_CHANGES: dict[str, Callable[[Standing, Request, SnoozeLimits], dict[str, Any]]] = {
    "acknowledge": _acknowledged,
    "claim": _claimed,
    "assign": _assigned,
    "release": lambda _now, _request, _limits: {"assignee": ""},
    "snooze": _snoozed,
    "wake": lambda _now, _request, _limits: {"snoozed_until": None, "wakes_on": ""},
    "reopen": _reopened,
    "comment": lambda _now, _request, _limits: {},
}


# What a further evaluation does to an alert -----------------------------------------------------------------------

Course = Literal["first", "ongoing", "new-data", "escalated", "recurred", "still-closed"]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The recommendation as it stands now."""

    indicator: str
    evidence_hash: str
    at: datetime


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The newest episode of the alert so far."""

    state: State
    indicator: str
    evidence_hash: str
    last_seen: datetime
    closed: datetime | None = None


def observe(known: Known | None, seen: Seen, quiet: timedelta) -> Course:
    """What a further sighting means.

    Open: ``ongoing``, ``new-data`` (other values) or ``escalated`` (more severe). Closed: ``still-closed`` while the
    same evidence is inside the quiet period, else ``recurred``; cleared ones always recur, and so do more severe ones.
    A sighting older than the newest one (a late line of the spool) only counts.
    """
    if known is None:
        return "first"
    late = seen.at < known.last_seen
    if known.state in OPEN:
        if late:
            return "ongoing"
        if SEVERITIES[seen.indicator] > SEVERITIES[known.indicator]:
            return "escalated"
        return "ongoing" if seen.evidence_hash == known.evidence_hash else "new-data"
    if late or (known.closed is not None and seen.at <= known.closed):
        return "still-closed"
    if known.state == "cleared" or SEVERITIES[seen.indicator] > SEVERITIES[known.indicator]:
        return "recurred"
    if seen.evidence_hash != known.evidence_hash:
        return "recurred"
    expired = known.closed is None or seen.at - known.closed > quiet
    return "recurred" if expired else "still-closed"
