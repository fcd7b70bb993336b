"""The example profiles, each called with requests shaped like those of its client."""

import copy
import json
from datetime import UTC, datetime

import pytest
import yaml
from fastapi.testclient import TestClient

from service.alerts.record import open_record
from service.alerts.values import RecordOptions
from service.app import create_app
from service.cds_hooks.minting import make_key, mint_token
from service.conformance.bodies import Samples
from service.conformance.responses import check_response
from service.settings import Settings

BASE = "https://cds.hospital.example"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
VIEW, SELECT, SIGN = (
    f"/cds-services/vitamin-dk-{h}" for h in ("patient-view", "order-select", "order-sign")
)
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"


@pytest.fixture(scope="module")
def keys():
    return {"RS384": make_key("RS384", "rs"), "ES384": make_key("ES384", "es")}


@pytest.fixture
def open_door(root, tmp_path, keys, monkeypatch):
    """Serve one example profile, live and with keys of our own; gives a function that posts as that client."""
    running = []

    def serve(name):
        profile = yaml.safe_load((root / "examples" / "clients" / f"{name}.yaml").read_text())
        profile["rules"] = {"mode": "live", "accept_draft": True}
        trust = profile["trust"] | {"audience_base": BASE}
        del trust["jku"]
        algorithm = trust.get("algorithms", ["ES384"])[0]
        trust["jwks"] = keys[algorithm].public_set()
        profile["trust"] = trust
        folder = tmp_path / "clients"
        folder.mkdir()
        (folder / "one.yaml").write_text(yaml.safe_dump(profile))
        store = f"sqlite:///{tmp_path}/record.sqlite"
        options = RecordOptions(
            database_url=store, spool=str(tmp_path / "spool"), keyring=str(tmp_path / "keys.json")
        )
        open_record(options, create_keys=True, upgrade=True, clock=None).close()
        app = create_app(
            Settings(
                clients=folder,
                jti_store=f"sqlite:///{tmp_path}/used.sqlite",
                store_url=store,
                spool_dir=tmp_path / "spool",
                keyring=tmp_path / "keys.json",
            ),
            clock=lambda: NOON,
        )
        client = TestClient(app, base_url=BASE)
        client.__enter__()
        running.append(client)

        def post(path, body, *, audience=None, life=300, tenant=None, **claims):
            token = mint_token(
                keys[algorithm], issuer=trust["issuers"][0], audience=audience or BASE + path,
                now=NOON.timestamp(), life=life, tenant=tenant, claims=claims,
            )  # fmt: skip
            return client.post(path, json=body, headers={"authorization": f"Bearer {token}"})

        return post

    yield serve
    for client in running:
        client.__exit__(None, None, None)


def sample(path, prefetch=None) -> dict:
    """A proper body for a service, with the prefetch of the example patient."""
    templates = {
        "patient": "Patient/x",
        "medicationRequests": "MedicationRequest?patient=x",
        "medicationStatements": "MedicationStatement?patient=x",
        "inr": "Observation?patient=x",
    }
    hook = path.rpartition("vitamin-dk-")[2]
    return Samples(today=NOON.date()).call(
        {"hook": hook, "id": hook, "prefetch": prefetch or templates}
    )


def rules(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    assert [one for one in check_response(answer.json()) if one.weight == "error"] == []
    report = answer.json()["extension"]["org.dekacard.review"]
    return [one["rule"] for one in report.get("rules", [])]


def epic(path) -> dict:
    """As documented by Epic: own prefetch names, an outcome for an empty search, extensions, PractitionerRole."""
    body = sample(path)
    sent = body["prefetch"]
    nothing = {
        "resourceType": "Bundle", "type": "searchset", "total": 0,
        "entry": [{"search": {"mode": "outcome"}, "resource": {"resourceType": "OperationOutcome", "issue": [
            {"severity": "warning", "code": "processing", "details": {"coding": [{"code": "4101"}]}}]}}],
    }  # fmt: skip
    body["prefetch"] = {
        "patient": sent["patient"], "meds": sent["medicationRequests"], "inr": sent["inr"],
        "vitd": nothing, "problems": nothing, "-user": {"resourceType": "PractitionerRole", "id": "e1"},
    }  # fmt: skip
    body["hookInstance"] = "8cf92a40-ca60-11f0-8de9-0242ac120002"
    body["context"]["userId"] = "PractitionerRole/ePra.role-1"
    body["extension"] = {
        "com.epic.cdshooks.request.bpa-trigger-action": "60",
        "com.epic.cdshooks.request.fhir-version": "R4",
    }
    return body


def epic_draft(number) -> dict:
    """An unsigned order with a Medication beside it, several codes, an id of 200 characters."""
    identity = "e" + "x" * 198 + str(number)
    order = {
        "resourceType": "MedicationRequest", "id": identity, "status": "draft", "intent": "order",
        "subject": {"reference": "Patient/conformance-1"}, "medicationReference": {"reference": "Medication/em1"},
        "requester": {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]},
        "dosageInstruction": [{"timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}, "doseAndRate": [
            {"type": {"text": "calculated"}, "doseQuantity": {"value": 100, "unit": "mcg"}},
            {"type": {"text": "admin-amount"}, "doseQuantity": {"value": 1, "unit": "{tbl}"}},
            {"type": {"text": "ordered"}, "doseQuantity": {"value": 100, "unit": "mcg"}}]}],
    }  # fmt: skip
    medication = {
        "resourceType": "Medication", "id": "em1",
        "code": {"coding": [{"system": "urn:oid:1.2.3", "code": "x"}], "text": "menaquinone-7 (vitamin K2) 100 mcg capsule"},
    }  # fmt: skip
    return {"resourceType": "Bundle", "entry": [{"resource": order}, {"resource": medication}]}


@pytest.mark.requirement("C14", "C17", "C28")
def test_epics_requests_are_understood(open_door):
    post = open_door("epic")
    options = {
        "audience": "https://cds.hospital.example/epic",
        "life": 900,
        "nbf": int(NOON.timestamp()) - 300,
        "sub": "app",
    }
    view = post(VIEW, epic(VIEW), **options)
    assert rules(view) == []
    unread = {one["source"] for one in view.json()["extension"]["org.dekacard.review"]["gaps"]}
    assert {"medication-statements", "procedures"} <= unread
    # A search without a result is a warning in Epic's words, and no failure
    assert not unread & {"labs-25ohd", "conditions", "labs-inr", "medication-requests"}
    body = epic(SIGN)
    body["context"]["draftOrders"] = epic_draft(1)
    signed = post(SIGN, body, **options)
    assert "vka-mk7-new" in rules(signed)
    # Beside a card about vitamin K and warfarin none may say that the two were not checked
    told = signed.json()["cards"][-1]
    assert told["source"]["topic"]["code"] == "DKNOTREAD"
    assert "vitamin K among them" in told["summary"]
    for card in signed.json()["cards"]:
        assert card["source"]["topic"]["code"].isalnum()
        assert card.get("selectionBehavior", "any") == "any"
        for suggestion in card.get("suggestions", []):
            assert len(suggestion["actions"]) == 1
            assert suggestion["actions"][0]["type"] != "update"


@pytest.mark.requirement("C62", "C63")
def test_epics_feedback_is_taken(open_door):
    post = open_door("epic")
    entry = {
        "card": "6d1c1a4e-0000-4000-8000-000000000001", "outcome": "overridden", "outcomeTimestamp": "2026-11-22T10:00:00Z",
        "overrideReasons": [{"reason": {"code": "1"}, "userComment": "seen"}],
        "extension": {"com.epic.cdshooks.feedback.overrideReason.acknowledgement": "2"},
    }  # fmt: skip
    answer = post(f"{VIEW}/feedback", {"feedback": [entry, entry]}, audience=BASE + VIEW)
    assert answer.status_code == 200


def test_oracle_healths_requests_are_understood_and_its_tenant_is_needed(open_door):
    post = open_door("oracle-health")
    body = sample(VIEW)
    body["prefetch"] |= {"vitaminD": None, "conditions": None}
    assert "vka-mk7-new" in rules(post(VIEW, body, tenant="example-tenant"))
    assert post(VIEW, body).status_code == 401
    assert post(VIEW, body, tenant="other").status_code == 401


def sandbox_order() -> dict:
    """The order of the sandbox: category as an object, a dose in {pill}, one RxNorm coding."""
    order = {
        "resourceType": "MedicationRequest", "id": "request-123", "status": "draft", "intent": "order",
        "category": {"coding": [{"code": "outpatient"}]}, "subject": {"reference": "Patient/conformance-1"},
        "medicationCodeableConcept": {"text": "Warfarin Sodium 5 MG Oral Tablet", "coding": [
            {"code": "855332", "system": RXNORM, "display": "Warfarin Sodium 5 MG Oral Tablet"}]},
        "dosageInstruction": [{"doseAndRate": [{"doseQuantity": {"value": 1, "system": "http://unitsofmeasure.org", "code": "{pill}"}}],
                               "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}}],
    }  # fmt: skip
    return {"resourceType": "Bundle", "entry": [{"resource": order}]}


def test_the_sandboxs_requests_are_understood(open_door):
    post = open_door("sandbox")
    assert "vka-mk7-new" in rules(post(VIEW, sample(VIEW)))
    body = sample(SELECT)
    body["prefetch"]["medicationRequests"] = {"resourceType": "Bundle"}
    body["context"] |= {
        "draftOrders": sandbox_order(),
        "selections": ["MedicationRequest/request-123"],
    }
    assert "vka-mk7-new" in rules(post(SELECT, body))
    bare = copy.deepcopy(body)
    del bare["context"]["draftOrders"], bare["context"]["selections"]
    assert post(SELECT, bare).status_code == 400
    empty = json.loads(json.dumps(body))
    del empty["context"]["draftOrders"]["entry"][0]["resource"]["medicationCodeableConcept"]
    assert post(SELECT, empty).status_code == 200


def test_a_conforming_clients_requests_are_understood(open_door):
    post = open_door("generic")
    assert "vka-mk7-new" in rules(post(VIEW, sample(VIEW)))
    answer = post(SIGN, sample(SIGN))
    assert "vka-mk7-new" in rules(answer)
    for card in answer.json()["cards"]:
        assert card.get("selectionBehavior", "at-most-one") == "at-most-one"
