"""Where a patient is: told only when the encounter says it for sure."""

import pytest

from fhir_adapter.encounters import unit_of
from fhir_adapter.subjects import Subject

SELF = Subject("p", [])


def at(name="3 West", **more):
    return {"location": {"display": name, "reference": f"Location/{name[:1]}"}, "status": "active", **more}  # fmt: skip


def encounter(*places, number="e1", whose="p", status="in-progress"):
    return {
        "resourceType": "Encounter", "id": number, "status": status, "subject": {"reference": f"Patient/{whose}"},
        "location": list(places),
    }  # fmt: skip


WARD = {"physicalType": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/location-physical-type", "code": "wa"}]}}  # fmt: skip
BED = {"physicalType": {"coding": [{"code": "bd"}]}}


@pytest.mark.parametrize(
    ("resources", "unit"),
    [
        ([encounter(at())], "3 West"),
        ([encounter({"location": {"reference": "Location/icu"}})], "icu"),
        ([encounter(at("Bed 7", **BED), at("3 West", **WARD))], "3 West"),
        ([encounter(at("Old", status="completed"), at("New"))], "New"),
        ([encounter(at("Old", period={"end": "2026-11-20"}), at("New"))], "New"),
        ([encounter(at("A"), at("B"))], ""),
        ([encounter(at(), whose="another")], ""),
        ([encounter(at(), status="finished")], ""),
        ([encounter(at(), number="e9"), encounter(at("ICU"))], ""),
        ([encounter()], ""),
        ([{"resourceType": "Encounter", "location": "nonsense"}], ""),
        ([], ""),
    ],
)
def test_a_unit_is_told_only_for_sure(resources, unit):
    assert unit_of(resources, SELF) == unit


@pytest.mark.parametrize(("wanted", "unit"), [("e1", "3 West"), ("Encounter/e9", "ICU"), ("e5", "")])  # fmt: skip
def test_the_encounter_of_the_call_counts(wanted, unit):
    both = [encounter(at()), encounter(at("ICU"), number="e9")]
    assert unit_of(both, SELF, wanted) == unit
