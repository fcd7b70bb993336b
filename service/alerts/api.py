"""The JSON interface ``/api/v1``: alerts, their events, rules and runs, for whoever shows a token with the right role.

The store is opened on the first call, so that a worker that only answers hooks never loads it.
"""

# Without "from __future__ import annotations": the dependencies of a route are made inside the function that
# makes the router, and FastAPI could not find them by name.
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import JSONResponse

from rules.errors import RequestError
from service.alerts.rules_api import add_reload_route, add_rule_routes
from service.alerts.strict_route import StrictRoute
from service.alerts.values import AuditEntry, Mode
from service.alerts.wire import (
    ActionWanted,
    Alert,
    AlertPage,
    Conflict,
    Event,
    Number,
    Text,
    alert_of,
    event_of,
)

if TYPE_CHECKING:
    from service.alerts.access import Bearer, Right
    from service.alerts.record import Record
    from service.knowledge_swap import Swap

_DAY = 86_400
_LONGEST_SPAN = 366
_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "No valid token."},
    403: {"description": "The role of the token does not allow this."},
    404: {"description": "There is no such thing for this client."},
}


def api_router(
    record: "Record",
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    rules: Callable[[], Iterable[str]] = tuple,
    mode_in_force: Callable[[str, str], Mode] = lambda _client, _rule: "shadow",
    second_person: Callable[[str], bool] = lambda _: True,
    reload: Callable[[], Awaitable["Swap"]] | None = None,
) -> APIRouter:
    """The routes.

    ``rules`` names every active rule, so that one that never fires is seen; ``mode_in_force`` gives the mode of
    a client's rule, ``second_person`` whether a change of mode there needs two people, ``reload`` exchanges the packs.
    """
    router = APIRouter(
        prefix="/api/v1", tags=["record"], responses=_REFUSALS, route_class=StrictRoute
    )

    def allowed(right: "Right") -> "Callable[..., Bearer]":
        def who(authorization: Annotated[str | None, Header()] = None) -> "Bearer":
            from service.alerts.access import bearer_of

            bearer = bearer_of(record.database, authorization, clock())
            bearer.require(right)
            return bearer

        return who

    def note(bearer: "Bearer", action: str, about: str, patient: str = "") -> None:
        entry = AuditEntry(
            tenant=bearer.tenant, at=clock(), actor=bearer.actor, action=action, object=about, patient=patient
        )  # fmt: skip
        record.audit(entry)

    def shown(rows: Sequence[Any]) -> list[Alert]:
        latest = record.store().latest_snoozes(rows, clock())
        return [alert_of(row, latest[row.id]) for row in rows]

    @router.get("/alerts", summary="The worklist, one page")
    def list_alerts(  # noqa: PLR0913, PLR0917  each is a query parameter
        bearer: Annotated[Any, Depends(allowed("see-alerts"))],
        view: Literal["todo", "all-open", "closed", "everything"] = "todo",
        rule: Text = "",
        indicator: Literal["", "critical", "warning", "info"] = "",
        assignee: Text = "",
        unassigned: bool = False,
        patient: Text = "",
        course: Text = "",
        mode: Literal["", "shadow", "review", "live"] = "",
        after: Text = "",
        size: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> AlertPage:
        from service.alerts.worklist import Filter

        wanted = Filter(
            tenant=bearer.tenant, view=view, rule=rule, indicator=indicator, assignee=assignee, unassigned=unassigned,
            patient=patient, course=course, mode=mode, after=after, size=size,
        )  # fmt: skip
        found = record.store().page(wanted, clock())
        note(bearer, "list", f"alerts/{view}", patient)
        return AlertPage(alerts=shown(found.rows), after=found.after)

    @router.get("/alerts/{number}", summary="One alert")
    def show_alert(number: Number, bearer: Annotated[Any, Depends(allowed("see-alerts"))]) -> Alert:
        row = record.store().alert(bearer.tenant, number)
        note(bearer, "view", f"alert/{number}", row.patient)
        return shown([row])[0]

    @router.get("/alerts/{number}/events", summary="What happened to an alert, oldest first")
    def show_events(
        number: Number, bearer: Annotated[Any, Depends(allowed("see-alerts"))]
    ) -> list[Event]:
        store = record.store()
        rows = store.events(bearer.tenant, number)
        patient = store.alert(bearer.tenant, number).patient
        note(bearer, "view", f"alert/{number}/events", patient)
        return [event_of(row) for row in rows]

    @router.post(
        "/alerts/{number}/actions",
        summary="Acknowledge, claim, snooze, resolve, override ...",
        responses={409: {"model": Conflict, "description": "Somebody else was quicker."}},
    )
    def act_on_alert(
        number: Number, wanted: ActionWanted, bearer: Annotated[Any, Depends(allowed("triage"))]
    ) -> Alert:
        from service.alerts.lifecycle import Request
        from service.alerts.store import Stale

        if wanted.until is not None and wanted.until.tzinfo is None:
            raise RequestError("'until' needs a time zone.", status=422)
        request = Request(
            action=wanted.action, actor=bearer.actor, at=clock(), reason=wanted.reason, note=wanted.note,
            until=wanted.until, to=wanted.to,
        )  # fmt: skip
        try:
            row = record.store().change(bearer.tenant, number, wanted.version, request)
        except Stale as stale:
            conflict = Conflict(message=str(stale), newer=shown([stale.newer])[0])
            return JSONResponse(conflict.model_dump(mode="json"), status_code=409)  # type: ignore[return-value]
        return shown([row])[0]

    add_rule_routes(
        router,
        record,
        allowed,
        clock=clock,
        rules=rules,
        mode_in_force=mode_in_force,
        second_person=second_person,
    )
    if reload is not None:
        add_reload_route(router, reload, allowed, note)
    return router
