"""A small population in every form in which it can arrive."""

import gzip
import json
import random
from pathlib import Path

AS_OF = "2026-11-22T12:00:00+00:00"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
LOINC = "http://loinc.org"


def coded(system, code, display=""):
    coding = {"system": system, "code": code}
    return {"coding": [coding | ({"display": display} if display else {})], "text": display}


def patient(key, born="1955-03-04"):
    return {"resourceType": "Patient", "id": key, "gender": "female", "birthDate": born}


def statement(key, name, number, words=None, start="2026-11-01", reference=None):
    made = {
        "resourceType": "MedicationStatement",
        "id": f"{key}-s{number}",
        "status": "active",
        "subject": {"reference": f"Patient/{key}"},
        "effectivePeriod": {"start": start},
    }
    if reference:
        made["medicationReference"] = {"reference": f"Medication/{reference}"}
    else:
        made["medicationCodeableConcept"] = name if isinstance(name, dict) else {"text": words}
    return made


def request(key, concept, number):
    return {
        "resourceType": "MedicationRequest",
        "id": f"{key}-r{number}",
        "status": "active",
        "intent": "order",
        "authoredOn": "2020-01-02",
        "medicationCodeableConcept": concept,
        "subject": {"reference": f"Patient/{key}"},
    }


def lab(key, code, value, unit, number, taken="2026-11-10"):
    return {
        "resourceType": "Observation",
        "id": f"{key}-o{number}",
        "status": "final",
        "code": coded(LOINC, code, "a result"),
        "subject": {"reference": f"Patient/{key}"},
        "effectiveDateTime": taken,
        "valueQuantity": {
            "value": value,
            "unit": unit,
            "system": "http://unitsofmeasure.org",
            "code": unit,
        },
    }


def of_each_type(key):
    """One record of every type that rules read, of no concern to any: so that every source counts as read."""
    whose = {"subject": {"reference": f"Patient/{key}"}}
    dull = coded(RXNORM, "197361", "Amlodipine 5 MG Oral Tablet")
    return [
        request(key, dull, 0),
        statement(key, dull, 0),
        lab(key, "8480-6", 120, "mm[Hg]", 0),
        {"resourceType": "Condition", "id": f"{key}-c", "code": coded("http://snomed.info/sct", "195662009", "Sore throat"), **whose},
        {"resourceType": "Procedure", "id": f"{key}-p", "status": "completed", "code": coded("http://snomed.info/sct", "430193006", "Medication reconciliation"), **whose},
        {"resourceType": "Goal", "id": f"{key}-g", "lifecycleStatus": "active", "description": {"text": "Walk more"}, **whose},
        {"resourceType": "ServiceRequest", "id": f"{key}-q", "status": "active", "intent": "order", "code": coded(LOINC, "24331-1", "Lipids"), **whose},
    ]  # fmt: skip


WARFARIN = coded(RXNORM, "855332", "Warfarin Sodium 5 MG Oral Tablet")


def population(count=12):
    """Resources by patient, and the Medications they share."""
    people = {}
    for number in range(count):
        key = f"p{number:03}"
        own = [patient(key, born=f"{1940 + number * 5}-03-04"), *of_each_type(key)]
        if number % 3 == 0:
            own.append(request(key, WARFARIN, 1))
            own.append(
                statement(key, None, 1, words="Vitamin K2 MK-7 100 mcg daily", start="2026-11-10")
            )
            own.append(lab(key, "6301-6", 2.4, "{INR}", 1, taken="2026-10-01"))
        if number % 4 == 1:
            own.append(lab(key, "1989-3", 9.5, "ng/mL", 2))
        if number % 4 == 2:
            own.append(lab(key, "1989-3", 170, "ng/mL", 2))
            own.append(statement(key, None, 2, reference="shared-d"))
        if number % 5 == 4:
            own.append(statement(key, None, 3, words="Wundermittel forte"))
        people[key] = own
    medication = {
        "resourceType": "Medication",
        "id": "shared-d",
        "code": {"text": "Vitamin D3 5000 IU capsule"},
    }
    return people, [medication]


def bundle(resources, kind="collection"):
    return {
        "resourceType": "Bundle",
        "type": kind,
        "entry": [{"resource": one} for one in resources],
    }


def write_bundles(folder: Path, people, shared):
    folder.mkdir(parents=True)
    for key, own in people.items():
        (folder / f"{key}.json").write_text(json.dumps(bundle([*own, *shared])))
    return folder


def write_lines(folder: Path, people, shared, parts=2, seed=1):
    """Several files for each type; the lines of a patient are scattered over them in any order."""
    folder.mkdir(parents=True)
    lines = [*shared, *(one for own in people.values() for one in own)]
    random.Random(seed).shuffle(lines)
    by_type = {}
    for one in lines:
        by_type.setdefault(one["resourceType"], []).append(one)
    for kind, own in by_type.items():
        for part in range(parts):
            text = "".join(json.dumps(one) + "\n" for one in own[part::parts])
            if part % 2:
                with gzip.open(folder / f"{kind}.{part:03}.ndjson.gz", "wt") as file:
                    file.write(text)
            else:
                (folder / f"{kind}.{part:03}.ndjson").write_text(text)
    return folder
