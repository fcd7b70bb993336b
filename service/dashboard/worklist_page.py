"""The worklist: what waits for a pharmacist, by alert or by patient, with its filters in the address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, get_args
from urllib.parse import urlencode

import msgspec

from service.alerts.lifecycle import Action
from service.dashboard.casebook import Glance, glances
from service.dashboard.live import newest_of
from service.dashboard.plots import sparkline

if TYPE_CHECKING:
    from sqlalchemy import Row
    from starlette.responses import Response

    from service.alerts.worklist import Filter
    from service.dashboard.desk import Desk, Visit


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A saved view: its words, and the filter that it stands for."""

    code: str
    title: str
    wanted: dict[str, Any]


VIEWS: Final = (
    View(code="todo", title="To do", wanted={"view": "todo"}),
    View(code="mine", title="Mine", wanted={"view": "all-open", "assignee": "me"}),
    View(code="unassigned", title="Unassigned", wanted={"view": "todo", "unassigned": True}),
    View(code="critical", title="Critical", wanted={"view": "all-open", "indicator": "critical"}),
    View(code="recurred", title="Recurred", wanted={"view": "all-open", "course": "recurred"}),
    View(code="not-evaluated", title="Could not evaluate", wanted={"view": "all-open", "kind": "not-evaluated"}),
    View(code="information", title="Information", wanted={"view": "all-open", "indicator": "info"}),
    View(code="open", title="All open", wanted={"view": "all-open"}),
    View(code="closed", title="Closed", wanted={"view": "closed"}),
)  # fmt: skip
_BY_CODE: Final = {view.code: view for view in VIEWS}
_SIZE: Final = 50
_LONGEST_FILTER: Final = 200


def kept_filters(given: Mapping[str, str]) -> dict[str, str]:
    """The filters of an address that are ours; never a name or an id of a patient."""
    view = given.get("view", "")
    kept = {"view": view} if view in _BY_CODE and view != "todo" else {}
    if given.get("by") == "patient":
        kept["by"] = "patient"
    rule = given.get("rule", "")
    if rule and len(rule) <= _LONGEST_FILTER:
        kept["rule"] = rule
    return kept


class WorklistPage:
    """Shows the list."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.route("GET", "/work", "see-alerts", self.show)
        desk.route("GET", "/", "anyone", lambda visit: visit.go("/work"))

    def show(self, visit: Visit) -> Response:
        """One page of a view."""
        filters = kept_filters(visit.query)
        view = _BY_CODE[filters.get("view", "todo")]
        store = self._desk.record.store()
        found = store.page(_filter(visit, view, filters), visit.now)
        shown = glances(store, visit.who.tenant, found.rows)
        self._desk.note(visit, "list", f"alerts/{view.code}")
        more = urlencode({**filters, "after": found.after}) if found.after else ""
        by_patient = filters.get("by") == "patient"
        return visit.page(
            "work.html", views=VIEWS, view=view, filters=filters, rows=found.rows, glances=shown, more=more,
            sparks={number: _spark(glance) for number, glance in shown.items()}, by_patient=by_patient,
            patients=_by_patient(found.rows) if by_patient else [], counts=_counts(self._desk, visit),
            may_triage=visit.who.may("triage"),
            since=newest_of(self._desk, visit.who.tenant), rules=sorted(self._desk.parts.engine.rulebook.cards), link=_link(filters),
            done=_done(visit.query.get("done", "")), title=self._desk.parts.engine.rulebook.vocabulary.title,
        )  # fmt: skip


def _done(given: str) -> str:
    """What was just done, if the address names an action of ours."""
    return given if given in get_args(Action) else ""


def _filter(visit: Visit, view: View, filters: Mapping[str, str]) -> Filter:
    from service.alerts.worklist import Filter

    wanted = dict(view.wanted)
    if wanted.get("assignee") == "me":
        wanted["assignee"] = visit.who.actor
    return Filter(
        tenant=visit.who.tenant,
        rule=filters.get("rule", ""),
        after=visit.query.get("after", ""),
        size=_SIZE,
        **wanted,
    )


def _counts(desk: Desk, visit: Visit) -> Mapping[str, int]:
    from service.alerts.past_answers import micros
    from service.alerts.worklist import count_open

    with desk.record.database.reading() as connection:
        return count_open(connection, visit.who.tenant, micros(visit.now))


def _by_patient(rows: list[Row[Any]]) -> list[list[Row[Any]]]:
    """Rows gathered by patient, in the order in which the most urgent of each comes."""
    gathered: dict[str, list[Row[Any]]] = {}
    for row in rows:
        gathered.setdefault(row.patient, []).append(row)
    return list(gathered.values())


def _spark(glance: Glance) -> str:
    return sparkline(
        [(lab.taken, lab.value) for lab in glance.trend if lab.taken and lab.value is not None]
    )


def _link(filters: Mapping[str, str]) -> Any:
    """Makes the address of this list with some filters changed ("" takes one away)."""

    def link(**changed: str) -> str:
        told = {
            name: value
            for name, value in {**filters, **changed}.items()
            if value and (name, value) != ("view", "todo")
        }
        return "/work" + (f"?{urlencode(told)}" if told else "")

    return link
