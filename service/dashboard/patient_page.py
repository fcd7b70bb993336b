"""The page of one patient: results and doses on one time line, open and closed alerts, what is taken, what was unreadable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from rules.errors import RequestError
from rules.wording import Wording
from service.alerts.past_answers import instant
from service.dashboard.casebook import about_patient, reference_of
from service.dashboard.newest_review import Shown, is_known, shown_review
from service.dashboard.timeline import LEFT, RIGHT, WIDTH, Drawing, wanted, window_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row
    from starlette.responses import Response

    from rules.facts import FactSet
    from service.dashboard.desk import Desk, Visit


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """What a class of ingredients adds up to in a day, as far as doses are known."""

    title: str
    says: str


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
        shown = shown_review(store, tenant, patient)
        if shown is None:
            raise NotThere("patient")
        action = "print" if template == "sheet.html" else "view"
        self._desk.note(visit, action, f"patient/{patient}", patient=patient)
        found = store.page(
            Filter(tenant=tenant, view="everything", patient=patient, size=200), visit.now
        )
        window = visit.query.get("window", "1y")
        case = shown.case
        return visit.page(
            template, patient=reference_of(store, tenant, patient), key=patient, reviewed=shown.received, passed_over=shown.passed_over,
            about=about_patient(case.facts) if case else "", width=WIDTH, left=LEFT, right=WIDTH - RIGHT,
            open_alerts=[row for row in found.rows if row.is_open], closed_alerts=[row for row in found.rows if not row.is_open],
            windows=wanted().window_titles, window=window if window in wanted().window_titles else "1y",
            gaps=case.gaps if case else (), **self._told(shown, window, found.rows),
        )  # fmt: skip

    def find(self, visit: Visit) -> Response:
        """Open the patient of an id; the id travels in a form, so that no address and no log holds it."""
        wanted = visit.form.get("patient", "").strip().removeprefix("Patient/")
        key = self._desk.record.keyring.patient_key(visit.who.tenant, wanted)
        if not wanted or not is_known(self._desk.record.store(), visit.who.tenant, key):
            raise RequestError("No patient of this id was reviewed here.", status=404)
        return visit.go(f"/p/{key}")

    def _told(self, shown: Shown, window: str, alerts: Sequence[Row[Any]]) -> dict[str, Any]:
        case = shown.case
        if case is None:
            return {
                "timeline": None, "labs": [], "uses": [], "drafts": [], "sums": [], "unread": [], "title": str, "say": str,
            }  # fmt: skip
        book = self._desk.parts.engine.rulebook
        words = Wording(book)
        zone = self._desk.zone
        end = instant(shown.received).astimezone(zone).date()
        start = window_start(case.facts, end, window)
        drawing = Drawing(start, end, title=words.title, amount=words.amount)
        marks = [
            (
                instant(row.first_seen).astimezone(zone).date(),
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
            "uses": [use for use in case.facts.uses if use.taking in {"yes", "uncertain"}],
            "drafts": [use for use in case.facts.uses if use.taking == "draft"],
            "unread": [words.title(source) for source in shown.unread], "say": words.say,
        }  # fmt: skip


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
        unknown = sum(not (use.dose_known and use.daily is not None) for use in uses)
        products = _count(len({use.record for use in uses}), "product")
        if not amount:
            says = f"{products}, dose not known"
        elif unknown:
            says = f"{amount} from {products}, and {_count(unknown, 'dose')} not known"
        else:
            says = f"{amount} from {products}"
        found.append(Sum(title=title, says=says))
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
