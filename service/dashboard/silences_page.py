"""The silences page: what is not shown for now, why, by whom, until when, and how much it has held back."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import yaml

from rules.errors import RequestError
from service.alerts.silences import (
    Limits,
    View,
    Wish,
    ask,
    decide,
    hidden_now,
    lift,
    note_of,
    silences,
    units_of,
)
from service.dashboard.casebook import reference_of
from service.patient_groups import groups

if TYPE_CHECKING:
    from sqlalchemy import Row
    from starlette.responses import Response

    from service.dashboard.desk import Desk, Visit

_VIEWS: Final = {"now": "In force", "waiting": "Wait for approval", "past": "Ended"}
_SIZE: Final = 50
_LONGEST_NOTE: Final = 500
_LAST: Final = 10**15
_DONE: Final = {
    "asked": "Asked. It takes effect when a second person approves it.",
    "made": "Done. The silence is in force within seconds.",
    "approved": "Approved. The silence is in force within seconds.",
    "refused": "Refused. Nothing is silenced.",
    "lifted": "Lifted. Everything is shown again within seconds.",
}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A silence as a row: the stored one with what people want to know of it."""

    row: Any
    title: str
    patient: str
    reason: str
    note: str
    hides: int


class SilencesPage:
    """Shows silences, and takes wishes, decisions and ends."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        settings = desk.parts.settings
        self._limits = Limits(
            usual=timedelta(days=settings.silence_days),
            critical=timedelta(days=settings.silence_critical_days),
            approval=settings.silence_approval,
        )
        desk.route("GET", "/silences", "see-alerts", self.show)
        desk.route("POST", "/silences", "silence", self.ask)
        desk.route("POST", "/silences/{number:row}", "silence", self.act)

    def show(self, visit: Visit) -> Response:
        """Silences of one view."""
        return self._render(visit)

    def ask(self, visit: Visit) -> Response:
        """Ask for a silence."""
        try:
            wish = self._wish(visit)
            ask(self._desk.record.database, self._desk.record.keyring, wish, self._limits)
        except RequestError as error:
            return self._render(visit, problem=f"Not done: {error}", status=error.status)
        return self._back("asked" if wish.waits(self._limits.approval) else "made", visit)

    def act(self, visit: Visit) -> Response:
        """Approve, refuse or lift."""
        action = visit.form.get("action", "")
        given: dict[str, Any] = {
            "tenant": visit.who.tenant, "number": visit.path["number"], "actor": visit.who.actor, "at": visit.now,
        }  # fmt: skip
        database, keyring = self._desk.record.database, self._desk.record.keyring
        try:
            if action == "lift":
                lift(database, keyring, **given)
            elif action in {"approve", "refuse"}:
                decide(database, keyring, approve=action == "approve", **given)
            else:
                return self._render(visit, problem="There is no such action.", status=422)
        except RequestError as error:
            return self._render(visit, problem=f"Not done: {error}", status=error.status)
        return self._back({"lift": "lifted", "approve": "approved"}.get(action, "refused"), visit)

    def _back(self, done: str, visit: Visit) -> Response:
        self._desk.parts.renew_silences()
        view = "waiting" if done == "asked" else "past" if done in {"lifted", "refused"} else "now"
        return visit.go(f"/silences?view={view}&done={done}")

    def _wish(self, visit: Visit) -> Wish:
        form, book = visit.form, self._desk.parts.engine.rulebook
        rule, patient = form.get("rule", ""), form.get("patient", "").strip()
        if rule and rule not in book.cards:
            raise RequestError("there is no such rule in force.", status=422)
        if patient:
            patient = self._key_of(visit, patient)
        if form.get("unit", "").strip() not in {
            "",
            *units_of(self._desk.record.database, visit.who.tenant),
        }:
            raise RequestError("no patient is known to be on this unit.", status=422)
        reason, note = form.get("reason", ""), form.get("note", "").strip()
        if reason not in reasons():
            raise RequestError("choose one of the reasons.", status=422)
        if len(note) > _LONGEST_NOTE:
            raise RequestError(f"a note has {_LONGEST_NOTE} characters at most.", status=422)
        return Wish(
            tenant=visit.who.tenant, actor=visit.who.actor, at=visit.now, until=_end(form.get("until", ""), visit.here.tzinfo), reason=reason,
            note=note, rule=rule, patient=patient, unit=form.get("unit", "").strip(), group=form.get("group", ""), covers_critical=form.get("critical", "") == "yes",
        )  # fmt: skip

    def _key_of(self, visit: Visit, given: str) -> str:
        """The record's key of a patient, from the key itself or from the reference of the client's server."""
        store, tenant = self._desk.record.store(), visit.who.tenant
        hashed = self._desk.record.keyring.patient_key(tenant, given.removeprefix("Patient/"))
        for key in (given, hashed):
            try:
                store.patient_reference(tenant, key)
            except RequestError:
                continue
            return key
        raise RequestError("no review of this patient is in the record.", status=422)

    def _render(self, visit: Visit, *, problem: str = "", status: int = 200) -> Response:
        given = visit.query.get("view", "now")
        view = cast("View", given if given in _VIEWS else "now")
        after = visit.query.get("after", "")
        before = int(after[:15]) if after.isascii() and after.isdigit() else 0
        database, tenant = self._desk.record.database, visit.who.tenant
        found = silences(database, tenant, view, visit.now, before=min(before, _LAST), limit=_SIZE + 1)  # fmt: skip
        shown = found[:_SIZE]
        self._desk.note(visit, "list", f"silences/{view}")
        book = self._desk.parts.engine.rulebook
        return visit.page(
            "silences.html", status=status, problem=problem, done=_DONE.get(visit.query.get("done", ""), ""), views=_VIEWS,
            view=view, lines=[self._line(visit, row, view) for row in shown],
            more=shown[-1].id if len(found) > _SIZE else 0, reasons=reasons(), limits=self._limits,
            rules={name: card.title for name, card in sorted(book.cards.items()) if name in book.rules},
            latest=(visit.here + self._limits.usual).date(), usual=(visit.here + timedelta(days=min(7, self._limits.usual.days))).date(),
            latest_critical=(visit.here + self._limits.critical).date(), may_silence=visit.who.may("silence"), zone=self._desk.zone.key,
            units=units_of(database, tenant), groups=groups(),
            chosen_rule=visit.query.get("rule", ""), chosen_patient=visit.query.get("patient", ""),
        )  # fmt: skip

    def _line(self, visit: Visit, row: Row[Any], view: str) -> Line:
        store = self._desk.record.store()
        book = self._desk.parts.engine.rulebook
        hides = 0
        if view == "now":
            with store.database.reading() as connection:
                hides = hidden_now(connection, row)
        return Line(
            row=row, title=book.cards[row.rule].title if row.rule in book.cards else "",
            patient=reference_of(store, visit.who.tenant, row.patient) if row.patient else "",
            reason=reasons().get(row.reason, row.reason), note=note_of(store.keyring, row), hides=hides,
        )  # fmt: skip


@lru_cache(maxsize=1)
def reasons() -> dict[str, str]:
    """Why something may be silenced: code and words."""
    text = (files("service.dashboard") / "silence_reasons.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def _end(given: str, zone: tzinfo | None) -> datetime:
    """Noon of the day that was chosen, in the zone of the site: somebody is there when it ends."""
    try:
        day = datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=zone)
    except ValueError:
        raise RequestError("the end is no date.", status=422) from None
    return day.replace(hour=12)
