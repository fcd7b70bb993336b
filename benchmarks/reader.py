"""The quick reader: microseconds a resource, beside parsing the same bytes and validating the same resources.

``relevant`` repeats a few products and dosages, as a population does; in ``first-sight`` every one is new.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from fhir_adapter.reader import read
from fhir_adapter.resources import problems_of
from rules.vocabulary import Vocabulary, load_vocabulary

_CODES = Path(__file__).resolve().parent.parent / "rules" / "packs" / "core" / "codes"
_AS_OF = datetime(2026, 11, 22, 12, tzinfo=UTC)
_SUBJECT = {"reference": "Patient/b"}
_MARKS = itertools.count()
_DAILY = {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}


def _dose(unit: str) -> list[dict[str, Any]]:
    quantity = {
        "value": 1,
        "unit": unit,
        "system": "http://unitsofmeasure.org",
        "code": f"{{{unit}}}",
    }
    route = {"coding": [{"system": "http://snomed.info/sct", "code": "26643006"}], "text": "oral"}
    return [
        {
            "text": f"Take 1 {unit} by mouth daily",
            "timing": _DAILY,
            "route": route,
            "doseAndRate": [{"doseQuantity": quantity}],
        }
    ]


def _relevant(number: int) -> list[dict[str, Any]]:
    request = {
        "resourceType": "MedicationRequest",
        "id": f"w{number}",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {
            "coding": [
                {
                    "system": "http://www.nlm.nih.gov/research/umls/rxnorm",
                    "code": "855332",
                    "display": "warfarin sodium 5 MG Oral Tablet",
                }
            ],
            "text": "Warfarin 5 mg tablet",
        },
        "subject": _SUBJECT,
        "authoredOn": "2025-01-02",
        "dosageInstruction": _dose("tablet"),
    }
    statement = {
        "resourceType": "MedicationStatement",
        "id": f"k{number}",
        "status": "active",
        "medicationCodeableConcept": {"text": "Vitamin K2 (MK-7) 100 mcg softgel"},
        "subject": _SUBJECT,
        "effectivePeriod": {"start": "2026-11-01"},
        "dosage": _dose("softgel"),
    }
    return [request, statement, _observation(f"i{number}", "6301-6", 2.4, "{INR}")]


def _new_to_the_reader(number: int) -> list[dict[str, Any]]:
    """Records whose words were never read before, also not in an earlier round."""
    fresh = _relevant(number)
    mark = next(_MARKS)
    fresh[0]["medicationCodeableConcept"]["text"] = f"Warfarin 5 mg tablet, lot {mark}"
    fresh[1]["medicationCodeableConcept"]["text"] = f"Vitamin K2 (MK-7) 100 mcg softgel, lot {mark}"
    fresh[1]["dosage"][0]["text"] = f"Take 1 softgel by mouth daily, note {mark}"
    return fresh


def _observation(identity: str, code: str, value: float, unit: str) -> dict[str, Any]:
    category = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "resourceType": "Observation",
        "id": identity,
        "status": "final",
        "category": [{"coding": [{"system": category, "code": "laboratory"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": code}], "text": "result"},
        "subject": _SUBJECT,
        "effectiveDateTime": "2026-11-12T08:30:00Z",
        "valueQuantity": {
            "value": value,
            "unit": unit,
            "system": "http://unitsofmeasure.org",
            "code": unit,
        },
        "referenceRange": [{"high": {"value": 9.9, "unit": unit}}],
    }


def _irrelevant(number: int) -> list[dict[str, Any]]:
    drug = _relevant(number)[0] | {
        "id": f"l{number}",
        "medicationCodeableConcept": {
            "coding": [
                {
                    "system": "http://www.nlm.nih.gov/research/umls/rxnorm",
                    "code": "314076",
                    "display": "lisinopril 10 MG Oral Tablet",
                }
            ]
        },
    }
    condition = {
        "resourceType": "Condition",
        "id": f"c{number}",
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "code": {
            "coding": [{"system": "http://snomed.info/sct", "code": "59621000"}],
            "text": "Hypertension",
        },
        "subject": _SUBJECT,
        "onsetDateTime": "2020-01-01",
    }
    return [drug, condition, _observation(f"h{number}", "718-7", 13.9, "g/dL")]


def _median_us(work: Callable[[], Any], resources: int, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times) / resources * 1e6


def _first_sight(vocabulary: Vocabulary, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        found = [one for number in range(50) for one in _new_to_the_reader(number)]
        start = time.perf_counter()
        read(found, patient_id="b", vocabulary=vocabulary, as_of=_AS_OF, zone=UTC)
        times.append((time.perf_counter() - start) / len(found) * 1e6)
    return statistics.median(times)


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Ratios of medians inside one run; ``us`` is microseconds a resource on this machine."""
    rounds, copies = (5, 50) if quick else (31, 200)
    vocabulary = load_vocabulary([_CODES])
    answer: dict[str, Any] = {}
    answer["first-sight"] = {"us": {"reader": round(_first_sight(vocabulary, rounds), 2)}}
    for name, make in (("relevant", _relevant), ("irrelevant", _irrelevant)):
        found = [one for number in range(copies) for one in make(number)]
        body = orjson.dumps(found)
        few = found[: 3 * 10]

        def quickly(found: list[dict[str, Any]] = found) -> None:
            read(found, patient_id="b", vocabulary=vocabulary, as_of=_AS_OF, zone=UTC)

        def strictly(few: list[dict[str, Any]] = few) -> None:
            for one in few:
                problems_of(one)

        quickly()
        strictly()
        reader = _median_us(quickly, len(found), rounds)
        parse = _median_us(lambda body=body: orjson.loads(body), len(found), rounds)
        models = _median_us(strictly, len(few), rounds)
        answer[name] = {
            "reader_to_orjson": round(reader / parse, 2),
            "models_to_reader": round(models / reader, 1),
            "us": {
                "reader": round(reader, 2),
                "orjson": round(parse, 2),
                "models": round(models, 1),
            },
        }
    return answer
