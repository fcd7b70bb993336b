"""A record in which every free text tries to become markup, before every page that shows something of it."""

import json

import pytest

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script><svg onload=alert(3)>'\"`{{7*7}}"
WHERE_OR_WHEN = {
    "resourceType", "id", "reference", "fullUrl", "status", "intent", "type", "mode", "use", "system", "gender", "birthDate",
    "url", "hook", "hookInstance", "userId", "patientId", "encounterId", "start", "end", "authoredOn", "dateAsserted",
    "effectiveDateTime", "issued", "periodUnit", "fhirServer", "recordedDate", "onsetDateTime", "performedDateTime",
    "lifecycleStatus",
}  # fmt: skip
CODES = {"code", "unit"}


def poisoned(value, name="", *, codes):
    """Every text of a record with markup behind it; what says where, when and (at first) which stays."""
    if isinstance(value, dict):
        return {key: poisoned(one, key, codes=codes) for key, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one, name, codes=codes) for one in value]
    if not isinstance(value, str) or name in WHERE_OR_WHEN or (name in CODES and not codes):
        return value
    return f"{value} {HOSTILE}"


def richer(text):
    """The example with a resource of every further kind that is read, each with its free texts."""
    body = json.loads(text)
    name, prefetch = body["context"]["patientId"], body["prefetch"]
    subject = {"reference": f"Patient/{name}"}
    note = [{"text": "a note"}]
    div = {"status": "generated", "div": "<div>words</div>"}
    prefetch["patient"] |= {
        "address": [{"city": "Town", "text": "Street"}],
        "text": div,
        "contact": [{"name": {"text": "N"}}],
    }
    further = {
        "conditions": {
            "resourceType": "Condition", "id": "c1", "subject": subject, "note": note, "text": div,
            "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]},
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "I48.91", "display": "AF"}], "text": "atrial fibrillation"},
        },
        "procedures": {
            "resourceType": "Procedure", "id": "p1", "status": "completed", "subject": subject, "note": note,
            "code": {"text": "mechanical valve"}, "performedDateTime": "2020-01-01",
        },
        "goals": {
            "resourceType": "Goal", "id": "g1", "lifecycleStatus": "active", "description": {"text": "INR goal"}, "subject": subject,
            "target": [{"measure": {"coding": [{"system": "http://loinc.org", "code": "6301-6", "display": "INR"}]}, "detailRange": {"low": {"value": 2}, "high": {"value": 3}}}],
        },
        "serviceRequests": {
            "resourceType": "ServiceRequest", "id": "s1", "status": "active", "intent": "order", "subject": subject, "note": note,
            "code": {"coding": [{"system": "http://loinc.org", "code": "6301-6", "display": "INR"}], "text": "INR"}, "authoredOn": "2026-11-20", "patientInstruction": "Come early",
        },
        "minerals": {
            "resourceType": "Observation", "id": "ca", "status": "final", "subject": subject, "effectiveDateTime": "2026-11-01", "note": note,
            "code": {"coding": [{"system": "http://loinc.org", "code": "17861-6", "display": "Calcium"}], "text": "Calcium"}, "interpretation": [{"text": "high"}],
            "performer": [{"reference": "Organization/1", "display": "Laboratory"}], "valueQuantity": {"value": 9.4, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"},
            "referenceRange": [{"high": {"value": 10.5, "unit": "mg/dL"}, "text": "usual"}], "specimen": {"display": "serum"}, "method": {"text": "method"},
        },
    }  # fmt: skip
    for key, resource in further.items():
        prefetch[key] = {
            "resourceType": "Bundle",
            "type": "searchset",
            "entry": [{"resource": resource}],
        }
    for key in ("medicationStatements", "medicationRequests", "inr"):
        for entry in prefetch[key]["entry"]:
            entry["resource"] |= {
                "note": note,
                "text": div,
                "reasonCode": [{"text": "reason"}],
                "informationSource": {"display": "daughter"},
            }
    return body


@pytest.mark.parametrize("codes", [False, True], ids=["texts", "texts-codes-and-units"])
def test_markup_in_every_text_of_a_record_stays_text_on_every_page(served, people, codes):
    name = f"evil-{codes}"
    body = {}

    def poison(text):
        body.update(poisoned(richer(text), codes=codes))
        return json.dumps(body)

    patient = served.call_hook(name.lower(), poison)
    assert json.dumps(body).count("onerror") > 40, "the poison is really in there"
    rows = served.alerts(patient=patient, view="everything")
    assert rows
    page = people()
    reached = 0
    for path in (
        "/work?view=open",
        "/work?view=open&by=patient",
        *(f"/a/{row.id}" for row in rows),
        f"/p/{patient}?window=all",
        f"/p/{patient}/sheet",
    ):
        page.goto(path)
        for details in page.locator("details").all():
            details.evaluate("one => { one.name = ''; one.open = true; }")
        assert page.locator("img[src=x], svg[onload]").count() == 0
        inline = page.evaluate(
            "[...document.scripts].filter(one => one.textContent.includes('alert(')).length"
        )
        assert inline == 0
        assert page.locator("text=49'").count() == 0
        reached += page.content().count("onerror=alert(1)&gt;")
    assert reached > 5, "what the record says was shown, as text"
