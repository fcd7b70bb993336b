"""The care unit where a patient is, from the encounter of a call; "" wherever that is not told for sure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from fhir_adapter.elements import Resource, mapping, mappings, reference_of, text
from fhir_adapter.subjects import Subject

# R4 and R5 encounter status: the patient is there
_RUNNING: Final = frozenset({"arrived", "triaged", "in-progress", "onleave", "on-hold"})
_WARD: Final = "wa"  # http://terminology.hl7.org/CodeSystem/location-physical-type
_LONGEST: Final = 80


def unit_of(resources: Iterable[Resource], subject: Subject, encounter_id: str = "") -> str:
    """The unit of the call's encounter, else of the only running one; two units at once are none."""
    wanted = encounter_id.rpartition("/")[2]
    units = {
        unit
        for one in resources
        if one.get("resourceType") == "Encounter"
        and text(one.get("status")) in _RUNNING
        and subject.of(one) == "own"
        and (not wanted or text(one.get("id")) == wanted)
        for unit in _units(one)
    }
    return units.pop() if len(units) == 1 else ""


def _units(encounter: Resource) -> Iterator[str]:
    """Where the encounter takes place now: its wards where any is named so, else its locations."""
    now = [
        one
        for one in mappings(encounter.get("location"))
        if text(one.get("status")) in {"", "active"} and not mapping(one.get("period")).get("end")
    ]
    wards = [one for one in now if _is_ward(one)]
    for one in wards or now:
        place = one.get("location")
        name = text(mapping(place).get("display")) or reference_of(place).rpartition("/")[2]
        if name.strip():
            yield name.strip()[:_LONGEST]


def _is_ward(place: Resource) -> bool:
    kind = mapping(place.get("physicalType")) or mapping(place.get("form"))
    return any(text(one.get("code")) == _WARD for one in mappings(kind.get("coding")))
