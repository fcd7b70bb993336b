"""What the service says about itself: five services, and prefetch templates made from the packs in force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec
import orjson

if TYPE_CHECKING:
    from rules.vocabulary import Vocabulary

# Prefetch key -> the source of facts that it feeds.
SOURCES: Final[Mapping[str, str]] = {
    "patient": "patient",
    "medicationStatements": "medication-statements",
    "medicationRequests": "medication-requests",
    "vitaminD": "labs-25ohd",
    "inr": "labs-inr",
    "minerals": "labs-minerals",
    "kidney": "labs-kidney",
    "conditions": "conditions",
    "procedures": "procedures",
    "goals": "goals",
    "serviceRequests": "orders",
    "nutrition": "diet",
}
# Only what CDS Hooks 2.0 clients can fill in: one read, plain searches, root-level tokens, each parameter once.
_SEARCHES: Final[Mapping[str, str]] = {
    "medicationStatements": "MedicationStatement?patient={{context.patientId}}",
    "medicationRequests": "MedicationRequest?patient={{context.patientId}}",
    "conditions": "Condition?patient={{context.patientId}}",
    "procedures": "Procedure?patient={{context.patientId}}",
    "goals": "Goal?patient={{context.patientId}}",
    "serviceRequests": "ServiceRequest?patient={{context.patientId}}&status=active",
    "nutrition": "Observation?patient={{context.patientId}}&category=social-history",
}
_ENCOUNTER: Final = "Encounter/{{context.encounterId}}"
_LOINC: Final = "http://loinc.org"

_MOMENTS: Final[Mapping[str, str]] = {
    "patient-view": "when a chart is opened",
    "order-select": "when an order is chosen",
    "order-sign": "before orders are signed",
    "encounter-discharge": "at discharge",
    "medication-refill": "when a refill is asked for",
}
_TITLE: Final = "Vitamin D, vitamin K and anticoagulation"
_DESCRIPTION: Final = (
    "Looks at reported supplements, prescriptions, laboratory results and problems, and points out combinations "
    "of vitamin D, vitamin K and vitamin K antagonists that are worth a second look, {when}."
)
_REQUIREMENTS: Final = (
    "Needs medicationStatements or medicationRequests (or draft orders); answers 412 without any of them. "
    "Optional: {optional}. What could not be had is named in the answer and never taken for absent."
)
_NEEDED: Final = frozenset({"medicationStatements", "medicationRequests"})


class HookService(msgspec.Struct, frozen=True, kw_only=True):
    """One service of discovery."""

    id: str
    hook: str


SERVICES: Final[Mapping[str, HookService]] = {
    f"vitamin-dk-{hook}": HookService(id=f"vitamin-dk-{hook}", hook=hook) for hook in _MOMENTS
}


def prefetch_templates(vocabulary: Vocabulary) -> dict[str, str]:
    """Templates by key; laboratory searches name every LOINC code that the packs in force recognise.

    So they do with a hospital's own codes: a server that stores these finds nothing by LOINC codes.
    """
    searched = {_LOINC, *vocabulary.local_systems}
    templates = {"patient": "Patient/{{context.patientId}}", **_SEARCHES}
    for key, source in SOURCES.items():
        codes = sorted(
            (system != _LOINC, system, code)
            for measure, entry in vocabulary.measures.items()
            if entry.source == source
            for system, code in vocabulary.codes_of(measure)
            if system in searched
        )
        if codes:
            listed = ",".join(f"{system}|{_in_search(code)}" for _, system, code in codes)
            templates[key] = f"Observation?patient={{{{context.patientId}}}}&code={listed}"
    return {key: templates[key] for key in SOURCES if key in templates}


def _in_search(code: str) -> str:
    """A code inside a search (FHIR R4, "Search", 3.1.1.4.0.1): its own bars and commas are not the list's."""
    for sign in "\\|,$":
        code = code.replace(sign, "\\" + sign)
    return quote(code, safe="")


def discovery_document(
    vocabulary: Vocabulary, services: Mapping[str, HookService], *, encounter: bool = False
) -> bytes:
    """The body of ``GET /cds-services``; the encounter is asked for where the site works by care units."""
    prefetch = prefetch_templates(vocabulary)
    if encounter:
        prefetch["encounter"] = _ENCOUNTER
    optional = ", ".join(key for key in prefetch if key not in _NEEDED)
    listed: list[dict[str, Any]] = [
        {
            "hook": service.hook,
            "id": service.id,
            "title": f"{_TITLE}, {_MOMENTS[service.hook]}",
            "description": _DESCRIPTION.format(when=_MOMENTS[service.hook]),
            "prefetch": prefetch,
            "usageRequirements": _REQUIREMENTS.format(optional=optional),
        }
        for service in services.values()
    ]
    return orjson.dumps({"services": listed})
