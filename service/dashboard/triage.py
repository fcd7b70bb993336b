"""What a pharmacist does with alerts: one form for each action, the version it was seen at in each; one or several."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec

from rules.errors import RequestError
from service.dashboard.deciding import decision, version_of

if TYPE_CHECKING:
    from sqlalchemy import Row
    from starlette.responses import Response

    from service.alerts.lifecycle import Request
    from service.alerts.together import Done
    from service.dashboard.alert_page import AlertPage
    from service.dashboard.desk import Desk, Visit

_PICKED: Final = "pick_"


class Triage:
    """Takes the forms."""

    def __init__(self, desk: Desk, page: AlertPage) -> None:
        self._desk = desk
        self._page = page
        desk.route("POST", "/a/{number:row}/act", "triage", self.act)
        desk.route("POST", "/work/act", "triage", self.act_together)
        desk.route("POST", "/work/undo", "triage", self.take_back)

    def act(self, visit: Visit) -> Response:
        """Do it and go back; when somebody was quicker, show the newer alert and change nothing."""
        from service.alerts.store import Stale

        number = visit.path["number"]
        store = self._desk.record.store()
        tenant = visit.who.tenant
        try:
            row = store.alert(tenant, number)
            request = decision(visit, row)
            changed = store.change(
                tenant, number, version_of(visit.form.get("version", "")), request
            )
        except Stale:
            words = "A colleague changed this alert while you were reading. Nothing of yours was saved; this is how it stands now."
            return self._page.render(visit, number, problem=words, status=409)
        except RequestError as error:
            if error.status == 404:  # noqa: PLR2004
                raise
            return self._page.render(
                visit, number, problem=f"Not done: {error}", status=error.status
            )
        return visit.go(_back(visit, changed, request.action))

    def act_together(self, visit: Visit) -> Response:
        """Do the same with every alert whose box was ticked; the list then offers to take it back."""
        from service.alerts.together import Done, Refused, change_together

        store, tenant = self._desk.record.store(), visit.who.tenant
        refused: list[Refused] = []
        fitting: dict[str, list[tuple[int, int]]] = {}
        requests: dict[str, Request] = {}
        for number, version in _picked(visit.form):
            row = store.alert(tenant, number)
            try:
                request = decision(visit, row)
            except RequestError as error:
                refused.append(Refused(number=number, says=str(error)))
                continue
            mark = msgspec.json.encode(request).decode()
            requests[mark] = request
            fitting.setdefault(mark, []).append((number, version))
        if len(fitting) > 1:
            raise RequestError(
                "these alerts allow different times; choose a shorter one.", status=422
            )
        done = Done(id="", changed=(), refused=())
        if fitting:
            ((mark, wanted),) = fitting.items()
            done = change_together(store, tenant, wanted, requests[mark])
        elif not refused:
            raise RequestError("Tick the alerts first.", status=422)
        whole = msgspec.structs.replace(done, refused=(*done.refused, *refused))
        return visit.go(_list_after(visit, visit.form.get("action", ""), whole))

    def take_back(self, visit: Visit) -> Response:
        """Undo what was just done together."""
        from service.alerts.together import take_back

        number = visit.form.get("undo", "")
        done = take_back(
            self._desk.record.store(), visit.who.tenant, number, visit.who.actor, visit.now
        )
        return visit.go(_list_after(visit, "undo", done))


def _picked(form: dict[str, str]) -> list[tuple[int, int]]:
    found = []
    for name, version in form.items():
        number = name.removeprefix(_PICKED)
        if name.startswith(_PICKED):
            found.append((version_of(number), version_of(version)))
    return found


def _list_after(visit: Visit, action: str, done: Done) -> str:
    """The list the form stood on, with what became of each in the address: numbers and codes only."""
    left = Counter(one.code for one in done.refused)
    told = {"done": action, "count": len(done.changed), "undo": done.id}
    told |= {f"left_{code}": count for code, count in left.items()}
    said = {name: value for name, value in told.items() if value not in ("", None)}
    return "/work?" + urlencode({**_filters(visit), **said})


def _filters(visit: Visit) -> dict[str, str]:
    """Filters come back through the same whitelist that reads them."""
    from service.dashboard.worklist_page import kept_filters

    return kept_filters(
        {
            name.removeprefix("f_"): value
            for name, value in visit.form.items()
            if name.startswith("f_")
        }
    )


def _back(visit: Visit, row: Row[Any], action: str) -> str:
    """To the list, if the form stood there."""
    if visit.form.get("from") != "work":
        return f"/a/{row.id}?{urlencode({'done': action})}"
    return (
        "/work?" + urlencode({**_filters(visit), "done": action, "alert": row.id}) + f"#a{row.id}"
    )
