"""Alerts of a view, or of one patient, as a file: CSV, NDJSON, or a FHIR Bundle of DetectedIssue; each is audited."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

from rules.errors import RequestError
from service.alerts.past_answers import instant
from service.dashboard.casebook import as_reported, cases_of, glances, references_of
from service.dashboard.issues import bundle_of, issue_of
from service.dashboard.sheets import csv_text
from service.dashboard.worklist_page import filter_of, kept_filters

if TYPE_CHECKING:
    from sqlalchemy import Row

    from service.alerts.worklist import Filter
    from service.dashboard.desk import Desk, Visit

_AT_ONCE: Final = 200
_MOST: Final = {"csv": 5_000, "ndjson": 5_000, "fhir": 1_000}
_TYPES: Final = {
    "csv": ("text/csv; charset=utf-8", "csv"),
    "ndjson": ("application/x-ndjson", "ndjson"),
    "fhir": ("application/fhir+json", "json"),
}
COLUMNS: Final = (
    "alert", "severity", "score", "patient", "rule", "rule_version", "about", "problem", "state", "owner", "newest_test",
    "newest_result", "newest_day", "first_seen", "last_seen", "seen", "close_reason", "closed", "closed_by",
)  # fmt: skip


class Exports:
    """Serves the files."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.route("GET", "/work/export", "see-alerts", self.of_view)
        desk.route("GET", "/p/{patient}/export", "see-alerts", self.of_patient)

    def of_view(self, visit: Visit) -> Response:
        """All alerts that a view shows, not only one page of it."""
        filters = kept_filters(visit.query)
        wanted = filter_of(visit, filters)
        return self._file(visit, wanted, f"alerts/{filters.get('view', 'todo')}")

    def of_patient(self, visit: Visit) -> Response:
        """All alerts of one patient, open and closed."""
        from service.alerts.worklist import Filter

        patient = visit.path["patient"]
        wanted = Filter(tenant=visit.who.tenant, view="everything", patient=patient)
        return self._file(visit, wanted, f"patient/{patient}", patient=patient)

    def _file(self, visit: Visit, wanted: Filter, about: str, *, patient: str = "") -> Response:
        form = visit.query.get("format", "")
        if form not in _TYPES:
            raise RequestError("Choose csv, ndjson or fhir.", status=422)
        rows = self._rows(visit, wanted, _MOST[form])
        body = {"csv": self._csv, "ndjson": self._ndjson, "fhir": self._fhir}[form](visit, rows)
        # Written down before anything leaves: who took how much of what, in which form
        self._desk.note(visit, "export", f"{about}/{form}/{len(rows)}", patient=patient)
        kind, ending = _TYPES[form]
        name = f"dekacard-alerts-{visit.here:%Y%m%d-%H%M}.{ending}"
        return Response(
            body, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'}
        )

    def _rows(self, visit: Visit, wanted: Filter, most: int) -> list[Row[Any]]:
        store, rows, after = self._desk.record.store(), [], ""
        while True:
            page = store.page(
                msgspec.structs.replace(wanted, after=after, size=_AT_ONCE), visit.now
            )
            rows += page.rows
            if len(rows) > most:
                raise RequestError(
                    f"This view holds more than {most:,} alerts; narrow it before exporting.",
                    status=422,
                )
            after = page.after
            if not after:
                return rows

    def _records(self, visit: Visit, rows: list[Row[Any]]) -> Iterator[dict[str, Any]]:
        store = self._desk.record.store()
        for start in range(0, len(rows), _AT_ONCE):
            held = rows[start : start + _AT_ONCE]
            shown = glances(store, visit.who.tenant, held)
            for row in held:
                glance = shown[row.id]
                newest = glance.newest
                yield {
                    "alert": row.id, "severity": row.indicator, "score": row.priority, "patient": glance.patient, "rule": row.rule,
                    "rule_version": row.rule_version, "about": row.about, "problem": row.summary or row.title, "state": row.state,
                    "owner": row.assignee.removeprefix("user/"), "newest_test": newest.measure if newest else "",
                    "newest_result": as_reported(newest) if newest else "",
                    "newest_day": str(newest.taken or "") if newest else "", "first_seen": _told(row.first_seen),
                    "last_seen": _told(row.last_seen), "seen": row.seen_count, "close_reason": row.close_reason,
                    "closed": _told(row.closed), "closed_by": row.closed_by.removeprefix("user/"),
                }  # fmt: skip

    def _csv(self, visit: Visit, rows: list[Row[Any]]) -> bytes:
        return csv_text(
            COLUMNS, ([one[name] for name in COLUMNS] for one in self._records(visit, rows))
        )

    def _ndjson(self, visit: Visit, rows: list[Row[Any]]) -> bytes:
        return b"".join(msgspec.json.encode(one) + b"\n" for one in self._records(visit, rows))

    def _fhir(self, visit: Visit, rows: list[Row[Any]]) -> bytes:
        store, tenant = self._desk.record.store(), visit.who.tenant
        issues = []
        for start in range(0, len(rows), _AT_ONCE):
            held = rows[start : start + _AT_ONCE]
            names = references_of(store, tenant, {row.patient for row in held})
            cases = cases_of(store, tenant, {row.evaluation for row in held})
            for row in held:
                case = cases.get(row.evaluation)
                told = case.recommendation(row.rule, row.about) if case else None
                issues.append(issue_of(row, names.get(row.patient, ""), told))
        return msgspec.json.encode(bundle_of(issues, visit.now))


def _told(microseconds: int | None) -> str:
    return "" if microseconds is None else instant(microseconds).isoformat(timespec="seconds")
