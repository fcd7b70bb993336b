"""Reads a decision from a form: which action, with which coded reason, until when, handed to whom."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from rules.errors import RequestError
from service.alerts.lifecycle import Action, Request, WakesOn
from service.dashboard.reasons import THE_REST, reasons_for, snooze_span

if TYPE_CHECKING:
    from sqlalchemy import Row

    from service.dashboard.desk import Desk, Visit

ACTIONS: Final = frozenset(get_args(Action))
CODED: Final = frozenset({"override", "data-problem", "reopen", "resolve"})
_LONGEST_NOTE: Final = 2_000
_LARGEST: Final = 10**9  # larger numbers are no version of anything


def decision(visit: Visit, row: Row[Any]) -> Request:
    """What the form asks to do with this alert.

    Raises:
        RequestError: the action, the reason, the time or the person is none that was offered.
    """
    action, form = visit.form.get("action", ""), visit.form
    if action not in ACTIONS:
        raise RequestError("there is no such action.", status=422)
    note = form.get("note", "").strip()
    if len(note) > _LONGEST_NOTE:
        raise RequestError(f"a note has {_LONGEST_NOTE} characters at most.", status=422)
    if action == "comment" and not note:
        raise RequestError("an empty comment says nothing.", status=422)
    until, wakes_on = _snooze(visit, row) if action == "snooze" else (None, "")
    return Request(
        action=cast("Action", action), actor=visit.who.actor, at=visit.now, note=note, until=until,
        reason=_reason(visit, row.rule, action) if action in CODED else "",
        wakes_on=cast("WakesOn", wakes_on), to=_colleague(visit) if action == "assign" else "",
    )  # fmt: skip


def version_of(given: str) -> int:
    """The version that a form was made for; raises RequestError."""
    if not given.isascii() or not given.isdigit() or int(given[:10]) > _LARGEST:
        raise RequestError("the form does not say which version it is about.", status=422)
    return int(given[:10])


def colleagues(desk: Desk, tenant: str) -> list[str]:
    """Accounts that an alert may be handed to: those that may decide."""
    from service.alerts.access import RIGHTS, accounts

    return [
        one["name"]
        for one in accounts(desk.record.database, tenant)
        if not one["disabled"] and "triage" in RIGHTS[one["role"]]
    ]


def _reason(visit: Visit, rule: str, action: str) -> str:
    reason = visit.form.get(f"reason_{action}") or visit.form.get("reason", "")
    offered = reasons_for(visit.desk.parts.engine.rulebook, rule)[action]
    if reason not in {choice.code for choice in offered}:
        raise RequestError("choose one of the reasons.", status=422)
    return reason


def _colleague(visit: Visit) -> str:
    name = visit.form.get("to", "")
    if name not in colleagues(visit.desk, visit.who.tenant):
        raise RequestError("choose a colleague who may decide.", status=422)
    return f"user/{name}"


def _snooze(visit: Visit, row: Row[Any]) -> tuple[datetime | None, str]:
    """The time until which, and what wakes it earlier; waiting for an escalation means as long as is allowed."""
    form = visit.form
    wakes_on = form.get("wakes_on", "")
    if wakes_on not in get_args(WakesOn):
        raise RequestError("choose what brings it back.", status=422)
    if wakes_on == "escalation":
        return _latest(visit, row), wakes_on
    if form.get("day"):
        return _start_of(form["day"], visit.desk.zone), wakes_on
    if form.get("span") == THE_REST:
        return _latest(visit, row), wakes_on
    span: timedelta | None = snooze_span(form.get("span", ""))
    return (visit.now + span if span else None), wakes_on


def _latest(visit: Visit, row: Row[Any]) -> datetime | None:
    return visit.desk.record.store().latest_snoozes([row], visit.now)[row.id]


def _start_of(day: str, zone: tzinfo) -> datetime:
    """The first moment of a day at the site."""
    try:
        return datetime.combine(date.fromisoformat(day), time.min, tzinfo=zone)
    except ValueError:
        raise RequestError("the day is not a date.", status=422) from None
