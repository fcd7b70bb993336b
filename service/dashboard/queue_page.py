"""What could not be evaluated though it might have mattered: what is missing, for whom, and what to do about it."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec
import yaml

from service.alerts.past_answers import micros
from service.alerts.unread import NOT_EVALUATED, endings, open_by_code
from service.dashboard.casebook import cases_of, references_of
from service.dashboard.newest_review import feed_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row
    from starlette.responses import Response

    from service.alerts.worklist import Filter
    from service.dashboard.casebook import Case
    from service.dashboard.desk import Desk, Visit

_SIZE: Final = 25
_SPAN: Final = timedelta(days=7)
_ANTAGONIST: Final = "vka"
_LONGEST_CODE: Final = 200


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What a code means and what somebody can do."""

    title: str
    todo: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that could not be evaluated, as a row."""

    row: Any
    patient: str
    advice: Advice
    antagonist: str
    sources: tuple[str, ...]


class QueuePage:
    """Shows the queue."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.route("GET", "/queue", "see-alerts", self.show)

    def show(self, visit: Visit) -> Response:
        """One page, newest first among equal priority."""
        tenant, database = visit.who.tenant, self._desk.record.database
        counts = open_by_code(database, tenant)
        about = visit.query.get("code", "")[:_LONGEST_CODE]
        about = about if about in counts else ""
        store = self._desk.record.store()
        found = store.page(_filter(visit, about), visit.now)
        references = references_of(store, tenant, {row.patient for row in found.rows})
        cases = cases_of(store, tenant, {row.evaluation for row in found.rows})
        self._desk.note(visit, "list", f"queue/{about or 'all'}")
        told = {"code": about} if about else {}
        return visit.page(
            "queue.html", counts={code: (advice_for(code).title, count) for code, count in counts.items()}, code=about,
            total=sum(counts.values()), endings=endings(database, tenant, micros(visit.now - _SPAN)), days=_SPAN.days, feed=feed_of(store, tenant, visit.now),
            lines=[self._line(row, references, cases) for row in found.rows],
            more=urlencode({**told, "after": found.after}) if found.after else "",
            address=lambda code: "/queue" + (f"?{urlencode({'code': code})}" if code else ""),
        )  # fmt: skip

    def _line(self, row: Row[Any], references: Mapping[str, str], cases: Mapping[str, Case]) -> Line:  # fmt: skip
        case = cases.get(row.evaluation)
        title = self._desk.parts.engine.rulebook.vocabulary.title
        taken = [
            use.ingredient
            for use in (case.facts.uses if case else ())
            if _ANTAGONIST in use.classes and use.taking != "no"
        ]
        return Line(
            row=row, patient=references.get(row.patient, "patient not known any more"), advice=advice_for(row.about),
            antagonist=title(taken[0]) if taken else "",
            sources=tuple(dict.fromkeys(gap.source for gap in (case.gaps if case else ()) if (gap.code or gap.source) == row.about)),
        )  # fmt: skip


def advice_for(about: str) -> Advice:
    """What to say about a code; ``rule-failure:x`` is a rule that broke."""
    known = _advice()
    return known.get(about) or known.get(about.partition(":")[0]) or known["other"]


def _filter(visit: Visit, about: str) -> Filter:
    from service.alerts.worklist import Filter

    return Filter(
        tenant=visit.who.tenant, view="all-open", kind=NOT_EVALUATED, about=about, after=visit.query.get("after", ""), size=_SIZE
    )  # fmt: skip


@lru_cache(maxsize=1)
def _advice() -> dict[str, Advice]:
    text = (files("service.dashboard") / "queue_advice.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), dict[str, Advice])
