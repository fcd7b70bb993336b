"""Situations in which other decision-support services were seen to stay silent, to crash or to answer wrongly.

Each test is one such situation, put to this service through its real door.
"""

import copy
import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BASE = "http://127.0.0.1:8080"
VIEW = "/cds-services/vitamin-dk-patient-view"


def example(name):
    return json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def client():
    with TestClient(create_app(Settings(dev=True), clock=lambda: NOON), base_url=BASE) as running:
        yield running


@pytest.fixture
def body():
    return example("01-warfarin-new-mk7-coded")


def report(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["extension"]["org.dekacard.review"]


def fired(answer):
    return {one["rule"]: one["indicator"] for one in report(answer).get("rules", [])}


def vitamin_d(value, unit):
    return {
        "resourceType": "Observation", "id": "vd", "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "68438-1" if unit == "nmol/L" else "62292-8"}]},
        "subject": {"reference": "Patient/ex-01"}, "effectiveDateTime": "2026-11-15T08:00:00Z",
        "valueQuantity": {"value": value, "unit": unit},
    }  # fmt: skip


def with_result(body, value, unit):
    changed = copy.deepcopy(body)
    changed["prefetch"]["vitaminD"] = {
        "resourceType": "Bundle", "type": "searchset", "total": 1, "entry": [{"resource": vitamin_d(value, unit)}]
    }  # fmt: skip
    return changed


class TestUnits:
    @pytest.mark.parametrize("unit", ["ng/mL", "ng/ml", "NG/ML", "ug/L", "mcg/L", "µg/L", "μg/L"])
    def test_fourteen_of_any_mass_unit_is_low(self, client, body, unit):
        answer = client.post(VIEW, json=with_result(body, 14, unit))
        assert "vitd-insufficiency-consider" in fired(answer)

    def test_35_nmol_is_judged_by_its_own_family(self, client, body):
        low = fired(client.post(VIEW, json=with_result(body, 35, "nmol/L")))
        assert "vitd-insufficiency-consider" in low
        sufficient = fired(client.post(VIEW, json=with_result(body, 35, "ng/mL")))
        assert "vitd-insufficiency-consider" not in sufficient

    @pytest.mark.parametrize("unit", ["furlong", ""])
    def test_an_unknown_unit_is_said_and_never_silent(self, client, body, unit):
        answer = client.post(VIEW, json=with_result(body, 14, unit))
        assert not {"vitd-insufficiency-consider", "vitd-deficiency-treat"} & set(fired(answer))
        told = json.dumps(answer.json())
        assert "Observation/vd" in told

    @pytest.mark.parametrize(
        "unit", ["[iU]", "[IU]", "IU", "international units", "UNT", "UI", "IE"]
    )
    def test_5000_units_a_day_are_above_4000(self, client, body, unit):
        body["prefetch"]["medicationStatements"]["entry"].append(
            {"resource": {
                "resourceType": "MedicationStatement", "id": "d3", "status": "active",
                "medicationCodeableConcept": {"text": "Vitamin D3"}, "subject": {"reference": "Patient/ex-01"},
                "effectivePeriod": {"start": "2026-01-01"},
                "dosage": [{"timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
                            "doseAndRate": [{"doseQuantity": {"value": 5000, "unit": unit}}]}],
            }}
        )  # fmt: skip
        assert fired(client.post(VIEW, json=body)).get("vitd-ul-exceeded") == "info"


class TestWarfarin:
    @pytest.mark.parametrize("kind", ["MedicationStatement", "MedicationRequest"])
    @pytest.mark.parametrize(
        "drug",
        [
            {
                "coding": [
                    {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "11289"}
                ]
            },
            {
                "coding": [
                    {"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "855332"}
                ]
            },
            {"coding": [{"system": "http://www.whocc.no/atc", "code": "B01AA03"}]},
            {"text": "Warfarin 5 mg tablets"},
            {"text": "COUMADIN"},
        ],
    )
    def test_is_found_in_either_list_by_code_or_words(self, client, body, kind, drug):
        record = {
            "resourceType": kind, "id": "w", "status": "active", "medicationCodeableConcept": drug,
            "subject": {"reference": "Patient/ex-01"},
        }  # fmt: skip
        if kind == "MedicationRequest":
            record |= {"intent": "order", "authoredOn": "2024-01-01"}
            body["prefetch"]["medicationRequests"]["entry"] = [{"resource": record}]
        else:
            record["effectivePeriod"] = {"start": "2024-01-01"}
            del body["prefetch"]["medicationRequests"]["entry"]
            body["prefetch"]["medicationStatements"]["entry"].append({"resource": record})
        assert fired(client.post(VIEW, json=body)).get("vka-mk7-new") == "warning"


class TestMissingData:
    def test_request_without_prefetch_is_412(self, client, body):
        del body["prefetch"]
        assert client.post(VIEW, json=body).status_code == 412

    def test_one_missing_list_is_said_where_it_could_matter(self, client, body):
        del body["prefetch"]["medicationStatements"]
        answer = client.post(VIEW, json=body)
        assert fired(answer) == {} or "vka-mk7-new" not in fired(answer)
        assert "medication-statements" in {gap["source"] for gap in report(answer)["gaps"]}
        assert [
            card
            for card in answer.json()["cards"]
            if card["source"]["topic"]["code"] == "DKNOTREAD"
        ]

    def test_operation_outcome_as_value_is_no_empty_list(self, client, body):
        body["prefetch"]["inr"] = {
            "resourceType": "OperationOutcome",
            "issue": [{"severity": "error", "code": "exception"}],
        }
        answer = client.post(VIEW, json=body)
        assert "labs-inr" in {gap["source"] for gap in report(answer)["gaps"]}

    def test_failed_prefetch_never_yields_advice_from_absence(self, client):
        request = example("04-warfarin-stable-k")
        request["prefetch"]["medicationStatements"] = {
            "resourceType": "OperationOutcome",
            "issue": [{"severity": "fatal", "code": "timeout"}],
        }
        request["prefetch"]["vitaminD"] = {
            "resourceType": "Bundle", "type": "searchset", "entry": [{"resource": vitamin_d(50, "nmol/L")}]
        }  # fmt: skip
        assert "vitd-empiric-supplement" not in fired(client.post(VIEW, json=request))

    def test_null_and_empty_bundle_mean_nothing_there(self, client, body):
        body["prefetch"]["inr"] = None
        body["prefetch"]["vitaminD"] = {"resourceType": "Bundle", "type": "searchset", "total": 0}
        sources = {gap["source"] for gap in report(client.post(VIEW, json=body)).get("gaps", [])}
        assert not {"labs-inr", "labs-25ohd"} & sources

    def test_first_page_only_is_incomplete(self, client, body):
        body["prefetch"]["inr"]["link"] = [
            {"relation": "next", "url": "https://ehr.example.org/fhir?page=2"}
        ]
        gaps = report(client.post(VIEW, json=body))["gaps"]
        assert "labs-inr" in {gap["source"] for gap in gaps}

    def test_outcome_entries_without_error_mean_nothing_there(self, client, body):
        body["prefetch"]["inr"] = {
            "resourceType": "Bundle", "type": "searchset", "total": 0,
            "entry": [{"search": {"mode": "outcome"}, "resource": {
                "resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "not-found"}]}}],
        }  # fmt: skip
        sources = {gap["source"] for gap in report(client.post(VIEW, json=body)).get("gaps", [])}
        assert "labs-inr" not in sources


class TestFaults:
    def test_large_body_is_read(self, client, body):
        entry = body["prefetch"]["inr"]["entry"][0]
        body["prefetch"]["inr"]["entry"] += [
            {"resource": {**entry["resource"], "id": f"inr-{n}"}} for n in range(2000)
        ]
        text = json.dumps(body)
        assert len(text) > 1_000_000
        assert (
            client.post(
                VIEW, content=text, headers={"content-type": "application/json"}
            ).status_code
            == 200
        )

    def test_a_broken_rule_is_said_and_the_others_still_speak(self, body, monkeypatch):
        import dataclasses

        application = create_app(Settings(dev=True), clock=lambda: NOON)
        rules = application.state.parts.engine.rulebook.rules

        def broken(_):
            raise RuntimeError("Ada Example")

        with TestClient(application, base_url=BASE) as client:
            monkeypatch.setitem(
                rules, "vka-mk7-new", dataclasses.replace(rules["vka-mk7-new"], conclude=broken)
            )
            changed = with_result(body, 14, "ng/mL")
            answer = client.post(VIEW, json=changed)
        assert report(answer)["failures"] == ["vka-mk7-new"]
        assert "vitd-insufficiency-consider" in fired(answer)
        assert [
            card
            for card in answer.json()["cards"]
            if card["source"]["topic"]["code"] == "DKINCOMPLETE"
        ]
        assert "Ada" not in answer.text

    def test_another_hook_is_400_and_not_an_empty_list(self, client, body):
        body["hook"] = "order-sign"
        assert client.post(VIEW, json=body).status_code == 400

    def test_each_service_answers_its_own_hook(self, client):
        order = example("07-mechanical-valve-order-sign")
        answer = client.post("/cds-services/vitamin-dk-order-sign", json=order)
        assert fired(answer).get("vka-mk7-new") == "critical"

    def test_feedback_is_answered(self, client):
        entry = {"card": "4e0a9a1a-1b0d-4a79-bd3c-5d2f0a2f0001", "outcome": "overridden",
                 "overrideReasons": [{"reason": {"code": "will-monitor"}}],
                 "outcomeTimestamp": "2026-11-22T12:00:00Z"}  # fmt: skip
        assert client.post(f"{VIEW}/feedback", json={"feedback": [entry, entry]}).status_code == 200

    def test_the_same_call_a_thousand_times_gives_the_same_bytes(self, client, body):
        text = json.dumps(body)
        headers = {"content-type": "application/json"}
        answers = {client.post(VIEW, content=text, headers=headers).content for _ in range(1000)}
        assert len(answers) == 1

    def test_four_threads_get_the_same_answer(self, client, body):
        found = []

        def call():
            found.extend(
                tuple(sorted(fired(client.post(VIEW, json=body)).items())) for _ in range(50)
            )

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 200
        assert len(set(found)) == 1
        assert ("vka-mk7-new", "warning") in found[0]
