"""The worklist: what waits for a pharmacist, by alert or by patient, with its filters in the address."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final, get_args
from urllib.parse import urlencode

import msgspec

from service.alerts.lifecycle import Action
from service.alerts.past_answers import micros
from service.alerts.priority import Part
from service.dashboard.casebook import Glance, glances
from service.dashboard.deciding import colleagues
from service.dashboard.live import newest_of
from service.dashboard.newest_review import feed_of
from service.dashboard.own_views import OwnViews, own_views
from service.dashboard.plots import Spark, sparkline
from service.dashboard.reasons import WAKES, reasons_for, snooze_choices

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
    View(code="due", title="Due today", wanted={"view": "all-open", "due_by": "today"}),
    View(code="recurred", title="Recurred", wanted={"view": "all-open", "course": "recurred"}),
    View(code="not-evaluated", title="Could not evaluate", wanted={"view": "all-open", "kind": "not-evaluated"}),
    View(code="information", title="Information", wanted={"view": "all-open", "indicator": "info"}),
    View(code="open", title="All open", wanted={"view": "all-open"}),
    View(code="closed", title="Closed", wanted={"view": "closed"}),
)  # fmt: skip
OWNERS: Final = {"me": "Mine", "nobody": "Nobody's"}
INDICATORS: Final = {"critical": "Critical", "warning": "Warning", "info": "Information"}
_LEFT: Final = {
    "changed": "changed by a colleague meanwhile",
    "critical": "critical, which are overridden one by one",
    "unfit": "for which this does not fit",
}
_BY_CODE: Final = {view.code: view for view in VIEWS}
_SIZE: Final = 50
_PATIENTS: Final = 25
_LONGEST_FILTER: Final = 200
_LONGEST_COUNT: Final = 4


def kept_filters(given: Mapping[str, str]) -> dict[str, str]:
    """The filters of an address that are ours; never a name or an id of a patient."""
    view = given.get("view", "")
    kept = {"view": view} if view in _BY_CODE and view != "todo" else {}
    if given.get("by") == "patient":
        kept["by"] = "patient"
    for name, known in (("indicator", INDICATORS), ("owner", OWNERS)):
        if given.get(name) in known:
            kept[name] = given[name]
    rule = given.get("rule", "")
    if rule and len(rule) <= _LONGEST_FILTER:
        kept["rule"] = rule
    return kept


class WorklistPage:
    """Shows the list."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        OwnViews(desk)
        desk.route("GET", "/work", "see-alerts", self.show)
        desk.route("GET", "/", "anyone", self.go_home)

    def go_home(self, visit: Visit) -> Response:
        """To the first page that somebody may see; the door, for whoever is not signed in."""
        who = visit.signed_in
        return visit.go(self._desk.home_of(who.role) if who is not None else "/login")

    def show(self, visit: Visit) -> Response:
        """One page of a view."""
        filters = kept_filters(visit.query)
        view = _BY_CODE[filters.get("view", "todo")]
        store, tenant = self._desk.record.store(), visit.who.tenant
        by_patient = filters.get("by") == "patient"
        wanted = filter_of(visit, filters)
        if by_patient:
            gathered = store.patients(msgspec.structs.replace(wanted, size=_PATIENTS), visit.now)
            groups, rows, after = (
                gathered.gathered,
                [row for one in gathered.gathered for row in one.rows],
                gathered.after,
            )
        else:
            found = store.page(wanted, visit.now)
            groups, rows, after = [], found.rows, found.after
        shown = glances(store, tenant, rows)
        self._desk.note(visit, "list", f"alerts/{view.code}")
        may_triage = visit.who.may("triage")
        return visit.page(
            "work.html", views=VIEWS, view=view, filters=filters, rows=rows, glances=shown, groups=groups,
            by_patient=by_patient, more=urlencode({**filters, "after": after}) if after else "",
            sparks={number: _spark(glance) for number, glance in shown.items()},
            scores={row.id: parts_shown(row) for row in rows}, counts=_counts(self._desk, visit),
            own=own_views(self._desk, visit), owners=OWNERS, indicators=INDICATORS, may_triage=may_triage,
            since=newest_of(self._desk, tenant), feed=feed_of(store, tenant, visit.now), rules=sorted(self._desk.parts.engine.rulebook.cards), link=link_of(filters),
            done=_done(visit.query), title=self._desk.parts.engine.rulebook.vocabulary.title,
            **(self._together(visit) if may_triage and rows else {"together": None}),
        )  # fmt: skip

    def _together(self, visit: Visit) -> dict[str, Any]:
        """What the bar for several alerts offers."""
        book = self._desk.parts.engine.rulebook
        limits = self._desk.record.options.snooze
        return {
            "together": reasons_for(book, ""), "snoozes": snooze_choices(limits.longest("warning")), "wakes": WAKES,
            "colleagues": colleagues(self._desk, visit.who.tenant),
        }  # fmt: skip


def _spark(glance: Glance) -> Spark | None:
    points = [(lab.taken, lab.value) for lab in glance.trend if lab.taken and lab.value is not None]
    return sparkline(points, glance.target)


def parts_shown(row: Row[Any]) -> list[Part]:
    """What a score adds up from; an alert of before the score has only the points of its severity."""
    if not row.priority_parts:
        return [Part("severity", row.priority, row.indicator)]
    return msgspec.json.decode(row.priority_parts, type=list[Part])


def filter_of(visit: Visit, filters: Mapping[str, str]) -> Filter:
    """What to ask the store for."""
    from service.alerts.worklist import Filter

    wanted = dict(_BY_CODE[filters.get("view", "todo")].wanted)
    if "indicator" in filters:
        wanted["indicator"] = filters["indicator"]
    if filters.get("owner") == "nobody":
        wanted["unassigned"] = True
    elif "owner" in filters or wanted.get("assignee") == "me":
        wanted["assignee"] = visit.who.actor
    if "due_by" in wanted:
        wanted["due_by"] = _end_of(visit.here)
    return Filter(
        tenant=visit.who.tenant,
        rule=filters.get("rule", ""),
        after=visit.query.get("after", ""),
        size=_SIZE,
        **wanted,
    )


def link_of(filters: Mapping[str, str], path: str = "/work") -> Any:
    """Makes the address of this list with some filters changed ("" takes one away)."""

    def link(**changed: str) -> str:
        told = {
            name: value
            for name, value in {**filters, **changed}.items()
            if value and (name, value) != ("view", "todo")
        }
        return path + (f"?{urlencode(told)}" if told else "")

    return link


def _end_of(now: datetime) -> int:
    """The last moment of the day, in the zone of ``now``."""
    tomorrow = now.date() + timedelta(days=1)
    return micros(datetime.combine(tomorrow, time.min, tzinfo=now.tzinfo)) - 1


def _done(query: Mapping[str, str]) -> dict[str, Any] | None:
    """What was just done, if the address names an action of ours: with counts, and the way back."""
    action = query.get("done", "")
    if action not in {*get_args(Action), "undo"}:
        return None
    left = [
        f"{count} {words}"
        for code, words in _LEFT.items()
        if (count := _count(query, f"left_{code}"))
    ]
    count = _count(query, "count")
    return {
        "action": action,
        "count": count,
        "left": left,
        "undo": query.get("undo", "")[:_LONGEST_FILTER],
    }


def _count(query: Mapping[str, str], name: str) -> int:
    given = query.get(name, "")[:_LONGEST_COUNT]
    return int(given) if given.isascii() and given.isdigit() else 0


def _counts(desk: Desk, visit: Visit) -> Mapping[str, int]:
    from service.alerts.worklist import count_open

    with desk.record.database.reading() as connection:
        return count_open(connection, visit.who.tenant, micros(visit.now))
