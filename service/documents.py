"""From a JSON document to cases: a CDS Hooks request, a Bundle of one or many patients, a single resource."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from fhir_adapter.bundles import group_by_patient, resources_in
from rules.errors import RequestError
from service.cds_hooks.contexts import read_hook_call
from service.cds_hooks.prefetch import servers_of, supply_of
from service.review import Case

if TYPE_CHECKING:
    from service.settings import Settings

# Which resource types show that a source was part of a document at all.
TYPES_OF_SOURCE: Final[Mapping[str, frozenset[str]]] = {
    "patient": frozenset({"Patient"}),
    "medication-statements": frozenset({"MedicationStatement"}),
    "medication-requests": frozenset({"MedicationRequest", "MedicationOrder"}),
    "labs-25ohd": frozenset({"Observation"}),
    "labs-inr": frozenset({"Observation"}),
    "labs-minerals": frozenset({"Observation"}),
    "labs-kidney": frozenset({"Observation"}),
    "conditions": frozenset({"Condition"}),
    "procedures": frozenset({"Procedure"}),
    "goals": frozenset({"Goal"}),
    "orders": frozenset({"ServiceRequest", "ProcedureRequest"}),
    "diet": frozenset({"Observation", "NutritionIntake"}),
}
PATIENT_DATA: Final = frozenset[str]().union(*TYPES_OF_SOURCE.values())
NOT_IN_DOCUMENT: Final = "not part of the document"


def cases_in(document: Any, settings: Settings) -> Iterator[Case]:
    """Every patient of the document as a case; patients of a Bundle by id.

    A resource type that does not occur counts as not read: nobody said that it was searched.

    Raises:
        RequestError: the document is neither a hook request nor FHIR.
    """
    if isinstance(document, dict) and "hook" in document:
        yield _case_of_call(document, settings)
        return
    resources = resources_in(document)
    if not resources:
        raise RequestError("The file is neither a CDS Hooks request nor a FHIR resource or Bundle.")
    unread = unread_sources(resources)
    groups = group_by_patient(resources)
    for patient_id, own in sorted(groups.items()):
        if not patient_id and len(groups) > 1 and PATIENT_DATA.isdisjoint(_types(own)):
            continue  # practitioners, organisations and the like that belong to nobody
        yield Case(
            resources=own,
            patient_id=patient_id,
            profile=settings.profile,
            verbosity=settings.verbosity,
            zone=ZoneInfo(settings.zone),
            unread=unread,
        )


def unread_sources(resources: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Sources of which the document holds no resource at all."""
    present = _types(resources)
    return {
        source: NOT_IN_DOCUMENT
        for source, types in TYPES_OF_SOURCE.items()
        if present.isdisjoint(types)
    }


def _types(resources: Iterable[Mapping[str, Any]]) -> set[str]:
    return {str(resource.get("resourceType")) for resource in resources}


def _case_of_call(document: dict[str, Any], settings: Settings) -> Case:
    call = read_hook_call(document)
    supply = supply_of(call)
    return Case(
        resources=supply.resources,
        patient_id=call.patient_id,
        drafts=call.drafts,
        selections=call.selections,
        hook=call.hook,
        profile=settings.profile,
        verbosity=settings.verbosity,
        zone=ZoneInfo(settings.zone),
        unread=supply.unread,
        servers=servers_of(call),
        user=call.user_id,
    )
