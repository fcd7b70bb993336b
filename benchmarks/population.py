"""A Bulk Data export of invented patients: any size, always the same for one seed, most lines of no concern.

    python -m benchmarks.population FOLDER [PATIENTS] [SHARE OF RELEVANT PATIENTS]

Each patient has about 70 lines (59 KB): encounters of vital signs and panels, prescriptions, problems. A share of
them has a vitamin K antagonist, vitamin D or K, an INR or a 25(OH)D; a fifth of these drugs stand only behind a
reference, and the lines of one patient are scattered over all files.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

LOINC, RXNORM, SNOMED = (
    "http://loinc.org",
    "http://www.nlm.nih.gov/research/umls/rxnorm",
    "http://snomed.info/sct",
)
VITALS = [("8302-2", "Body Height", "cm"), ("29463-7", "Body Weight", "kg"), ("39156-5", "Body mass index", "kg/m2"),
          ("72514-3", "Pain severity", "{score}"), ("8867-4", "Heart rate", "/min"), ("9279-1", "Respiratory rate", "/min"),
          ("4548-4", "Hemoglobin A1c", "%"), ("2093-3", "Cholesterol", "mg/dL"), ("718-7", "Hemoglobin", "g/dL")]  # fmt: skip
DRUGS = [("314076", "lisinopril 10 MG Oral Tablet"), ("860975", "metformin 500 MG Extended Release Oral Tablet"),
         ("312961", "simvastatin 20 MG Oral Tablet"), ("243670", "aspirin 81 MG Oral Tablet"), ("308136", "amlodipine 2.5 MG Oral Tablet")]  # fmt: skip
PROBLEMS = [
    ("195662009", "Acute viral pharyngitis"),
    ("444814009", "Viral sinusitis"),
    ("15777000", "Stress"),
]
PARTS = 6


def write_population(folder: Path, patients: int, share: float = 0.03, seed: int = 7) -> int:
    """Write the export; gives the bytes written."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    kinds = (
        "Patient",
        "Observation",
        "MedicationRequest",
        "MedicationStatement",
        "Condition",
        "Procedure",
        "Goal",
        "ServiceRequest",
    )
    files = {
        (kind, part): (folder / f"{kind}.{part:03}.ndjson").open("w")
        for kind in kinds
        for part in range(1 if kind == "Patient" else PARTS)
    }
    for number in range(patients):
        for resource in _patient(number, rng, relevant=rng.random() < share):
            kind = resource["resourceType"]
            part = 0 if kind == "Patient" else rng.randrange(PARTS)
            files[kind, part].write(json.dumps(resource, separators=(",", ":")) + "\n")
    for file in files.values():
        file.close()
    shelf = [
        ("m-warfarin", RXNORM, "855332", "Warfarin Sodium 5 MG Oral Tablet"),
        ("m-d3", RXNORM, "000", "Vitamin D3 5000 IU capsule"),
        ("m-dull", RXNORM, "197361", "amlodipine 5 MG Oral Tablet"),
    ]
    with (folder / "Medication.000.ndjson").open("w") as file:
        for identity, system, code, name in shelf:
            file.write(
                json.dumps(
                    {
                        "resourceType": "Medication",
                        "id": identity,
                        "code": _concept(system, code, name),
                    },
                    separators=(",", ":"),
                )
                + "\n"
            )
    return sum(path.stat().st_size for path in folder.iterdir())


def _concept(system: str, code: str, name: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": name}], "text": name}


def _id(rng: random.Random) -> str:
    text = f"{rng.getrandbits(128):032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _patient(number: int, rng: random.Random, *, relevant: bool):
    key = f"{number:08x}-{_id(rng)[9:]}"
    subject = {
        "subject": {"reference": f"Patient/{key}"},
        "encounter": {"reference": f"Encounter/{_id(rng)}"},
    }
    year = rng.randrange(1955, 2005)
    yield {
        "resourceType": "Patient", "id": key, "meta": {"profile": ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient"]},
        "text": {"status": "generated", "div": "<div xmlns='http://www.w3.org/1999/xhtml'>invented</div>"},
        "identifier": [{"system": "https://hospital.example.org/mrn", "value": _id(rng)} for _ in range(3)],
        "name": [{"use": "official", "family": f"Family{number}", "given": [f"Given{number}"]}],
        "gender": rng.choice(["female", "male"]), "birthDate": f"{year}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}",
        "address": [{"line": ["1 Example Street"], "city": "Exampleton", "postalCode": "00000"}],
    }  # fmt: skip
    for _ in range(56):
        yield _result(rng, subject, *rng.choice(VITALS), round(rng.uniform(1, 200), 2))
    for _ in range(10):
        yield _order(
            rng, subject, {"medicationCodeableConcept": _concept(RXNORM, *rng.choice(DRUGS))}
        )
    yield {
        **_order(rng, subject, {"medicationReference": {"reference": "Medication/m-dull"}}),
        "resourceType": "MedicationStatement",
        "dateAsserted": "2026-01-01",
    }
    for kind in ("Condition", "Condition", "Procedure", "ServiceRequest", "Goal"):
        made = {
            "resourceType": kind,
            "id": _id(rng),
            "status": "active",
            "intent": "order",
            "code": _concept(SNOMED, *rng.choice(PROBLEMS)),
            **subject,
        }
        if kind == "Goal":
            made["lifecycleStatus"] = "active"
        yield made
    if relevant:
        yield from _relevant(rng, subject)


def _relevant(rng: random.Random, subject: dict[str, Any]):
    way = rng.random()
    if way < 0.12:
        by_reference = rng.random() < 0.2
        product = (
            {"medicationReference": {"reference": "Medication/m-warfarin"}}
            if by_reference
            else {
                "medicationCodeableConcept": _concept(
                    RXNORM, "855332", "Warfarin Sodium 5 MG Oral Tablet"
                )
            }
        )
        yield _order(rng, subject, product)
        yield _result(
            rng,
            subject,
            "6301-6",
            "INR in Platelet poor plasma by Coagulation assay",
            "{INR}",
            round(rng.uniform(1.2, 5), 1),
        )
    if way < 0.05:
        yield {
            **_order(
                rng,
                subject,
                {"medicationCodeableConcept": {"text": "Vitamin K2 MK-7 100 mcg daily"}},
            ),
            "resourceType": "MedicationStatement",
        }
    if way > 0.1:
        unit, low, high = rng.choice([("ng/mL", 6, 70), ("nmol/L", 15, 170), ("ug/L", 6, 70)])
        yield _result(
            rng, subject, "1989-3", "25-hydroxyvitamin D3", unit, round(rng.uniform(low, high), 1)
        )
        product = (
            {"medicationReference": {"reference": "Medication/m-d3"}}
            if rng.random() < 0.2
            else {
                "medicationCodeableConcept": {
                    "text": f"Vitamin D3 {rng.choice([1000, 2000, 5000])} IU once daily"
                }
            }
        )
        yield {**_order(rng, subject, product), "resourceType": "MedicationStatement"}


def _result(
    rng: random.Random, subject: dict[str, Any], code: str, name: str, unit: str, value: float
) -> dict[str, Any]:
    when = (
        f"2026-{rng.randrange(1, 11):02}-{rng.randrange(1, 29):02}T0{rng.randrange(10)}:00:00+00:00"
    )
    return {
        "resourceType": "Observation", "id": _id(rng), "meta": {"profile": ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab"]},
        "status": "final", "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory", "display": "laboratory"}]}],
        "code": _concept(LOINC, code, name), **subject, "effectiveDateTime": when, "issued": when,
        "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
    }  # fmt: skip


def _order(rng: random.Random, subject: dict[str, Any], product: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest", "id": _id(rng), "status": "active", "intent": "order", **product, **subject,
        "authoredOn": "2026-03-04T10:00:00+00:00", "requester": {"reference": f"Practitioner/{_id(rng)}", "display": "Dr. Example"},
        "dosageInstruction": [{"sequence": 1, "asNeededBoolean": False, "timing": {"repeat": {"frequency": 1, "period": 1.0, "periodUnit": "d"}}, "doseAndRate": [{"doseQuantity": {"value": 1.0}}]}],
    }  # fmt: skip


if __name__ == "__main__":
    given = sys.argv[1:]
    size = write_population(
        Path(given[0]),
        int(given[1]) if len(given) > 1 else 1000,
        float(given[2]) if len(given) > 2 else 0.03,
    )
    print(f"{size / 1e6:.1f} MB")
