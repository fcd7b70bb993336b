"""MedicationStatement and MedicationRequest of every FHIR version -> one use per ingredient that concerns a rule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import NamedTuple

from fhir_adapter.dosage import Dose, read_dosages, worded_dose
from fhir_adapter.elements import (
    Resource,
    codes,
    concept_of,
    items,
    mapping,
    mappings,
    name_of,
    notes_of,
    text,
    words_of,
)
from fhir_adapter.lens import Lens
from fhir_adapter.moments import Moment, latest_day, moment, period
from fhir_adapter.product_words import Part
from fhir_adapter.products import Product, product_of
from fhir_adapter.regimen import Regimen, regimen_of
from rules.facts import MedicationUse, Taking

UNCODED = "uncoded-medication"
STATEMENTS = frozenset({"MedicationStatement", "MedicationUsage"})
REQUESTS = frozenset({"MedicationRequest", "MedicationOrder"})
_STATEMENT_STATUS: Mapping[str, Taking] = {
    "active": "yes",
    "recorded": "yes",
    "completed": "no",
    "stopped": "no",
    "not-taken": "no",
    "intended": "uncertain",
    "on-hold": "uncertain",
    "unknown": "uncertain",
    "draft": "uncertain",
}
_REQUEST_STATUS: Mapping[str, Taking] = {
    "active": "yes",
    "completed": "no",
    "stopped": "no",
    "ended": "no",
    "cancelled": "no",
    "on-hold": "uncertain",
    "unknown": "uncertain",
    "draft": "uncertain",
}
_IN_ERROR = "entered-in-error"
_UNCERTAIN_INTENTS = frozenset({"proposal", "option"})


class Proposal(NamedTuple):
    """Whether a record is proposed in this very call, and whether it is the selected one."""

    draft: bool = False
    selected: bool = False


class _Course(NamedTuple):
    taking: Taking
    status: str
    start: date | None
    start_is_bound: bool
    end: date | None
    end_basis: str
    recorded: date | None


def read_medication(
    record: Resource,
    medications: Mapping[str, Resource],
    lens: Lens,
    proposal: Proposal = Proposal(),  # noqa: B008 - an immutable value
) -> list[MedicationUse]:
    """Uses of one statement or request; refusals and erroneous records give none."""
    status = text(record.get("status")).lower()
    if status == _IN_ERROR or record.get("doNotPerform") is True:
        lens.counts["refused_or_erroneous"] += 1
        return []
    product = product_of(record, medications, lens.vocabulary)
    if not product.parts:
        _not_ours(record, product, lens)
        return []
    classes = _classes_of(product, lens)
    statement = record.get("resourceType") in STATEMENTS
    taking = _taking_statement(record, status) if statement else _taking_request(record, status)
    if taking is None:
        lens.gap(record, "status", "status-not-understood", "The status cannot be read.", classes)
        taking = "uncertain"
    if record.get("modifierExtension"):
        lens.gap(
            record,
            "modifierExtension",
            "modifier-not-understood",
            "The record carries a modifier that is not understood.",
            classes,
        )
        taking = "no" if taking == "no" else "uncertain"
    if product.problem:
        lens.gap(
            record,
            "medicationReference",
            product.problem,
            "The Medication that the record refers to was not delivered; its name was read instead.",
            classes,
        )
    doses = read_dosages(record, lens)
    if not doses and product.name:
        said = worded_dose(product.name, lens.vocabulary)
        if said.interval_days is not None:
            doses = [_dose_in_name(said)]
    course = _course(record, taking, doses, statement=statement, proposal=proposal, lens=lens)
    return [
        _use(record, part, product, doses, course, lens, proposal, statement=statement)
        for part in product.parts
    ]


def _not_ours(record: Resource, product: Product, lens: Lens) -> None:
    if product.known:
        lens.counts["irrelevant_medications"] += 1
        return
    if product.problem:
        code, says = product.problem, "The Medication that the record refers to was not delivered."
    elif product.name:
        code, says = (
            "medication-not-recognised",
            "The medication stands only in words that are not recognised.",
        )
    else:
        code, says = "medication-not-stated", "The record does not say which medication it is."
    lens.gap(record, "medication[x]", code, says, (UNCODED,))


def _classes_of(product: Product, lens: Lens) -> tuple[str, ...]:
    found = {one for part in product.parts for one in lens.vocabulary.classes(part.ingredient)}
    return tuple(sorted(found))


def _taking_statement(record: Resource, status: str) -> Taking | None:
    taking: Taking | None = _STATEMENT_STATUS.get(status) if status else "uncertain"
    adherence = next(iter(codes(mapping(record.get("adherence")).get("code"))), "")
    taken = text(record.get("taken")).lower()  # STU3
    if record.get("wasNotTaken") is True or taken == "n":  # DSTU2, STU3
        return "no"
    if taking == "yes":
        if taken == "unk":
            return "uncertain"
        if adherence.startswith(("not-taking", "stopped")):
            return "no"
        if adherence.startswith(("on-hold", "unknown")):
            return "uncertain"
    return taking


def _taking_request(record: Resource, status: str) -> Taking | None:
    taking: Taking | None = _REQUEST_STATUS.get(status) if status else "uncertain"
    if taking == "yes" and text(record.get("intent")) in _UNCERTAIN_INTENTS:
        return "uncertain"
    return taking


def _dose_in_name(said: Dose) -> Dose:
    """A name like "Vitamin D3 2000 IU daily" states strength and frequency: its strength is the dose."""
    return said._replace(amounts=(), pieces=said.pieces or 1.0, relation="")


def _course(
    record: Resource,
    taking: Taking,
    doses: list[Dose],
    *,
    statement: bool,
    proposal: Proposal,
    lens: Lens,
) -> _Course:
    zone, today = lens.zone, lens.today
    recorded = moment(
        record.get("dateAsserted") or record.get("authoredOn") or record.get("dateWritten"), zone
    )
    start, end, bound = None, None, False
    if statement:
        start, end = period(record.get("effectivePeriod"), zone)
        if start is None and end is None:
            start, bound = moment(record.get("effectiveDateTime"), zone), True
    starts = [dose.start for dose in doses if dose.start]
    ends = [dose.end for dose in doses if dose.end]
    first = min(starts) if starts else latest_day(start, today)
    bound = (bound or (start is not None and not start.exact)) and not starts
    if first is None and recorded is not None:
        first, bound = latest_day(recorded, today), True
    last, basis = _end(record, end, ends if len(ends) == len(doses) else [], taking, lens)
    if taking in {"yes", "uncertain"} and last is not None and last < today:
        taking = "no"
    elif taking == "yes" and first is not None and first > today and not proposal.draft:
        taking = "uncertain"
    if proposal.draft and taking != "no":
        taking = "draft"
    return _Course(
        taking,
        text(record.get("status")).lower() or "unknown",
        first,
        bound,
        last,
        basis,
        latest_day(recorded, today),
    )


def _end(
    record: Resource, end: Moment | None, bounds: list[date], taking: Taking, lens: Lens
) -> tuple[date | None, str]:
    if end is not None:
        return end.last, "period"
    if bounds:
        return max(bounds), "bounds"
    if taking == "no" and text(record.get("status")).lower() in {"stopped", "completed", "ended"}:
        changed = moment(record.get("statusChanged"), lens.zone)
        if changed is not None:
            return changed.last, "status-changed"
        updated = moment(mapping(record.get("meta")).get("lastUpdated"), lens.zone)
        if updated is not None:
            return min(updated.last, lens.today), "last-updated"
    return None, ""


def _use(
    record: Resource,
    part: Part,
    product: Product,
    doses: list[Dose],
    course: _Course,
    lens: Lens,
    proposal: Proposal,
    *,
    statement: bool,
) -> MedicationUse:
    vocabulary = lens.vocabulary
    regimen = regimen_of(part, product.parts, doses, vocabulary)
    route = next((dose.route for dose in doses if dose.route), "")
    systemic = _systemic(part, product, route, doses, lens)
    classes = vocabulary.classes(part.ingredient)
    single = any(dose.single for dose in doses)
    as_needed = any(dose.as_needed for dose in doses)
    purposes = _purposes(record, doses, lens) if "vitamin-k" in classes else ()
    if _is_reversal(classes, route, regimen, lens, single=single, as_needed=as_needed):
        purposes = tuple(sorted({*purposes, "reversal"}))
    bounded = [dose.bounded_days for dose in doses if dose.bounded_days]
    planned = [dose.doses for dose in doses if dose.doses]
    known = regimen.daily is not None
    return MedicationUse(
        source=(name_of(record),),
        record=name_of(record),
        ingredient=part.ingredient,
        classes=classes,
        product=product.name,
        kind="statement" if statement else "request",
        taking=course.taking,
        status=course.status,
        selected=proposal.selected,
        coded=part.coded,
        systemic=systemic,
        route=route,
        amount=regimen.amount,
        unit=vocabulary.unit_of(part.ingredient) if regimen.amount is not None else "",
        interval_days=regimen.interval_days,
        daily=regimen.daily,
        dose_known=known,
        dose_problem="" if known else regimen.problem,
        dose_note=regimen.note,
        as_needed=as_needed,
        single=single,
        start=course.start,
        start_is_bound=course.start_is_bound,
        end=course.end,
        end_basis=course.end_basis,
        bounded_days=max(bounded) if bounded else _length(doses),
        doses=max(planned) if planned else None,
        recorded=course.recorded,
        purposes=purposes,
        single_ingredient=product.single,
    )


def _length(doses: list[Dose]) -> int | None:
    starts, ends = [d.start for d in doses if d.start], [d.end for d in doses if d.end]
    if not starts or not ends:
        return None
    length = (max(ends) - min(starts) + timedelta(days=1)).days
    return length if length > 0 else None


def _systemic(
    part: Part, product: Product, route: str, doses: list[Dose], lens: Lens
) -> bool | None:
    by_route = lens.vocabulary.systemic_route(route)
    if by_route is not None:
        return by_route
    if product.topical:
        return False
    entry = lens.vocabulary.ingredients.get(part.ingredient)
    pieces = part.amount is not None or any(dose.pieces is not None for dose in doses)
    return None if entry is not None and entry.topical_forms and not pieces else True


def _purposes(
    record: Resource, doses: list[Dose], lens: Lens
) -> tuple[str, ...]:
    said = [dose.words for dose in doses if dose.words]
    said += notes_of(record)
    for key in ("reasonCode", "reasonCodeableConcept", "reason", "reasonForUseCodeableConcept"):
        for one in items(record.get(key)):
            said += words_of(concept_of(one)) if isinstance(one, dict) else [text(one)]
    for key in ("reasonReference", "indication"):
        said += [text(one.get("display")) for one in mappings(record.get(key))]
    found = {purpose for words in said if words for purpose in lens.vocabulary.purposes_in(words)}
    return tuple(sorted(found))


def _is_reversal(
    classes: tuple[str, ...],
    route: str,
    regimen: Regimen,
    lens: Lens,
    *,
    single: bool,
    as_needed: bool,
) -> bool:
    """Vitamin K1 given to reverse: by injection, or as a single or as-needed dose far above any supplement."""
    rule = lens.vocabulary.content.reversal
    if rule is None or not set(rule.classes) & set(classes):
        return False
    if route in rule.routes:
        return True
    return (
        (single or as_needed)
        and regimen.amount is not None
        and regimen.amount >= rule.single_or_as_needed_from.value
    )
