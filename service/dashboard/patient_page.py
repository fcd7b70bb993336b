"""The page of one patient: results and doses on one time line, open and closed alerts, what is taken, what was unreadable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import select

from rules.errors import RequestError
from rules.wording import Wording
from service.alerts import models
from service.alerts.past_answers import instant
from service.dashboard.casebook import Case, about_patient, case_of, reference_of
from service.dashboard.timeline import LEFT, RIGHT, WIDTH, Drawing, wanted, window_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row
    from starlette.responses import Response

    from rules.facts import FactSet
    from service.alerts.store import Store
    from service.dashboard.desk import Desk, Visit


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """What a class of ingredients adds up to in a day, as far as doses are known."""

    title: str
    amount: str
    products: int
    unknown: int


class PatientPage:
    """Shows patients."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.route("GET", "/p/{patient}", "see-alerts", self.show)
        desk.route("GET", "/p/{patient}/sheet", "see-alerts", self.print_sheet)
        desk.route("POST", "/p/find", "see-alerts", self.find)

    def show(self, visit: Visit) -> Response:
        """One patient, as the newest review found them."""
        return self._page(visit, "patient.html")

    def print_sheet(self, visit: Visit) -> Response:
        """The same for paper: nothing folded away, the identity on every sheet."""
        return self._page(visit, "sheet.html")

    def _page(self, visit: Visit, template: str) -> Response:
        from service.alerts.store import NotThere
        from service.alerts.worklist import Filter

        store, tenant, patient = self._desk.record.store(), visit.who.tenant, visit.path["patient"]
        newest = _newest(store, tenant, patient)
        if newest is None:
            raise NotThere("patient")
        action = "print" if template == "sheet.html" else "view"
        self._desk.note(visit, action, f"patient/{patient}", patient=patient)
        found = store.page(
            Filter(tenant=tenant, view="everything", patient=patient, size=200), visit.now
        )
        window = visit.query.get("window", "1y")
        case = case_of(store, tenant, newest.id)
        return visit.page(
            template, patient=reference_of(store, tenant, patient), key=patient, reviewed=newest.received,
            about=about_patient(case.facts) if case else "", width=WIDTH, left=LEFT, right=WIDTH - RIGHT,
            open_alerts=[row for row in found.rows if row.is_open], closed_alerts=[row for row in found.rows if not row.is_open],
            windows=wanted().window_titles, window=window if window in wanted().window_titles else "1y",
            gaps=case.gaps if case else (), **self._told(case, newest, window, found.rows),
        )  # fmt: skip

    def find(self, visit: Visit) -> Response:
        """Open the patient of an id; the id travels in a form, so that no address and no log holds it."""
        wanted = visit.form.get("patient", "").strip().removeprefix("Patient/")
        key = self._desk.record.keyring.patient_key(visit.who.tenant, wanted)
        if not wanted or _newest(self._desk.record.store(), visit.who.tenant, key) is None:
            raise RequestError("No patient of this id was reviewed here.", status=404)
        return visit.go(f"/p/{key}")

    def _told(
        self, case: Case | None, newest: Row[Any], window: str, alerts: Sequence[Row[Any]]
    ) -> dict[str, Any]:
        if case is None:
            return {"timeline": None, "labs": [], "uses": [], "sums": [], "title": str, "say": str}
        book = self._desk.parts.engine.rulebook
        words = Wording(book)
        end = instant(newest.received).date()
        start = window_start(case.facts, end, window)
        drawing = Drawing(start, end, title=words.title, amount=words.amount)
        marks = [
            (
                instant(row.first_seen).date(),
                row.indicator,
                f"{row.indicator}, {row.summary or row.title}",
            )
            for row in alerts
        ]
        labs = sorted(
            case.facts.labs, key=lambda lab: (lab.taken is not None, lab.taken), reverse=True
        )
        return {
            "timeline": drawing.draw(case.facts, marks), "labs": labs, "sums": _sums(case.facts, words), "title": words.title,
            "uses": [use for use in case.facts.uses if use.taking != "no"], "say": words.say,
        }  # fmt: skip


def _newest(store: Store, tenant: str, patient: str) -> Any:
    table = models.evaluation
    with store.database.reading() as connection:
        return connection.execute(
            select(table.c.id, table.c.received)
            .where(table.c.tenant == tenant, table.c.patient == patient)
            .order_by((table.c.evidence != "").desc(), table.c.received.desc())
            .limit(1)
        ).one_or_none()


def _sums(facts: FactSet, words: Wording) -> list[Sum]:
    found = []
    for kind, title in wanted().courses.items():
        uses = [
            use for use in facts.uses if kind in use.classes and use.taking in {"yes", "uncertain"}
        ]
        if not uses:
            continue
        totals: dict[str, float] = {}
        for use in uses:
            if use.dose_known and use.daily is not None:
                totals[use.unit] = totals.get(use.unit, 0.0) + use.daily
        amount = " and ".join(
            words.amount(total, f"{unit}/d") for unit, total in sorted(totals.items())
        )
        unknown = sum(not use.dose_known for use in uses)
        found.append(
            Sum(
                title=title,
                amount=amount or "not known",
                products=len({use.record for use in uses}),
                unknown=unknown,
            )
        )
    return found
