"""Evaluates an alert's evidence again: with the rules of its day and with today's; what came out is kept as an event."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection, Row

from rules.errors import DekacardError, RequestError
from service.alerts import models
from service.alerts.past_answers import micros
from service.evidence_vault import bound, seal_text

if TYPE_CHECKING:
    from starlette.responses import Response

    from service.alerts.store import Store
    from service.dashboard.alert_page import AlertPage
    from service.dashboard.desk import Desk, Visit
    from service.replay import Replayed


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Two comparisons with what was recorded: that day's rules, and today's; ``problem`` where the first could not be."""

    same: bool = False
    then: tuple[str, ...] = ()
    today: tuple[str, ...] = ()
    problem: str = ""

    @property
    def code(self) -> str:
        """One word for the history."""
        if self.problem:
            return "not-possible"
        return "as-recorded" if self.same else "differs"


class Replaying:
    """Takes the button of the alert page."""

    def __init__(self, desk: Desk, page: AlertPage) -> None:
        self._desk = desk
        self._page = page
        self._one_at_a_time = threading.Lock()
        desk.route("POST", "/a/{number:row}/replay", "see-alerts", self.replay)

    def replay(self, visit: Visit) -> Response:
        """Do it, keep what came out, and show it on the page."""
        number = visit.path["number"]
        store = self._desk.record.store()
        row = store.alert(visit.who.tenant, number)
        if not self._one_at_a_time.acquire(blocking=False):
            raise RequestError("Another replay is running; try again in a moment.", status=429)
        try:
            outcome = self._outcome(store, visit.who.tenant, row)
        finally:
            self._one_at_a_time.release()
        store.database.write(partial(_remember, store=store, row=row, outcome=outcome, visit=visit))
        self._desk.note(visit, "replay", f"alert/{number}", patient=row.patient)
        return self._page.render(visit, number, replayed=outcome)

    def _outcome(self, store: Store, tenant: str, row: Row[Any]) -> Outcome:
        from service.replay import replay

        try:
            done = replay(store, tenant, row.evaluation, today=self._desk.parts.engine)
        except DekacardError as error:
            return Outcome(problem=str(error))
        return Outcome(same=done.same, then=_difference(done), today=_since(done.since))


def _difference(done: Replayed) -> tuple[str, ...]:
    """Recommendations that the rules of that day say differently now: an engine that changed, or a tampered record."""
    if done.same:
        return ()
    then, now = (_spoken(raw) for raw in (done.recorded, done.replayed))
    found = [f"{name}: recorded, not found again" for name in then if name not in now]
    found += [f"{name}: found, not recorded" for name in now if name not in then]
    return tuple(found) or ("the recommendations are the same, other parts of the answer differ",)


def _spoken(raw: msgspec.Raw) -> list[str]:
    answer: Mapping[str, Any] = msgspec.json.decode(raw)
    return [f"{one['rule']} {one['indicator']}".strip() for one in answer["recommendations"]]


def _since(since: Mapping[str, list[str]]) -> tuple[str, ...]:
    words = {
        "added": "would also say",
        "gone": "would no longer say",
        "changed": "would say otherwise",
    }
    return tuple(f"{words[kind]}: {name}" for kind in words for name in since.get(kind, ()))


def _remember(
    connection: Connection, *, store: Store, row: Row[Any], outcome: Outcome, visit: Visit
) -> None:
    told = "; ".join(
        [outcome.problem, *outcome.then, *(f"today {one}" for one in outcome.today)]
    ).strip("; ")
    sealed_with, note = seal_text(store.keyring, told, bound("event", row.tenant, str(row.id)))
    connection.execute(
        models.event.insert().values(
            tenant=row.tenant, alert=row.id, at=micros(visit.now), actor=visit.who.actor, action="replay",
            before=row.state, after=row.state, reason=outcome.code, sealed_with=sealed_with, note=note if told else None,
            evaluation=row.evaluation, alert_version=row.version,
        )
    )  # fmt: skip
