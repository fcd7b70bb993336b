"""Conditions, procedures, goals and laboratory orders, as far as a rule can speak of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhir_adapter.elements import (
    Resource,
    codes,
    codings,
    concept_of,
    mapping,
    mappings,
    name_of,
    number,
    text,
    words_of,
)
from fhir_adapter.lens import Lens
from fhir_adapter.medications import Proposal
from fhir_adapter.moments import latest_day, moment, period
from rules.code_files import ProblemCode
from rules.facts import Condition, Goal, LabOrder, Procedure

_REFUTED = frozenset({"refuted", "entered-in-error"})
_ACTIVE = frozenset({"active", "recurrence", "relapse"})
_RESOLVED = frozenset({"inactive", "remission", "resolved"})
_OPEN_GOALS = frozenset({"proposed", "planned", "accepted", "active", "on-hold", "in-progress", ""})
_OPEN_ORDERS = frozenset({"active", "on-hold", "requested", "accepted", "in-progress", ""})
_WITHDRAWN = frozenset({"entered-in-error", "revoked", "cancelled", "stopped", "completed"})
_Lookup = Callable[[str, str], ProblemCode | None]


def _found(concept: Any, lookup: _Lookup) -> list[ProblemCode]:
    found = [lookup(system, code) for system, code in codings(concept)]
    return [one for one in found if one is not None]


def read_condition(record: Resource, lens: Lens) -> list[Condition]:
    """Conditions of one resource (a code can stand for several problems); refuted ones give none."""
    vocabulary = lens.vocabulary
    found = _found(record.get("code"), vocabulary.problem)
    problems = {one.is_: one.stage for one in reversed(found)}
    if not problems:
        for words in words_of(record.get("code")):
            named = vocabulary.problem_named(words)
            if named:
                problems = {named: None}
                break
    if not problems:
        lens.counts["irrelevant_conditions"] += 1
        return []
    if _REFUTED & {*codes(record.get("verificationStatus")), text(record.get("status"))}:
        lens.take_back(record)
        return []
    if record.get("modifierExtension"):
        lens.gap(
            record,
            "modifierExtension",
            "modifier-not-understood",
            "The condition carries a modifier that is not understood and was not used.",
            ("conditions", *sorted(problems)),
        )
        return []
    onset, abated = _span(record, "onset", lens), _span(record, "abatement", lens)
    status = _clinical_status(record, lens)
    if any(one.history for one in found):
        status = "resolved"
    title = next(iter(words_of(record.get("code"))), "")
    stages = [one.stage for one in found if one.stage is not None]
    return [
        Condition(
            source=(name_of(record),),
            problem=problem,
            clinical_status=status,
            onset=onset,
            abated=abated,
            title=title,
            stage=max(stages) if stages and stage is not None else stage,
        )
        for problem, stage in sorted(problems.items())
    ]


def _clinical_status(record: Resource, lens: Lens) -> Any:
    said = set(codes(record.get("clinicalStatus")))
    if said & _ACTIVE:
        return "active"
    if said & _RESOLVED:
        return "resolved"
    abated = _span(record, "abatement", lens)
    if record.get("abatementBoolean") is True or (abated is not None and abated <= lens.today):
        return "resolved"
    # A problem list entry without a clinical status is on the list: many systems send none at all.
    return "unknown" if said else "active"


def _span(record: Resource, name: str, lens: Lens) -> Any:
    direct = moment(record.get(f"{name}DateTime") or record.get(f"{name}Date"), lens.zone)
    if direct is None:
        start, end = period(record.get(f"{name}Period"), lens.zone)
        direct = start or end
    return latest_day(direct, lens.today)


def read_procedure(record: Resource, lens: Lens) -> list[Procedure]:
    """Completed procedures that matter."""
    found = _found(record.get("code"), lens.vocabulary.procedure)
    status = text(record.get("status")).lower()
    if found and status == "entered-in-error":
        lens.take_back(record)
        return []
    if not found or status in {"not-done", "preparation", "stopped"}:
        lens.counts["irrelevant_procedures" if not found else "refused_or_erroneous"] += 1
        return []
    if record.get("notPerformed") is True or record.get("notDone") is True:  # DSTU2, STU3
        return []
    when = moment(record.get("performedDateTime") or record.get("occurrenceDateTime"), lens.zone)
    if when is None:
        start, end = period(
            record.get("performedPeriod") or record.get("occurrencePeriod"), lens.zone
        )
        when = end or start
    title = next(iter(words_of(record.get("code"))), "")
    return [
        Procedure(
            source=(name_of(record),),
            procedure=one,
            performed=latest_day(when, lens.today),
            title=title,
        )
        for one in sorted({one.is_ for one in found})
    ]


def read_goal(record: Resource, lens: Lens) -> list[Goal]:
    """Open target ranges of measures."""
    status = text(record.get("lifecycleStatus") or record.get("status")).lower()
    if status not in _OPEN_GOALS:
        return []
    goals: list[Goal] = []
    for target in mappings(record.get("target")):
        found = [
            lens.vocabulary.result(system, code) for system, code in codings(target.get("measure"))
        ]
        measure = next((one.is_ for one in found if one is not None), None)
        span = mapping(target.get("detailRange"))
        if measure is None:
            continue
        low = number(mapping(span.get("low")).get("value"))
        high = number(mapping(span.get("high")).get("value"))
        if low is None and high is None:
            lens.gap(
                record,
                "target.detailRange",
                "goal-without-range",
                f"The goal for {lens.vocabulary.title(measure)} states no range that can be read.",
                (measure, "goals"),
            )
            continue
        goals.append(Goal(source=(name_of(record),), measure=measure, low=low, high=high))
    return goals


def read_order(record: Resource, lens: Lens, proposal: Proposal) -> list[LabOrder]:
    """Open or proposed laboratory orders of known measures."""
    status = text(record.get("status")).lower()
    if record.get("doNotPerform") is True or status in _WITHDRAWN:
        return []
    if not proposal.draft and status not in _OPEN_ORDERS:
        return []
    concept = record.get("code")
    if concept.__class__ is dict and "concept" in concept:
        concept = concept_of(concept)
    concepts = [concept]
    concepts += [one.get("code") for one in mappings(record.get("item"))]  # DSTU2 DiagnosticOrder
    measures: dict[str, None] = {}
    for one in concepts:
        for system, code in codings(one):
            found = lens.vocabulary.result(system, code)
            if found is not None:
                measures[found.is_] = None
    due = moment(record.get("occurrenceDateTime"), lens.zone)
    if due is None:
        start, end = period(record.get("occurrencePeriod"), lens.zone)
        due = start or end
    authored = moment(record.get("authoredOn") or record.get("orderedOn"), lens.zone)
    return [
        LabOrder(
            source=(name_of(record),),
            measure=measure,
            state="draft" if proposal.draft else "pending",
            authored=latest_day(authored, lens.today),
            due=due.first if due else None,
            selected=proposal.selected,
        )
        for measure in measures
    ]
