"""The CDS Hooks end points: discovery, five services, feedback. One call, step by step, is ``_answer``."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response
from starlette.routing import Route

from fhir_adapter.encounters import unit_of
from fhir_adapter.medications import REQUESTS, STATEMENTS
from fhir_adapter.subjects import Subject
from rules.errors import EngineError, RequestError
from service.cds_hooks.contexts import HookCall, read_hook_call
from service.cds_hooks.door import body_of
from service.cds_hooks.prefetch import Supply, are_of_others, servers_of, supply_of
from service.front_door import read_json
from service.patient_groups import groups_of
from service.review import Case, Review, review
from service.silence_board import held_back

if TYPE_CHECKING:
    from service.alerts.values import Call, IssuedCard, Mode
    from service.cds_hooks.clients import Client
    from service.cds_hooks.discovery import HookService
    from service.cds_hooks.door import AnswerCall
    from service.parts import Parts
    from service.silence_board import Silence

JSON: Final = "application/json"
# Seconds of the deadline in which nothing is fetched any more: an answer that is late is no answer.
KEPT_FOR_REVIEW: Final = 0.03
# Of feedback in one call: they are kept together, and nothing else meanwhile
MOST_ANSWERS: Final = 1_000
_MEDICATIONS: Final = STATEMENTS | REQUESTS


def add_hooks(app: FastAPI, parts: Parts, *, prefix: str = "") -> AnswerCall:
    """Add discovery, the services and feedback to ``app``, below ``prefix``, answering through ``parts``.

    Gives what answers a call of a service, for those who need no route to it.
    """
    router = APIRouter(tags=["CDS Hooks"])

    async def discovery(request: Request) -> Response:
        """List the services, their hooks and their prefetch templates."""
        if parts.discovery_needs_token:
            client = await parts.identify(request)
            return Response(parts.discovery_for(client), media_type=JSON)
        return Response(parts.discovery, media_type=JSON)

    async def call(service_id: str, request: Request) -> Response:
        """Review the patient of a hook and answer with cards."""
        # The client waits from here on, for its keys and its body too
        started = time.perf_counter()
        service = _service(parts, service_id)
        client = await parts.identify(request, service_id)
        body = await body_of(request, parts.settings.max_body_bytes)
        return await _answer(parts, service, client, body, started)

    async def plain_call(request: Request) -> Response:
        return await call(request.path_params["service_id"], request)

    async def feedback(service_id: str, request: Request) -> Response:
        """Take over what users did with earlier cards."""
        _service(parts, service_id)
        client = await parts.identify(request, service_id, feedback=True)
        body = read_json(
            await body_of(request, parts.settings.max_body_bytes),
            max_bytes=parts.settings.max_body_bytes,
        )
        entries = body.get("feedback") if isinstance(body, dict) else None
        if not isinstance(entries, list):
            raise RequestError("The member 'feedback' is missing or no array.", code="required")
        if len(entries) > MOST_ANSWERS:
            raise RequestError(
                f"At most {MOST_ANSWERS} entries in one call; send the others in further ones.",
                status=413,
                code="too-long",
            )
        parts.take_feedback(client, service_id, entries)
        return Response(status_code=200)

    for end in ("", "/"):
        shown = not end
        for method in ("GET", "HEAD"):
            router.add_api_route(
                f"/cds-services{end}",
                discovery,
                methods=[method],
                include_in_schema=shown and method == "GET",
            )
        router.add_api_route(
            f"/cds-services/{{service_id}}{end}", call, methods=["POST"], include_in_schema=shown
        )
        router.add_api_route(
            f"/cds-services/{{service_id}}/feedback{end}",
            feedback,
            methods=["POST"],
            include_in_schema=shown,
        )
    app.include_router(router, prefix=prefix)
    # Calls take a plain route in front of all others; FastAPI's own, which describes them, would look through every
    # route twice and for parameters to fill, at a tenth of what a small call costs.
    door = f"{prefix}/cds-services/{{service_id}}"
    app.router.routes.insert(0, Route(door, plain_call, methods=["POST"], include_in_schema=False))
    return call


async def _answer(
    parts: Parts, service: HookService, client: Client, body: bytes, started: float
) -> Response:
    call = read_hook_call(read_json(body, max_bytes=parts.settings.max_body_bytes), service.hook)
    supply = await _complete(parts, client, call, supply_of(call, client.profile), started)
    servers = servers_of(call, client.profile)
    _refuse_without_medications(call, supply, servers)
    now = parts.clock()
    tenant = client.profile.id
    unit = _unit(call, supply, servers)
    silences = tuple(
        one for one in parts.silences(tenant, call.patient_id, now) if one.unit in {"", unit}
    )
    history = (
        parts.recorder.history(tenant, call.patient_id, call.user_id, now) if parts.recorder else ()
    )
    case = Case(
        resources=supply.resources,
        patient_id=call.patient_id,
        drafts=call.drafts,
        selections=call.selections,
        hook=call.hook,
        profile=client.profile.profile or parts.settings.profile,
        verbosity=client.profile.verbosity,
        zone=client.profile.tz,
        unread=supply.unread,
        history=history,
        user=call.user_id,
        servers=servers,
        codes=parts.local_codes(tenant),
        # What is silenced must not silence another rule either
        quiet=parts.quiet(client.profile)
        | {one.rule for one in silences if one.rule and not one.group},
    )
    try:
        with parts.shelf.using() as engine:
            began = time.perf_counter()
            done = review(case, now, engine, validation=parts.settings.validation)
            silences, again = _silences_here(silences, case, done, unit)
            if again is not case:
                done = review(again, now, engine, validation=parts.settings.validation)
            parts.telemetry.time("evaluation_seconds", time.perf_counter() - began)
        name_card = parts.card_names(tenant, call.patient_id, call.hook_instance, service.id)
        repeats = _repeats(parts, call, client, done, now)
        silenced = held_back(silences, done.assessment.recommendations)
        unsaid = repeats.union(silenced)
        cards = parts.cards.write(done, parts.circumstances(call, client, done, name_card, unsaid))
        _remember_shown(parts, call, client, done, cards, now, started)
        if supply.late:
            cards.append(parts.cards.late(supply.late, name_card))
        parts.telemetry.reviewed(done, cards, parts.modes(client.profile), supply.late)
    except Exception as error:
        # Nothing may be lost: what could not be evaluated, or not be shown, stands in the record too
        if parts.recorder is not None:
            code = "engine-fault" if isinstance(error, EngineError) else "unexpected-fault"
            modes = parts.modes(client.profile)
            parts.recorder.record_failure(
                _record_of(call, client, service, now, started, modes), code
            )
        raise
    if parts.recorder is not None:
        parts.recorder.record(
            _record_of(
                call, client, service, now, started, parts.modes(client.profile), silenced, unit
            ),
            done,
            cards,
            history=history,
            gap_cards=done.gap_cards,
            may_speak=parts.may_speak(call.hook, case.verbosity),
            quiet=again.quiet,
        )
    answer = _response(parts, done, cards, client, repeats, silenced)
    return Response(orjson.dumps(answer), media_type=JSON)


def _unit(call: HookCall, supply: Supply, servers: Collection[str]) -> str:
    """The care unit of the call; "" without an encounter, which is what most calls come with."""
    encounters = [one for one in supply.resources if one.get("resourceType") == "Encounter"]
    if not encounters:
        return ""
    subject = Subject(call.patient_id, supply.resources, servers)
    return unit_of(encounters, subject, call.encounter_id)


def _silences_here(
    silences: tuple[Silence, ...], case: Case, done: Review, unit: str
) -> tuple[tuple[Silence, ...], Case]:
    """Silences that reach this patient, and the case with which they silence no other rule.

    Who belongs to a group is known from the facts only; another case means that it has to be reviewed again.
    """
    if not any(one.group for one in silences):
        return silences, case
    belongs = groups_of(done.facts)
    reached = tuple(one for one in silences if one.reaches(unit, belongs))
    quiet = frozenset(case.quiet) | {one.rule for one in reached if one.rule}
    if not held_back(reached, done.assessment.recommendations) or quiet == frozenset(case.quiet):
        return reached, case
    return reached, msgspec.structs.replace(case, quiet=quiet)


async def _complete(
    parts: Parts, client: Client, call: HookCall, supply: Supply, started: float
) -> Supply:
    """Fetch what the client did not send, within what is left of the call's deadline."""
    if not supply.unread or parts.fetch is None or not call.fhir_server:
        return supply
    began = time.perf_counter()
    left = client.profile.deadline_ms / 1000 - KEPT_FOR_REVIEW - (began - started)
    completed = await parts.fetch(call, client, supply, left)
    if completed is not supply:
        parts.telemetry.fetched(client.profile.id, time.perf_counter() - began, completed)
    return completed


def _refuse_without_medications(call: HookCall, supply: Supply, servers: Collection[str]) -> None:
    """412 only when nothing at all is known of medications; drafts of some and one page of a list are something."""
    if not {"medication-statements", "medication-requests"} <= supply.unread.keys():
        return
    came = (*call.drafts, *supply.resources)
    known = [one for one in came if one.get("resourceType") in _MEDICATIONS]
    if known and not are_of_others(known, Subject(call.patient_id, (), servers)):
        return
    raise RequestError(
        "No list of medications could be had, so nothing can be said about this patient.",
        status=412,
        code="processing",
        diagnostics="Missing prefetch: medicationStatements, medicationRequests",
    )


def _repeats(
    parts: Parts, call: HookCall, client: Client, done: Review, now: datetime
) -> frozenset[tuple[str, str]]:
    """What order-sign need not show again, where the client asks for that."""
    wanted = client.profile.drop_repeats_between_select_and_sign
    if parts.shown is None or call.hook != "order-sign" or not wanted:
        return frozenset()
    spoken = done.assessment.recommendations
    return parts.shown.repeated(call, client.profile.id, spoken, now.timestamp())


def _remember_shown(
    parts: Parts,
    call: HookCall,
    client: Client,
    done: Review,
    cards: list[IssuedCard],
    now: datetime,
    started: float,
) -> None:
    """Note what order-select shows; an answer past its deadline may never have been seen, and is not noted."""
    wanted = client.profile.drop_repeats_between_select_and_sign
    in_time = (time.perf_counter() - started) * 1000 < client.profile.deadline_ms
    if parts.shown is None or call.hook != "order-select" or not wanted or not in_time:
        return
    spoken = done.assessment.recommendations
    parts.shown.remember(call, client.profile.id, spoken, cards, now.timestamp())


def _response(
    parts: Parts,
    done: Review,
    cards: list[IssuedCard],
    client: Client,
    repeats: frozenset[tuple[str, str]],
    silenced: Mapping[tuple[str, str], Silence],
) -> dict[str, Any]:
    """The answer with what the cards leave out: every rule that spoke, every gap, mode and knowledge."""
    assessment = done.assessment
    modes = parts.modes(client.profile)
    report: dict[str, Any] = {
        "mode": client.profile.rules.mode,
        "knowledge": assessment.provenance.packs,
        "software": assessment.provenance.software,
        "asOf": assessment.provenance.as_of.isoformat(),
    }
    fired = [
        {"rule": one.rule, "indicator": one.indicator}
        for one in assessment.recommendations
        if modes.get(one.rule) == "live"
    ]
    gaps = [
        {name: value for name, value in (("source", gap.source), ("code", gap.code), ("says", gap.says)) if value}
        for gap in done.gaps
    ]  # fmt: skip
    failures = [failure.rule for failure in assessment.failures]
    silent = [{"rule": one.rule, "reason": one.reason} for one in assessment.suppressed]
    silent += [{"rule": rule, "reason": "shown at order-select"} for rule, _ in sorted(repeats)]
    silent += [
        {"rule": rule, "reason": by.words(client.profile.tz)}
        for (rule, _), by in sorted(silenced.items())
    ]
    lists = {"rules": fired, "suppressed": silent, "gaps": gaps, "failures": failures}
    report |= {name: value for name, value in lists.items() if value}
    return {"cards": [card.body for card in cards], "extension": {"org.dekacard.review": report}}


def _record_of(
    call: HookCall,
    client: Client,
    service: HookService,
    now: datetime,
    started: float,
    modes: Mapping[str, Mode],
    silenced: Mapping[tuple[str, str], Silence] = MappingProxyType({}),
    unit: str = "",
) -> Call:
    from service.alerts.values import Call

    return Call(
        id=uuid.uuid4().hex,
        tenant=client.profile.id,
        patient=call.patient_id,
        received=now,
        hook=call.hook,
        service=service.id,
        hook_instance=call.hook_instance,
        user=call.user_id,
        mode=client.profile.rules.mode,
        modes={rule: mode for rule, mode in modes.items() if mode != client.profile.rules.mode},
        silenced=tuple((rule, about, by.id) for (rule, about), by in sorted(silenced.items())),
        unit=unit,
        elapsed_ms=round((time.perf_counter() - started) * 1000, 3),
    )


def _service(parts: Parts, service_id: str) -> HookService:
    service = parts.services.get(service_id)
    if service is None:
        raise RequestError("There is no such service.", status=404, code="not-found")
    return service
