"""The part of the JSON interface about rules: what each did, how far each may speak, and the batch runs."""

# Without "from __future__ import annotations": the dependencies of a route are made inside the function that
# adds it, and FastAPI could not find them by name.
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse

from rules.errors import RequestError
from service.alerts.values import Mode
from service.alerts.wire import (
    Decision,
    ModeChange,
    ModeWanted,
    Number,
    PacksReloaded,
    RuleLine,
    RunLine,
    Text,
    change_of,
    run_of,
)

if TYPE_CHECKING:
    from service.alerts.access import Bearer, Right
    from service.alerts.record import Record
    from service.knowledge_swap import Swap

_DAY = 86_400
_LONGEST_SPAN = 366


def add_reload_route(
    router: APIRouter,
    reload: "Callable[[], Awaitable[Swap]]",
    allowed: "Callable[[Right], Callable[..., Bearer]]",
    note: "Callable[[Bearer, str, str], None]",
) -> None:
    """Add the route that exchanges the packs of the running service."""

    @router.post(
        "/packs/reload",
        summary="Read the packs again, without a restart",
        responses={
            409: {"model": PacksReloaded, "description": "Refused; the old packs stay in force."}
        },
    )
    async def reload_packs(
        bearer: Annotated[Any, Depends(allowed("reload-packs"))],
    ) -> PacksReloaded:
        swap = await reload()
        note(
            bearer,
            "packs-reloaded" if swap.accepted else "packs-refused",
            f"packs/{swap.knowledge}",
        )
        told = PacksReloaded(
            accepted=swap.accepted, knowledge=swap.knowledge, problems=list(swap.problems)
        )
        if not swap.accepted:
            return JSONResponse(told.model_dump(mode="json"), status_code=409)  # type: ignore[return-value]
        return told


def add_rule_routes(
    router: APIRouter,
    record: "Record",
    allowed: "Callable[[Right], Callable[..., Bearer]]",
    *,
    clock: Callable[[], datetime],
    rules: Callable[[], Iterable[str]],
    mode_in_force: Callable[[str, str], Mode],
    second_person: Callable[[str], bool],
) -> None:
    """Add the routes; the arguments are those of ``api_router``, ``allowed`` makes a dependency from a right."""

    @router.get("/rules", summary="What each rule did, day by day summed up")
    def show_rules(
        bearer: Annotated[Any, Depends(allowed("see-rules"))],
        days: Annotated[int, Query(ge=1, le=_LONGEST_SPAN)] = 90,
    ) -> list[RuleLine]:
        from service.rule_figures import figures

        today = int(clock().timestamp()) // _DAY
        found = figures(
            record.database,
            bearer.tenant,
            since_day=today - days + 1,
            until_day=today,
            rules=rules(),
        )
        return [
            RuleLine(**{name: getattr(one, name) for name in RuleLine.model_fields})
            for one in found
        ]

    @router.get("/mode-changes", summary="Changes of mode, newest first")
    def show_mode_changes(
        bearer: Annotated[Any, Depends(allowed("see-rules"))], rule: Text = ""
    ) -> list[ModeChange]:
        from service.rollout import changes

        return [change_of(one) for one in changes(record.database, bearer.tenant, rule)]

    @router.post("/rules/{rule}/mode", summary="Ask for another mode of a rule")
    def change_mode(
        rule: str, wanted: ModeWanted, bearer: Annotated[Any, Depends(allowed("change-modes"))]
    ) -> ModeChange:
        from service.rollout import ask, mode_of

        if rule not in set(rules()):
            raise RequestError("there is no such rule in force.", status=404, code="not-found")
        tenant = bearer.tenant
        before = mode_of(record.database, tenant, rule) or mode_in_force(tenant, rule)
        made = ask(
            record.database, record.keyring, tenant=tenant, rule=rule, before=before, after=wanted.mode,
            reason=wanted.reason, actor=bearer.actor, at=clock(), second_person=second_person(tenant),
        )  # fmt: skip
        return change_of(made)

    @router.post(
        "/mode-changes/{number}/decision", summary="Approve or refuse what somebody else asked for"
    )
    def decide_mode(
        number: Number, wanted: Decision, bearer: Annotated[Any, Depends(allowed("change-modes"))]
    ) -> ModeChange:
        from service.rollout import decide

        made = decide(
            record.database, record.keyring, tenant=bearer.tenant, change=number, approve=wanted.approve,
            actor=bearer.actor, at=clock(),
        )  # fmt: skip
        return change_of(made)

    @router.get("/runs", summary="Batch runs, newest first")
    def show_runs(
        bearer: Annotated[Any, Depends(allowed("see-runs"))],
        size: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> list[RunLine]:
        from service.alerts.runs import runs

        return [run_of(row) for row in runs(record.database, bearer.tenant, size)]
