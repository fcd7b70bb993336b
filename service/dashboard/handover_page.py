"""The hand-over: one page per shift of what came up, what was done, what is left, and notes; made to be printed."""

from __future__ import annotations

from datetime import datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from rules.errors import RequestError
from service.alerts.handover import Shift, add_note, handover, notes
from service.alerts.past_answers import instant, micros
from service.dashboard.casebook import references_of
from service.dashboard.reasons import reasons_for

if TYPE_CHECKING:
    from starlette.responses import Response

    from service.dashboard.desk import Desk, Visit

_LONGEST_NOTE: Final = 2_000
_LONGEST_PAST: Final = timedelta(days=400)


class Shifts:
    """When shifts begin in one zone; a shift ends where the next begins."""

    def __init__(self, starts: tuple[str, ...], zone: tzinfo) -> None:
        self._starts = sorted(time.fromisoformat(one) for one in starts) or [time(0)]
        self._zone = zone

    def around(self, at: datetime) -> tuple[datetime, datetime]:
        """Begin and end of the shift that an instant falls into."""
        day = at.astimezone(self._zone).date()
        begins = [
            datetime.combine(day + timedelta(days=step), start, self._zone)
            for step in (-1, 0, 1, 2)
            for start in self._starts
        ]
        begin = max(one for one in begins if one <= at)
        return begin, min(one for one in begins if one > begin)


class HandoverPage:
    """Shows a shift and takes notes."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        settings = desk.parts.settings
        self._shifts = Shifts(settings.shift_starts, ZoneInfo(settings.zone))
        self._zone = ZoneInfo(settings.zone)
        desk.route("GET", "/handover", "see-alerts", self.show)
        desk.route("POST", "/handover", "triage", self.note)

    def show(self, visit: Visit) -> Response:
        """One shift; without a choice the one that runs."""
        return self._render(visit, self._chosen(visit, visit.query.get("shift", "")))

    def note(self, visit: Visit) -> Response:
        """Keep a note for the next shift."""
        begin, end = self._chosen(visit, visit.form.get("shift", ""))
        text = visit.form.get("note", "").strip()
        if not text or len(text) > _LONGEST_NOTE:
            says = f"A note has 1 to {_LONGEST_NOTE} characters."
            return self._render(visit, (begin, end), problem=says, status=422)
        record = self._desk.record
        add_note(
            record.database, record.keyring, tenant=visit.who.tenant, shift=micros(begin), actor=visit.who.actor, at=visit.now,
            text=text,
        )  # fmt: skip
        return visit.go(f"/handover?shift={micros(begin)}#notes")

    def _chosen(self, visit: Visit, given: str) -> tuple[datetime, datetime]:
        if not given:
            return self._shifts.around(visit.now)
        if not (given.isascii() and given.isdigit()):
            raise RequestError("'shift' is an instant.", status=422)
        number = int(given[:17])
        oldest = micros(visit.now - _LONGEST_PAST)
        if not oldest <= number <= micros(visit.now):
            raise RequestError("There is no page of this shift.", status=404, code="not-found")
        return self._shifts.around(instant(number))

    def _render(
        self, visit: Visit, shift: tuple[datetime, datetime], *, problem: str = "", status: int = 200
    ) -> Response:  # fmt: skip
        record, tenant = self._desk.record, visit.who.tenant
        begin, end = shift
        current = self._shifts.around(visit.now)[0]
        next_end = self._shifts.around(self._shifts.around(visit.now)[1])[1]
        found = handover(
            record.database, tenant, Shift(start=micros(begin), end=micros(end)), micros(visit.now), micros(next_end)
        )  # fmt: skip
        rows = [*found.done, *found.snoozed, *found.escalated, *found.unclaimed, *found.due]
        self._desk.note(visit, "view", f"handover/{begin.isoformat(timespec='minutes')}")
        return visit.page(
            "handover.html", status=status, problem=problem, shift=found, begin=begin, end=end, number=micros(begin),
            is_current=begin == current, earlier=micros(self._shifts.around(begin - timedelta(seconds=1))[0]),
            later=micros(end) if begin != current else 0, notes=notes(record.database, record.keyring, tenant, micros(begin)),
            patients=references_of(record.store(), tenant, {row.patient for row in rows}), words=self._words(),
            may_note=visit.who.may("triage"), local=self._local, zone=str(self._zone),
        )  # fmt: skip

    def _words(self) -> dict[str, str]:
        book = self._desk.parts.engine.rulebook
        words = {code: held.display for code, held in book.override_reasons.items()}
        for choices in reasons_for(book, "").values():
            words |= {one.code: one.display for one in choices}
        return words

    def _local(self, at: Any) -> str:
        """Day and time in the site's zone."""
        when = at if isinstance(at, datetime) else instant(at)
        return when.astimezone(self._zone).strftime("%a %d %b, %H:%M")
