"""A mixed population: every example, every story of the acceptance cases, every shape of the reader's fixtures, and worse.

Each person is a list of resources, as a chart holds them; what a hook would only propose (drafts) is no part of it.
"""

import json
from collections import defaultdict
from pathlib import Path

from fhir_adapter.ndjson import key_of
from tests.service.batch.people import (
    LOINC,
    RXNORM,
    WARFARIN,
    bundle,
    coded,
    lab,
    of_each_type,
    patient,
    request,
    statement,
)

ROOT = Path(__file__).parents[3]
KEYS = {
    "medicationStatements": {"MedicationStatement", "Medication"},
    "medicationRequests": {"MedicationRequest", "MedicationOrder"},
    "conditions": {"Condition"},
    "procedures": {"Procedure"},
    "goals": {"Goal"},
    "serviceRequests": {"ServiceRequest", "ProcedureRequest"},
    "nutrition": {"NutritionIntake"},
    "vitaminD": {"Observation"},
}
_EMPTY = (
    "inr",
    "minerals",
    "kidney",
)  # every result comes under one key; the type decides, not the key


def everybody():
    """Resources by patient, and the Medications that they share."""
    people, shared = defaultdict(list), []
    for one in [*_on_file(), *_worse()]:
        if one["resourceType"] == "Medication":
            shared.append(one)
        elif one["resourceType"] != "OperationOutcome":
            people[key_of(one)].append(one)
    for key, own in people.items():
        if not any(one["resourceType"] == "Patient" for one in own):
            own.append(patient(key))
        # so that a Bundle of this patient alone shows that each was looked for
        own.extend(of_each_type(key))
    return dict(sorted(people.items())), shared


def _on_file():
    for folder in ("examples", "tests/acceptance/cases", "tests/fhir_adapter/fixtures"):
        for path in sorted((ROOT / folder).glob("*.json")):
            document = json.loads(path.read_text())
            document = document.get("request", document)
            documents = document["prefetch"].values() if "hook" in document else [document]
            for one in documents:
                yield from _resources(one)


def _resources(value):
    if not isinstance(value, dict):
        return
    if value["resourceType"] != "Bundle":
        yield value
    for entry in value.get("entry", ()):
        yield from _resources(entry["resource"])


def _worse():
    """What hospitals send as well; each with a drug or result to which it matters."""
    yield from [
        patient("dead") | {"deceasedDateTime": "2026-11-20"},
        request("dead", WARFARIN, 1),
        statement("dead", None, 1, words="Vitamin K2 MK-7 100 mcg daily", start="2026-11-10"),
        patient("undated", born="19"),
        lab("undated", "1989-3", 9.5, "ng/mL", 1, taken="2026"),
        request("refused", WARFARIN, 1) | {"doNotPerform": True},
        statement("refused", None, 1, words="Vitamin K2 MK-7 100 mcg daily", start="2026-11-10"),
        request("mistaken", WARFARIN, 1) | {"status": "entered-in-error"},
        lab("mistaken", "6301-6", 7.0, "{INR}", 1),
        request("bare", WARFARIN, 1),
        {**lab("bare", "6301-6", 5.5, "-", 1), "valueQuantity": {"value": 5.5, "unit": "-"}},
        {**lab("bare", "1989-3", 12, "", 2), "valueQuantity": {"value": 12}},
        lab("words", "1989-3", 1, "ng/mL", 1) | {"valueQuantity": None, "valueString": "<5 ng/mL"},
        statement("many", None, 1, words="Vitamin D3 50000 IU daily \u202e\u00e9 <b>=1+1</b>"),
        statement("many", coded(RXNORM, "11289", "warfarin"), 2),
        *(lab("many", "6301-6", 2 + n / 10, "{INR}", n, taken=f"2026-10-{n + 10}") for n in range(9)),
        {**lab("nowhere", "1989-3", 170, "ng/mL", 1), "code": coded(LOINC, "1989-3") | {"text": None}},
        statement("nowhere", None, 1, reference="nobody-has-it"),
        patient("quiet"),
        lab("quiet", "2160-0", 1.1, "mg/dL", 1),
    ]  # fmt: skip


def chart_opened(own, shared):
    """The hook call of an EHR that opens this chart: every key answered, with empty Bundles where there is nothing."""
    person = next(one for one in own if one["resourceType"] == "Patient")
    rest = [*own, *shared]
    found = {
        key: bundle([one for one in rest if one["resourceType"] in types], "searchset")
        for key, types in KEYS.items()
    }
    return {
        "hook": "patient-view",
        "hookInstance": "0c6b8a6e-6d2f-4a53-9d0e-000000000002",
        "context": {"userId": "Practitioner/p", "patientId": person["id"]},
        "prefetch": {
            "patient": person,
            **found,
            **{key: bundle([], "searchset") for key in _EMPTY},
        },
    }
