"""The only door to fhir.resources: it validates what we emit, and explains input that could not be read.

Imported lazily: loading the models costs more than a hundred cards. No message ever repeats the input.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal

import orjson

from fhir_adapter.elements import Resource, items, mapping, mappings, name_of
from rules.assessment import Gap
from rules.errors import EngineError

Version = Literal["R4", "R4B", "R5", "STU3"]
# R4 has no models of its own: every R4 resource we use passes as R4B (4.3.0 differs in types we never touch).
_PACKAGES: dict[str, str] = {
    "R4": "fhir.resources.R4B",
    "R4B": "fhir.resources.R4B",
    "R5": "fhir.resources",
    "STU3": "fhir.resources.STU3",
}
_MOST = 5
# What we emit differs from call to call only in whom, when, and in the words and records of an issue: these are built
# in one place each, of texts and instants alone, so that a resource which is the same otherwise is validated once.
_VARYING = frozenset(
    {"subject", "for", "authoredOn", "occurrencePeriod", "occurrenceDateTime"}
    | {"patient", "identifiedDateTime", "detail", "implicated", "id"}
)
_VALID_SHAPES: set[tuple[str, bytes]] = set()
_MOST_SHAPES = 1000


def version_of(resource: Resource) -> Version:
    """The FHIR version by the keys that are there; labels are wrong too often."""
    kind = resource.get("resourceType")
    if kind in {"MedicationOrder", "ProcedureRequest", "DiagnosticOrder"}:
        return "STU3"
    if resource.get("medication").__class__ is dict or "adherence" in resource:
        return "R5"
    if mapping(resource.get("dosage")).get("step") or mapping(resource.get("code")).get("concept"):
        return "R5"
    if "taken" in resource or "agent" in mapping(resource.get("requester")):
        return "STU3"
    doses = mappings(items(resource.get("dosageInstruction")) + items(resource.get("dosage")))
    if any("doseQuantity" in dose or "doseSimpleQuantity" in dose for dose in doses):
        return "STU3"
    return "R4"


@lru_cache(maxsize=256)
def _model(kind: str, version: str) -> Any:
    module = importlib.import_module(f"{_PACKAGES[version]}.{kind.lower()}")
    return getattr(module, kind)


def load_models(*kinds: str, version: Version = "R4") -> None:
    """Load the models of these types of resource now, so that the first that is validated does not wait for them."""
    for kind in kinds:
        _model(kind, version)


def parsed(resource: Resource, version: Version | None = None) -> Resource:
    """The resource after a round trip through its strict model.

    Raises:
        Exception: whatever the library raises; callers outside tests use ``problems_of``.
    """
    plain = {key: value for key, value in resource.items() if key != "fullUrl"}
    model = _model(str(plain["resourceType"]), version or version_of(resource))
    read: Resource = json.loads(model.model_validate(plain).model_dump_json())
    return read


def problems_of(resource: Resource, version: Version | None = None) -> tuple[tuple[str, str], ...]:
    """(element, kind of problem) pairs that strict validation finds; empty when it is valid."""
    version = version or version_of(resource)
    plain = {key: value for key, value in resource.items() if key != "fullUrl"}
    try:
        _model(str(plain.get("resourceType")), version).model_validate(plain)
    except Exception as error:  # noqa: BLE001 - the library also raises bare KeyError on unknown types
        return _told(error)
    return ()


def _told(error: Exception) -> tuple[tuple[str, str], ...]:
    listing = getattr(error, "errors", None)
    if not callable(listing):
        return (("", type(error).__name__),)
    try:
        found = listing()
        return tuple(
            (".".join(str(step) for step in one.get("loc", ())), str(one.get("type", "")))
            for one in found[:_MOST]
        )
    except Exception:  # noqa: BLE001 - explaining must not break a review
        return (("", type(error).__name__),)


def explain(resources: Iterable[Resource]) -> tuple[Gap, ...]:
    """What strict validation finds in resources that the quick reader stumbled over; each resource once."""
    gaps: dict[int, tuple[Gap, ...]] = {}
    for resource in resources:
        if id(resource) in gaps:
            continue
        gaps[id(resource)] = tuple(
            Gap(
                source=name_of(resource),
                path=path,
                code="not-valid-fhir",
                says=f"By the letter of FHIR {version_of(resource)} this element is wrong ({kind}).",
            )
            for path, kind in problems_of(resource)
        )
    return tuple(gap for found in gaps.values() for gap in found)


def checked(resource: Resource, version: Version) -> Resource:
    """The resource we are about to emit, after strict validation.

    Raises:
        EngineError: we built something that is no valid FHIR.
    """
    steady = {key: key in _VARYING or value for key, value in resource.items()}
    shape = (version, orjson.dumps(steady, option=orjson.OPT_SORT_KEYS))
    if shape in _VALID_SHAPES:
        return resource
    problems = problems_of(resource, version)
    if problems:
        where = ", ".join(f"{path or 'resource'} ({kind})" for path, kind in problems)
        raise EngineError(f"built an invalid {resource.get('resourceType')} ({version}): {where}")
    if len(_VALID_SHAPES) < _MOST_SHAPES:
        _VALID_SHAPES.add(shape)
    return resource
