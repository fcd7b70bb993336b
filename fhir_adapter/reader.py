"""The quick reader: raw FHIR resources of one patient -> facts, gaps and counts, in one pass."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from operator import attrgetter
from typing import Any

import msgspec

from fhir_adapter.elements import Resource, name_of, text, version_of
from fhir_adapter.lens import Lens
from fhir_adapter.medications import REQUESTS, STATEMENTS, Proposal, read_medication
from fhir_adapter.moments import moment
from fhir_adapter.patients import read_patient
from fhir_adapter.problems import read_condition, read_goal, read_order, read_procedure
from fhir_adapter.results import consumed, diets_of, read_observation
from fhir_adapter.subjects import Subject, only_subject, server_of, target_of
from rules.assessment import Gap
from rules.facts import Context, Fact, FactSet, Patient
from rules.vocabulary import Vocabulary

_ORDERS = frozenset({"ServiceRequest", "ProcedureRequest", "DiagnosticOrder"})
_READ = (
    STATEMENTS
    | REQUESTS
    | _ORDERS
    | {
        "Observation",
        "Condition",
        "Procedure",
        "Goal",
        "NutritionIntake",
    }
)
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "Observation": ("labs-25ohd", "labs-inr", "labs-minerals", "labs-kidney"),
    "Condition": ("conditions",),
    "Procedure": ("procedures",),
    "Goal": ("goals",),
    "NutritionIntake": ("diet",),
    **dict.fromkeys(STATEMENTS, ("medication-statements", "uncoded-medication")),
    **dict.fromkeys(REQUESTS, ("medication-requests", "uncoded-medication")),
    **dict.fromkeys(_ORDERS, ("orders",)),
}


_SOURCE = attrgetter("source")
_KINDS = ("uses", "labs", "conditions", "procedures", "goals", "orders", "diets")
_KNOWN = Proposal()


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a record says, what of it could not be read, and how much was looked at.

    ``withdrawn`` names records (``Type/id``) that say of themselves that they were an error: no facts, and no gaps.
    ``suspicious`` are the resources behind the gaps, for an explanation by the full FHIR models.
    """

    facts: FactSet
    gaps: tuple[Gap, ...]
    counts: dict[str, int]
    suspicious: tuple[dict[str, Any], ...] = ()
    withdrawn: tuple[str, ...] = ()


@dataclass(slots=True)
class _Sorted:
    """Resources by what is done with them; the newest of two versions wins."""

    records: dict[tuple[str, str], Resource] = field(default_factory=dict)
    nameless: list[Resource] = field(default_factory=list)
    patients: dict[str, Resource] = field(default_factory=dict)
    medications: dict[str, Resource] = field(default_factory=dict)
    duplicates: int = 0
    ignored: int = 0
    unreadable: int = 0


def read(
    resources: Sequence[dict[str, Any]],
    *,
    patient_id: str | None,
    vocabulary: Vocabulary,
    as_of: datetime,
    zone: tzinfo,
    drafts: Sequence[dict[str, Any]] = (),
    selections: Collection[str] = (),
    context: Context | None = None,
    servers: Collection[str] = (),
) -> Reading:
    """Read the record of one patient; never raises on data and never changes it.

    Args:
        resources: FHIR JSON of any supported version, in any order; other patients' are counted, not read.
        patient_id: id of the patient; without it the only Patient, or the only subject, is meant.
        vocabulary: the codes and words of the active packs.
        as_of: the moment of the review, aware.
        zone: the client's zone, in which days are counted.
        drafts: what is proposed in this call; they replace their earlier versions in the record.
        selections: ``Type/id`` of the drafts in focus.
        context: hook, verbosity, profile and unread sources.
        servers: FHIR base URLs on which the patient is known by ``patient_id``; absolute references to other
            servers mean somebody else.
    """
    lens = Lens(vocabulary, as_of, as_of.astimezone(zone).date(), zone)
    found = _sort(resources)
    proposed = _sort(drafts)
    medications = {**found.medications, **proposed.medications}
    earlier = [one for name, one in found.records.items() if name not in proposed.records]
    patients = {**found.patients, **proposed.patients}
    proposals = [*proposed.records.values(), *proposed.nameless]
    known = [*earlier, *found.nameless]
    everything = [*known, *proposals]
    wanted = patient_id or _only_patient(patients, everything)
    subject = Subject(wanted, patients.values(), servers)
    facts = _Facts(lens, subject, medications)
    chosen = {str(one).partition("/_history/")[0] for one in selections}
    for record in known:
        facts.take(record, _KNOWN)
    for record in proposals:
        selected = not chosen or name_of(record) in chosen or text(record.get("id")) in chosen
        facts.take(record, Proposal(draft=True, selected=selected))
    facts.take_unplaced()
    facts.take_unstated(alone=len(patients) <= 1)
    patient = read_patient(patients.get(subject.id), subject.id, lens)
    if not wanted and everything:
        lens.gaps.append(
            Gap(
                source="patient",
                code="patient-not-known",
                says="Whose record it is could not be determined, so nothing was read.",
                concerns=("patient",),
            )
        )
    counts = dict(lens.counts)
    counts["read"] = len(everything) + len(patients)
    counts["duplicates"] = found.duplicates + proposed.duplicates
    counts["ignored"] = found.ignored + proposed.ignored
    _malformed(found.unreadable + proposed.unreadable, lens)
    return Reading(
        facts=facts.frozen(patient, context or Context()),
        gaps=tuple(sorted(lens.gaps, key=lambda gap: (gap.source, gap.path, gap.code, gap.says))),
        counts=dict(sorted(counts.items())),
        suspicious=tuple(lens.odd),
        withdrawn=tuple(sorted(lens.withdrawn)),
    )


def _sort(resources: Sequence[dict[str, Any]]) -> _Sorted:
    found = _Sorted()
    records, nameless = found.records, found.nameless
    for resource in resources:
        if resource.__class__ is not dict:
            found.unreadable += 1
            continue
        kind = resource.get("resourceType")
        identity = resource.get("id")
        if kind.__class__ is not str or not kind:
            found.unreadable += 1
        elif kind in _READ:
            if identity.__class__ is str and identity:
                key = (kind, identity.strip())
                earlier = records.get(key)
                if earlier is None:
                    records[key] = resource
                else:
                    found.duplicates += 1
                    records[key] = _newer(earlier, resource)
            else:
                nameless.append(resource)
        elif kind == "Patient":
            name = text(identity)
            known = found.patients.get(name)
            found.patients[name] = _newer(known, resource) if known else resource
        elif kind == "Medication":
            _remember(found.medications, resource)
        else:
            found.ignored += 1
    return found


def _remember(medications: dict[str, Resource], resource: Resource) -> None:
    identity, url = text(resource.get("id")), text(resource.get("fullUrl"))
    for name in (f"Medication/{identity}" if identity else "", f"urn:uuid:{identity}", url):
        if name and name != "urn:uuid:":
            known = medications.get(name)
            medications[name] = _newer(known, resource) if known else resource


def _newer(one: Resource, two: Resource) -> Resource:
    """Of two versions of a resource the later updated; else the same one, whatever the order."""
    return max(one, two, key=_version)


def _version(resource: Resource) -> tuple[str, str, str]:
    plain = json.dumps(resource, sort_keys=True, default=str)
    return (*version_of(resource), plain)


def _only_patient(patients: Mapping[str, Resource], everything: list[Resource]) -> str | None:
    named = [name for name in patients if name]
    if len(named) == 1:
        return named[0]
    return only_subject(everything) if not named else None


class _Facts:
    """Facts of one patient while they are gathered."""

    def __init__(self, lens: Lens, subject: Subject, medications: Mapping[str, Resource]) -> None:
        self._lens = lens
        self._subject = subject
        self._medications = medications
        self._unstated: list[tuple[Resource, Proposal]] = []
        self._unplaced: list[tuple[Resource, Proposal]] = []
        self._elsewhere: Counter[str] = Counter()
        self._others = False
        self._found: dict[str, list[Any]] = {name: [] for name in _KINDS}

    def take(self, record: Resource, proposal: Proposal) -> None:
        """Read one record if it is the patient's; what names nobody waits until all were seen."""
        whose = self._subject.of(record) if self._subject.id else "other"
        if whose == "own":
            self._safely(record, proposal)
        elif whose == "unstated":
            self._unstated.append((record, proposal))
        elif whose == "unplaced":
            self._unplaced.append((record, proposal))
        else:
            self._others = True
            self._lens.counts["of_other_patients"] += 1
            if whose == "elsewhere" and self._tells(record, proposal):
                self._elsewhere[record["resourceType"]] += 1
            elif proposal.draft:
                says = "The order is for another patient than the call, and was not read."
                self._gap(record, "subject", "order-of-another-patient", says)

    def take_unplaced(self) -> None:
        """Records that name the patient by a URL, where no server is known: read if they agree on one."""
        waiting = [one for one in self._unplaced if self._tells(*one)]
        if len({server_of(target_of(record)) for record, _ in waiting}) > 1:
            self._others = True
            self._lens.counts["of_other_patients"] += len(waiting)
            self._elsewhere.update(record["resourceType"] for record, _ in waiting)
        elif waiting:
            self._lens.gaps.append(
                Gap(
                    source="patient",
                    code="patient-server-not-known",
                    says=f"{len(waiting)} records name the patient by the address of a server that nothing "
                    "confirms; they were read as this patient's.",
                )
            )
            for record, proposal in waiting:
                self._safely(record, proposal)
        for kind, number in sorted(self._elsewhere.items()):
            self._lens.gaps.append(
                Gap(
                    source=kind,
                    path="subject",
                    code="patient-of-another-server",
                    says=f"{number} of them name a patient with the same id on another server, and were not read.",
                    concerns=_SOURCES[kind],
                )
            )

    def _tells(self, record: Resource, proposal: Proposal) -> bool:
        """Whether a record would give a fact or a gap; what concerns no rule is not worth a word."""
        lens = Lens(self._lens.vocabulary, self._lens.as_of, self._lens.today, self._lens.zone)
        alone = _Facts(lens, self._subject, self._medications)
        alone._safely(record, proposal)
        return bool(lens.gaps or any(alone._found.values()))

    def take_unstated(self, *, alone: bool) -> None:
        """Records that name nobody are this patient's only if nobody else's were delivered with them."""
        for record, proposal in self._unstated:
            if alone and not self._others:
                self._safely(record, proposal)
            else:
                self._lens.counts["of_nobody"] += 1
                self._gap(record, "subject", "subject-not-stated", "It does not say whose it is.")

    def _safely(self, record: Resource, proposal: Proposal) -> None:
        """Whatever goes wrong in one record stays in it."""
        try:
            self._read(record, proposal)
        except Exception:  # noqa: BLE001 - one odd resource must not cost the others; it is reported
            self._gap(record, "", "resource-not-readable", "The resource could not be read.")

    def _read(self, record: Resource, proposal: Proposal) -> None:
        kind, lens, found = record["resourceType"], self._lens, self._found
        if kind == "Observation":
            labs, diets = read_observation(record, lens)
            found["labs"] += labs
            found["diets"] += diets
        elif kind in STATEMENTS or kind in REQUESTS:
            found["uses"] += read_medication(record, self._medications, lens, proposal)
        elif kind == "Condition":
            found["conditions"] += read_condition(record, lens)
        elif kind == "Procedure":
            found["procedures"] += read_procedure(record, lens)
        elif kind == "Goal":
            found["goals"] += read_goal(record, lens)
        elif kind == "NutritionIntake":
            when = moment(record.get("occurrenceDateTime"), lens.zone)
            found["diets"] += diets_of(record, list(consumed(record)), when, lens)
        else:
            found["orders"] += read_order(record, lens, proposal)

    def _gap(self, record: Resource, path: str, code: str, says: str) -> None:
        self._lens.gap(record, path, code, says, _SOURCES[record["resourceType"]])

    def frozen(self, patient: Patient, context: Context) -> FactSet:
        """All facts, in an order that does not depend on the order of the resources."""
        ordered = {name: tuple(_ordered(found)) for name, found in self._found.items()}
        return FactSet(patient=patient, context=context, **ordered)


def _ordered(found: list[Any]) -> list[Any]:
    """By source; facts of one resource keep its order, those of nameless ones are told apart by content."""
    if len(found) < 2 or all("/" in fact.source[0] for fact in found):  # noqa: PLR2004 - nothing to order
        return sorted(found, key=_SOURCE)
    return sorted(found, key=_source_or_content)


def _source_or_content(fact: Fact) -> tuple[tuple[str, ...], str]:
    return fact.source, "" if "/" in fact.source[0] else repr(fact)


def _malformed(count: int, lens: Lens) -> None:
    if count:
        lens.gaps.append(
            Gap(
                source="record",
                code="no-resource",
                says=f"{count} entries are no FHIR resources and were not read.",
                concerns=("uncoded-medication",),
            )
        )
