"""The audit page: who did what, when and about whom; the check of the chain; the lines as a file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from rules.errors import RequestError
from service import audit
from service.alerts.audit_search import Wanted, head_of, lines
from service.alerts.past_answers import instant, micros
from service.dashboard.casebook import references_of
from service.dashboard.sheets import csv_text

if TYPE_CHECKING:
    from sqlalchemy import Row

    from service.dashboard.desk import Desk, Visit

_SIZE: Final = 50
_MOST_EXPORTED: Final = 50_000
_LONGEST: Final = 200
_TEXTS: Final = ("actor", "action", "about", "patient", "outcome", "since", "until")
_HEADS: Final = (
    "number", "at", "actor", "action", "object", "patient key", "before", "after", "reason", "outcome", "request", "seal",
)  # fmt: skip
_FAULTS_SHOWN: Final = 20


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What the check of the chain found."""

    faults: tuple[audit.Fault, ...]
    seq: int
    mac: str


class AuditPage:
    """Searches, checks and exports the trail of one client."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.route("GET", "/audit", "see-audit", self.show)
        desk.route("POST", "/audit", "see-audit", self.find)
        desk.route("POST", "/audit/verify", "see-audit", self.verify)
        desk.route("GET", "/audit/lines.csv", "see-audit", self.export)

    def show(self, visit: Visit) -> Response:
        """A page of lines."""
        return self._render(visit, visit.query)

    def find(self, visit: Visit) -> Response:
        """Turn the form into an address; a patient's reference becomes the record's key, and never stands in it."""
        kept = _kept(visit.form)
        reference = visit.form.get("reference", "").strip().removeprefix("Patient/")
        if reference:
            key = self._desk.record.keyring.patient_key(visit.who.tenant, reference)
            kept["patient"] = key
        return visit.go("/audit" + (f"?{urlencode(kept)}" if kept else ""))

    def verify(self, visit: Visit) -> Response:
        """Check every line of the client's chain against its seal."""
        record, tenant = self._desk.record, visit.who.tenant
        with record.database.reading() as connection:
            faults = audit.verify(connection, record.keyring, only=tenant)
        head = head_of(record.database, tenant)
        found = Checked(
            faults=tuple(faults[:_FAULTS_SHOWN]), seq=head.seq if head else 0, mac=head.mac if head else ""
        )  # fmt: skip
        self._desk.note(visit, "verify", f"audit/{len(faults)} faults")
        return self._render(visit, {}, checked=found)

    def export(self, visit: Visit) -> Response:
        """The lines of a search as a table for spreadsheets; the export is itself a line."""
        wanted, _ = _wanted(visit, visit.query)
        found = lines(self._desk.record.database, wanted, _MOST_EXPORTED)
        self._desk.note(visit, "export", f"audit/{len(found)} lines")
        body = csv_text(_HEADS, (_cells(row) for row in found))
        return Response(
            body,
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="audit.csv"'},
        )

    def _render(
        self, visit: Visit, given: Mapping[str, str], *, checked: Checked | None = None
    ) -> Response:
        problem, status = "", 200
        try:
            wanted, kept = _wanted(visit, given)
        except RequestError as error:
            problem, status = str(error), error.status
            wanted, kept = Wanted(tenant=visit.who.tenant), {}
        record = self._desk.record
        found = lines(record.database, wanted, _SIZE + 1)
        shown = found[:_SIZE]
        if given:
            self._desk.note(visit, "search", "audit")
        return visit.page(
            "audit.html", status=status, problem=problem, lines=shown, kept=kept, checked=checked, head=head_of(record.database, visit.who.tenant),
            patients=references_of(record.store(), visit.who.tenant, {row.patient for row in shown if row.patient}) if visit.who.may("see-alerts") else {},
            more=urlencode({**kept, "before": shown[-1].seq}) if len(found) > _SIZE else "", query=urlencode(kept), zone=self._desk.zone.key,
        )  # fmt: skip


def _kept(given: Mapping[str, str]) -> dict[str, str]:
    """The fields of a search that are ours and not empty."""
    cleaned = {name: given.get(name, "").strip()[:_LONGEST] for name in _TEXTS}
    return {name: value for name, value in cleaned.items() if value}


def _wanted(visit: Visit, given: Mapping[str, str]) -> tuple[Wanted, dict[str, str]]:
    kept = _kept(given)
    before = given.get("before", "")
    texts: dict[str, Any] = {
        name: kept[name] for name in kept if name not in {"since", "until", "actor"}
    }
    actor = kept.get("actor", "")
    # People are searched by their account; everything else acts under its own name
    known = "/" in actor or actor in {"", "dekacard", "unknown", "operator"}
    return Wanted(
        tenant=visit.who.tenant, actor=actor if known else f"user/{actor}",
        since=_day(kept.get("since", ""), visit), until=_day(kept.get("until", ""), visit, after=1),
        before=int(before[:15]) if before.isascii() and before.isdigit() else 0, **texts,
    ), kept  # fmt: skip


def _day(given: str, visit: Visit, after: int = 0) -> int | None:
    """The beginning of a day of the site."""
    if not given:
        return None
    try:
        day = datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=visit.here.tzinfo)
    except ValueError:
        raise RequestError("A day is written like 2026-11-22.", status=422) from None
    return micros(day + timedelta(days=after))


def _cells(row: Row[Any]) -> list[str | int]:
    return [
        row.seq, instant(row.at).isoformat(), row.actor, row.action, row.object, row.patient, row.before, row.after, row.reason,
        row.outcome, row.request_id, row.mac,
    ]  # fmt: skip
