"""Request bodies of our own making: a small chart (11 resources) and a large one (121 resources)."""

from __future__ import annotations

import json
import re

_LOINC = "http://loinc.org"
_UCUM = "http://unitsofmeasure.org"
_RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
_PATIENT = "bench-1"
_BASE = "https://ehr.example.org/fhir"


def small() -> bytes:
    """A patient on warfarin who began vitamin K2: 11 resources, about 8 kB."""
    return of_size(11)


def large() -> bytes:
    """The same patient with a long history: 121 resources, about 89 kB."""
    return of_size(121)


def new_patients(resources: int, count: int) -> list[bytes]:
    """So many charts of that size, no two alike: other names of patient and records, other moments, other values.

    What a service remembers of one patient helps with none of the others; products and codes are the same, as they
    are in any hospital.
    """
    return [_told_apart(of_size(resources), patient) for patient in range(count)]


def _told_apart(body: bytes, patient: int) -> bytes:
    """The chart under names of its own, drawn at other minutes, with results that differ in the last digit."""
    minute, second = divmod(patient * 7 % 3_600, 60)
    text = body.decode().replace(_PATIENT, f"bench-{patient + 2}")
    text = re.sub(r'"id": "((?:mr|st|co|inr|vd|ca|cr)-\d+)"', rf'"id": "\1-{patient}"', text)
    text = re.sub(r"/((?:mr|st|co|inr|vd|ca|cr)-\d+)\"", rf'/\1-{patient}"', text)
    text = re.sub(r"T(\d\d):\d\d:\d\dZ", rf"T\1:{minute:02d}:{second:02d}Z", text)
    return re.sub(r'("value": \d+\.\d)', rf"\g<1>{patient % 100:02d}", text).encode()


def of_size(resources: int) -> bytes:
    """The same patient with so many resources (11 at least)."""
    medicines = [
        _order(
            "mr-1",
            "855332",
            "warfarin sodium 5 MG Oral Tablet",
            "Warfarin 5 mg tablet",
            "2023-02-01",
        ),
        _order(
            "mr-2",
            "314076",
            "lisinopril 10 MG Oral Tablet",
            "Lisinopril 10 mg tablet",
            "2024-06-05",
        ),
        _order(
            "mr-3",
            "617314",
            "atorvastatin 20 MG Oral Tablet",
            "Atorvastatin 20 mg tablet",
            "2024-06-05",
        ),
    ]
    statements = [_statement("st-1", "Vitamin K2 (MK-7) 100 mcg capsule", "2026-11-14")]
    conditions = [_condition("co-1", "49436004", "Atrial fibrillation", "2019-05-02")]
    inr = [
        _result(f"inr-{n}", "6301-6", "INR in Platelet poor plasma", 2.2 + n % 4 / 10, "{INR}", n)
        for n in (1, 2)
    ]
    vitamin_d = [_result("vd-1", "62292-8", "25-Hydroxyvitamin D2+D3", 34, "ng/mL", 1)]
    minerals = [_result("ca-1", "17861-6", "Calcium in Serum or Plasma", 9.4, "mg/dL", 1)]
    kidney = [_result("cr-1", "2160-0", "Creatinine in Serum or Plasma", 0.9, "mg/dL", 1)]
    place = 2
    while (
        1 + sum(map(len, (medicines, statements, conditions, inr, vitamin_d, minerals, kidney)))
        < resources
    ):
        turn = place % 8
        if turn == 0:
            medicines.append(
                _order(
                    f"mr-{place + 2}",
                    "197361",
                    "amlodipine 5 MG Oral Tablet",
                    "Amlodipine 5 mg tablet",
                    "2022-01-10",
                    "completed",
                )
            )
        elif turn == 1:
            conditions.append(
                _condition(f"co-{place}", "38341003", "Hypertensive disorder", "2015-03-03")
            )
        elif turn in {2, 5}:
            inr.append(
                _result(
                    f"inr-{place + 1}",
                    "6301-6",
                    "INR in Platelet poor plasma",
                    2.0 + place % 9 / 10,
                    "{INR}",
                    place,
                )
            )
        elif turn == 3:
            minerals.append(
                _result(f"ca-{place}", "17861-6", "Calcium in Serum or Plasma", 9.2, "mg/dL", place)
            )
        elif turn == 4:
            vitamin_d.append(
                _result(f"vd-{place}", "62292-8", "25-Hydroxyvitamin D2+D3", 31, "ng/mL", place)
            )
        else:
            kidney.append(
                _result(
                    f"cr-{place}", "2160-0", "Creatinine in Serum or Plasma", 0.9, "mg/dL", place
                )
            )
        place += 1
    prefetch = {
        "patient": {
            "resourceType": "Patient", "id": _PATIENT, "gender": "female", "birthDate": "1956-04-12",
            "name": [{"use": "official", "family": "Example", "given": ["Ada"]}],
        },
        "medicationStatements": _bundle(statements), "medicationRequests": _bundle(medicines),
        "vitaminD": _bundle(vitamin_d), "inr": _bundle(inr), "minerals": _bundle(minerals),
        "kidney": _bundle(kidney), "conditions": _bundle(conditions), "procedures": _bundle([]),
        "goals": _bundle([]), "serviceRequests": _bundle([]), "nutrition": _bundle([]),
    }  # fmt: skip
    return json.dumps(
        {
            "hook": "patient-view",
            "hookInstance": "0c9f0f1e-7d5f-4c9a-9b8e-0d5b5f0a1b2c",
            "fhirServer": _BASE,
            "context": {"userId": "Practitioner/p-1", "patientId": _PATIENT, "encounterId": "e-1"},
            "prefetch": prefetch,
        }
    ).encode()


def _bundle(resources: list[dict]) -> dict:
    entries = [
        {
            "fullUrl": f"{_BASE}/{one['resourceType']}/{one['id']}",
            "resource": one,
            "search": {"mode": "match"},
        }
        for one in resources
    ]
    return {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": entries}


def _dosage(text: str, unit: str) -> dict:
    return {
        "text": text,
        "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
        "doseAndRate": [
            {"doseQuantity": {"value": 1, "unit": unit, "system": _UCUM, "code": f"{{{unit}}}"}}
        ],
    }


def _order(
    name: str, code: str, display: str, text: str, since: str, status: str = "active"
) -> dict:
    return {
        "resourceType": "MedicationRequest", "id": name, "status": status, "intent": "order",
        "medicationCodeableConcept": {"coding": [{"system": _RXNORM, "code": code, "display": display}], "text": text},
        "subject": {"reference": f"Patient/{_PATIENT}"}, "authoredOn": since,
        "requester": {"reference": "Practitioner/p-1", "display": "Dr Example"},
        "dosageInstruction": [_dosage("Take 1 tablet by mouth daily", "tablet")],
    }  # fmt: skip


def _statement(name: str, text: str, since: str) -> dict:
    return {
        "resourceType": "MedicationStatement", "id": name, "status": "active",
        "medicationCodeableConcept": {"text": text}, "subject": {"reference": f"Patient/{_PATIENT}"},
        "effectivePeriod": {"start": since}, "dateAsserted": since, "dosage": [_dosage("1 capsule daily", "capsule")],
    }  # fmt: skip


def _condition(name: str, code: str, text: str, since: str) -> dict:
    return {
        "resourceType": "Condition", "id": name,
        "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]},
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": code, "display": text}], "text": text},
        "subject": {"reference": f"Patient/{_PATIENT}"}, "onsetDateTime": since,
    }  # fmt: skip


def _result(name: str, code: str, display: str, value: float, unit: str, place: int) -> dict:
    day = f"2026-{11 - place % 10:02d}-{1 + place % 20:02d}"
    return {
        "resourceType": "Observation", "id": name, "status": "final",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}],
        "code": {"coding": [{"system": _LOINC, "code": code, "display": display}], "text": display},
        "subject": {"reference": f"Patient/{_PATIENT}"}, "effectiveDateTime": f"{day}T08:00:00Z",
        "issued": f"{day}T11:30:00Z", "performer": [{"display": "Central laboratory, ward 4"}],
        "valueQuantity": {"value": round(value, 1), "unit": unit, "system": _UCUM, "code": unit},
    }  # fmt: skip
