"""What a pharmacist does with an alert: one form for each action, the version it was seen at in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast, get_args
from urllib.parse import urlencode

from rules.errors import RequestError
from service.alerts.lifecycle import Action, Request
from service.dashboard.reasons import reasons_for, snooze_span

if TYPE_CHECKING:
    from sqlalchemy import Row
    from starlette.responses import Response

    from service.dashboard.alert_page import AlertPage
    from service.dashboard.desk import Desk, Visit

_ACTIONS: Final = frozenset(get_args(Action))
_CODED: Final = frozenset({"override", "data-problem", "reopen", "resolve"})
_LONGEST_NOTE: Final = 2_000
_LAST_TEXT: Final = 10**9  # larger numbers are no version of anything


class Triage:
    """Takes the forms."""

    def __init__(self, desk: Desk, page: AlertPage) -> None:
        self._desk = desk
        self._page = page
        desk.route("POST", "/a/{number:int}/act", "triage", self.act)

    def act(self, visit: Visit) -> Response:
        """Do it and go back; when somebody was quicker, show the newer alert and change nothing."""
        from service.alerts.store import Stale

        number = visit.path["number"]
        store = self._desk.record.store()
        tenant = visit.who.tenant
        try:
            row = store.alert(tenant, number)
            request = self._request(visit, row)
            changed = store.change(tenant, number, _version(visit.form.get("version", "")), request)
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

    def _request(self, visit: Visit, row: Row[Any]) -> Request:
        action, form = visit.form.get("action", ""), visit.form
        if action not in _ACTIONS or action == "assign":
            raise RequestError("there is no such action.", status=422)
        reason = form.get("reason", "")
        if action in _CODED:
            offered = reasons_for(self._desk.parts.engine.rulebook, row.rule)[action]
            if reason not in {choice.code for choice in offered}:
                raise RequestError("choose one of the reasons.", status=422)
        note = form.get("note", "").strip()
        if len(note) > _LONGEST_NOTE:
            raise RequestError(f"a note has {_LONGEST_NOTE} characters at most.", status=422)
        if action == "comment" and not note:
            raise RequestError("an empty comment says nothing.", status=422)
        span = snooze_span(form.get("span", "")) if action == "snooze" else None
        return Request(
            action=cast("Action", action), actor=visit.who.actor, at=visit.now, reason=reason if action in _CODED else "", note=note,
            until=visit.now + span if span else None,
        )  # fmt: skip


def _version(given: str) -> int:
    if not given.isascii() or not given.isdigit() or int(given[:10]) > _LAST_TEXT:
        raise RequestError("the form does not say which version it is about.", status=422)
    return int(given[:10])


def _back(visit: Visit, row: Row[Any], action: str) -> str:
    """To the list, if the form stood there; filters come back through the same whitelist that reads them."""
    from service.dashboard.worklist_page import kept_filters

    if visit.form.get("from") != "work":
        return f"/a/{row.id}?{urlencode({'done': action})}"
    filters = kept_filters(
        {
            name.removeprefix("f_"): value
            for name, value in visit.form.items()
            if name.startswith("f_")
        }
    )
    return "/work?" + urlencode({**filters, "done": action, "alert": row.id}) + f"#a{row.id}"
