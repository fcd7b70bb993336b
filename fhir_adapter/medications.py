"""MedicationStatement and MedicationRequest of every FHIR version -> one use per ingredient that concerns a rule."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

from fhir_adapter.dispensing import supplied_until
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
from fhir_adapter.prescriptions import Line, Prescription, prescription_of
from fhir_adapter.products import Product
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
# An antagonist acts at any dose, and clinics often leave it out of the record
_COUNTED_BY_DOSE = frozenset({"native-vitamin-d", "vitamin-k"})
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
    if status == _IN_ERROR:
        lens.take_back(record)
        return []
    if record.get("doNotPerform") is True:
        lens.counts["refused_or_erroneous"] += 1
        return []
    prescription = prescription_of(record, medications, lens)
    product = prescription.product
    if not product.parts:
        _not_ours(record, product, lens)
        return []
    classes = tuple(sorted({one for line in prescription.lines for one in line.classes}))
    statement = record.get("resourceType") in STATEMENTS
    taking = _taking_statement(record, status) if statement else _taking_request(record, status)
    if taking is None:
        lens.gap(
            record,
            "status",
            "status-not-understood",
            "The status is missing or cannot be read.",
            classes,
        )
        taking = "uncertain"
    elif status == "unknown" and "vitamin-k" in classes:
        # The rules count only what is taken; beside an antagonist silence would read as "not taken"
        says = "The record says that nobody knows whether this product is taken."
        lens.gap(record, "status", "taking-not-known", says, classes)
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
    course = _course(record, taking, prescription, statement, proposal, lens)
    if prescription.unread and course.taking != "no" and _COUNTED_BY_DOSE.intersection(classes):
        says = f"The daily dose could not be worked out: {prescription.unread}."
        # No card of its own: beside an antagonist the rules speak at any dose, and totals say "at least"
        lens.gap(record, "dosage", "dose-not-understood", says, odd=False)
    return [
        _use(record, line, prescription, course, proposal, statement, lens)
        for line in prescription.lines
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


def _taking_statement(record: Resource, status: str) -> Taking | None:
    taking: Taking | None = _STATEMENT_STATUS.get(status)
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
    taking: Taking | None = _REQUEST_STATUS.get(status)
    if taking == "yes" and text(record.get("intent")) in _UNCERTAIN_INTENTS:
        return "uncertain"
    return taking


def _course(
    record: Resource,
    taking: Taking,
    prescription: Prescription,
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
    first = prescription.first or latest_day(start, today)
    bound = (bound or (start is not None and not start.exact)) and not prescription.first
    if first is None and recorded is not None:
        first, bound = latest_day(recorded, today), True
    last, basis = _end(record, first, end, prescription.last, taking, lens)
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
    record: Resource,
    start: date | None,
    end: Moment | None,
    bounds: date | None,
    taking: Taking,
    lens: Lens,
) -> tuple[date | None, str]:
    if end is not None:
        return end.last, "period"
    if bounds is not None:
        return bounds, "bounds"
    if taking == "no" and text(record.get("status")).lower() in {"stopped", "completed", "ended"}:
        changed = moment(record.get("statusChanged"), lens.zone)
        if changed is not None:
            return changed.last, "status-changed"
        updated = moment(mapping(record.get("meta")).get("lastUpdated"), lens.zone)
        supplied = supplied_until(record, start, lens)
        # On the day of its last update it had ended already, whatever had been planned
        known = [(min(updated.last, lens.today), "last-updated")] if updated is not None else []
        known += [(supplied, "dispensing")] if supplied is not None else []
        if known:
            return min(known)
    return None, ""


def _use(
    record: Resource,
    line: Line,
    prescription: Prescription,
    course: _Course,
    proposal: Proposal,
    statement: bool,
    lens: Lens,
) -> MedicationUse:
    regimen, product = line.regimen, prescription.product
    purposes: tuple[str, ...] = ()
    if "vitamin-k" in line.classes:
        purposes = _purposes(record, prescription.words, lens)
        if _is_reversal(line, prescription, lens):
            purposes = tuple(sorted({*purposes, "reversal"}))
    known = regimen.daily is not None
    name = name_of(record)
    return MedicationUse(
        source=(name,),
        record=name,
        ingredient=line.part.ingredient,
        classes=line.classes,
        product=product.name,
        kind="statement" if statement else "request",
        taking=course.taking,
        status=course.status,
        selected=proposal.selected,
        coded=line.part.coded,
        systemic=line.systemic,
        route=prescription.route,
        amount=regimen.amount,
        unit=line.unit,
        interval_days=regimen.interval_days,
        daily=regimen.daily,
        dose_known=known,
        dose_problem="" if known else regimen.problem,
        dose_note=regimen.note,
        as_needed=prescription.as_needed,
        single=prescription.single,
        start=course.start,
        start_is_bound=course.start_is_bound,
        end=course.end,
        end_basis=course.end_basis,
        bounded_days=prescription.bounded_days,
        doses=prescription.doses,
        recorded=course.recorded,
        purposes=purposes,
        single_ingredient=product.single,
    )


def _purposes(record: Resource, words: tuple[str, ...], lens: Lens) -> tuple[str, ...]:
    said = [*words, *notes_of(record)]
    for key in ("reasonCode", "reasonCodeableConcept", "reason", "reasonForUseCodeableConcept"):
        for one in items(record.get(key)):
            said += words_of(concept_of(one)) if isinstance(one, dict) else [text(one)]
    for key in ("reasonReference", "indication"):
        said += [text(one.get("display")) for one in mappings(record.get(key))]
    found = {purpose for words in said if words for purpose in lens.vocabulary.purposes_in(words)}
    return tuple(sorted(found))


def _is_reversal(line: Line, prescription: Prescription, lens: Lens) -> bool:
    """Vitamin K1 given to reverse: by injection, or as a single or as-needed dose far above any supplement."""
    rule = lens.vocabulary.content.reversal
    if rule is None or not set(rule.classes) & set(line.classes):
        return False
    if prescription.route in rule.routes:
        return True
    amount = line.regimen.amount
    return (
        (prescription.single or prescription.as_needed)
        and amount is not None
        and amount >= rule.single_or_as_needed_from.value
    )
