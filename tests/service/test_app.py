"""The web application around the reviews: discovery, refusals, headers, and answers without empty members."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.cds_hooks.discovery import SERVICES
from service.cds_hooks.published import schemas
from service.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BASE = "http://127.0.0.1:8080"
VIEW = "/cds-services/vitamin-dk-patient-view"
BROWSER = {"Origin": "http://localhost:3000"}


def example(name):
    return json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def client():
    with TestClient(create_app(Settings(dev=True), clock=lambda: NOON), base_url=BASE) as running:
        yield running


@pytest.fixture
def request_body():
    return example("01-warfarin-new-mk7-coded")


def assert_outcome(answer, status, code=None):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/fhir+json")
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome"
    assert body["issue"][0]["severity"] == "error"
    assert body["issue"][0]["details"]["text"]
    if code:
        assert body["issue"][0]["code"] == code
    return body


def empties(value, path=""):
    if value is None or value in ("", [], {}):
        yield path
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from empties(one, f"{path}.{name}")
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from empties(one, f"{path}[{place}]")


class TestDiscovery:
    @pytest.mark.requirement("C6")
    def test_lists_five_services_with_everything_required(self, client):
        services = client.get("/cds-services").json()["services"]
        assert {one["id"] for one in services} == set(SERVICES)
        assert {one["hook"] for one in services} == {
            "patient-view", "order-select", "order-sign", "encounter-discharge", "medication-refill"
        }  # fmt: skip
        for one in services:
            assert one["id"] == f"vitamin-dk-{one['hook']}"
            assert one["title"]
            assert one["description"]
            assert "412" in one["usageRequirements"]
            needed, _, optional = one["usageRequirements"].partition("Optional: ")
            for key in one["prefetch"]:
                assert key in (needed if key.startswith("medication") else optional)
        assert not list(empties(services))

    def test_templates_name_the_codes_of_the_packs_in_force(self, client):
        prefetch = client.get("/cds-services").json()["services"][0]["prefetch"]
        assert list(prefetch) == [
            "patient", "medicationStatements", "medicationRequests", "vitaminD", "inr", "minerals",
            "kidney", "conditions", "procedures", "goals", "serviceRequests", "nutrition",
        ]  # fmt: skip
        assert "http://loinc.org|6301-6" in prefetch["inr"]
        assert "http://loinc.org|62292-8" in prefetch["vitaminD"]
        for template in prefetch.values():
            # CDS Hooks 2.0 clients: root-level tokens only, no FHIRPath, each parameter once
            assert {part.split("}}")[0] for part in template.split("{{")[1:]} == {
                "context.patientId"
            }
            names = [
                part.partition("=")[0] for part in template.partition("?")[2].split("&") if part
            ]
            assert len(names) == len(set(names))

    @pytest.mark.parametrize("path", ["/cds-services", "/cds-services/"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_with_and_without_slash_and_for_head(self, client, path, method):
        answer = client.request(method, path, follow_redirects=False)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"


class TestRefusals:
    @pytest.mark.requirement("C12", "C13", "C16")
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"{", "structure"),
            (b'{"hook": "patient-view", "hook": "order-sign"}', "structure"),
            (b"[]", "structure"),
            (b"{}", "required"),
            (b'{"hook": "patient-view", "hookInstance": "x"}', "required"),
            (b'{"hook": "patient-view", "context": {"patientId": "p"}}', "required"),
            (b'{"hook": "patient-view", "hookInstance": "x", "context": {}}', "required"),
            (b'{"hook": "patient-view", "hookInstance": "x", "context": {"patientId": 5}}', "structure"),
            (b'{"hook": "patient-view", "hookInstance": "x", "context": {"patientId": "p"}, "prefetch": []}', "structure"),
            (b'{"hook": "order-sign", "hookInstance": "x", "context": {"patientId": "p"}}', "not-supported"),
            ((b'{"hook": "patient-view", "hookInstance": "x", "context": {"patientId": "p"}, '
             b'"fhirAuthorization": {"access_token": "secret"}}'), "required"),
        ],
    )  # fmt: skip
    def test_bad_requests_are_400(self, client, body, code):
        answer = client.post(
            VIEW, content=body, headers={"content-type": "application/json", **BROWSER}
        )
        assert_outcome(answer, 400, code)
        assert answer.headers["access-control-allow-origin"]
        assert "secret" not in answer.text

    @pytest.mark.requirement("C3")
    def test_a_null_is_a_member_that_is_not_there(self, client, request_body):
        usual = client.post(VIEW, json=request_body).json()
        nulls = dict.fromkeys(("fhirServer", "fhirAuthorization", "extension"))
        context = request_body["context"] | {"userId": None, "encounterId": None}
        answer = client.post(VIEW, json=request_body | nulls | {"context": context})
        assert answer.status_code == 200
        assert answer.json()["cards"] == usual["cards"] != []
        assert_outcome(client.post(VIEW, json=request_body | {"prefetch": None}), 412)
        for member in ("hook", "hookInstance", "context"):
            assert_outcome(client.post(VIEW, json=request_body | {member: None}), 400, "required")

    def test_order_hook_without_orders_is_400(self, client):
        body = {"hook": "order-select", "hookInstance": "x", "context": {"patientId": "p"}}
        assert_outcome(
            client.post("/cds-services/vitamin-dk-order-select", json=body), 400, "required"
        )

    @pytest.mark.parametrize("orders", ["x", 5, True])
    def test_orders_that_are_none_are_400_and_never_no_cards(self, client, orders):
        body = example("07-mechanical-valve-order-sign")
        body["context"]["draftOrders"] = orders
        answer = client.post("/cds-services/vitamin-dk-order-sign", json=body, headers=BROWSER)
        assert_outcome(answer, 400, "structure")

    def test_unknown_service_is_404(self, client, request_body):
        answer = client.post("/cds-services/nothing", json=request_body, headers=BROWSER)
        assert_outcome(answer, 404, "not-found")
        assert answer.headers["access-control-allow-origin"]

    def test_unknown_address_and_method(self, client):
        assert_outcome(client.get("/nothing", headers=BROWSER), 404)
        answer = client.get(VIEW, headers=BROWSER)
        assert_outcome(answer, 405)
        assert answer.headers["access-control-allow-origin"]

    def test_too_large_is_413(self, request_body):
        small = create_app(Settings(dev=True, max_body_bytes=2048), clock=lambda: NOON)
        with TestClient(small, base_url=BASE) as client:
            answer = client.post(VIEW, json=request_body, headers=BROWSER)
            assert_outcome(answer, 413, "too-long")
            assert answer.headers["access-control-allow-origin"]
            chunks = iter([json.dumps(request_body).encode()] * 3)
            answer = client.post(VIEW, content=chunks, headers={"content-type": "application/json"})
            assert_outcome(answer, 413, "too-long")

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/xml", "application/json; charset=utf-16"]
    )
    def test_other_content_types_are_415(self, client, kind):
        answer = client.post(VIEW, content=b"{}", headers={"content-type": kind, **BROWSER})
        assert_outcome(answer, 415)
        assert answer.headers["access-control-allow-origin"]

    @pytest.mark.parametrize(
        "kind", ["application/json", "application/json; charset=UTF-8", "application/fhir+json"]
    )
    def test_json_content_types_are_read(self, client, request_body, kind):
        answer = client.post(VIEW, content=json.dumps(request_body), headers={"content-type": kind})
        assert answer.status_code == 200

    @pytest.mark.parametrize(
        "name", ["userId", "patientId", "encounterId", "hookInstance", "fhirServer"]
    )
    def test_ids_longer_than_any_index_holds_are_400(self, client, request_body, name):
        owner = request_body["context"] if name.endswith("Id") else request_body
        owner[name] = "x" * 1_001
        assert_outcome(client.post(VIEW, json=request_body), 400, "too-long")

    def test_no_medication_source_at_all_is_412(self, client, request_body):
        del request_body["prefetch"]
        assert_outcome(client.post(VIEW, json=request_body, headers=BROWSER), 412, "processing")

    def test_one_medication_source_is_enough(self, client, request_body):
        del request_body["prefetch"]["medicationRequests"]
        assert client.post(VIEW, json=request_body).status_code == 200

    def test_drafts_count_as_a_medication_source(self, client):
        body = example("07-mechanical-valve-order-sign")
        body["prefetch"] = {}
        assert client.post("/cds-services/vitamin-dk-order-sign", json=body).status_code == 200

    def test_engine_fault_is_503_and_never_an_empty_list(self, request_body, monkeypatch):
        from rules.errors import EngineError

        application = create_app(Settings(dev=True), clock=lambda: NOON)
        with TestClient(application, base_url=BASE) as client:

            def broken(*_, **__):
                raise EngineError("the sentinel did not fire")

            monkeypatch.setattr(application.state.parts.engine, "assess", broken)
            answer = client.post(VIEW, json=request_body, headers=BROWSER)
        assert_outcome(answer, 503)
        assert answer.headers["access-control-allow-origin"]
        assert "retry-after" in answer.headers

    def test_unexpected_fault_is_500_without_the_patient(self, request_body, monkeypatch, caplog):
        application = create_app(Settings(dev=True), clock=lambda: NOON)
        with TestClient(application, base_url=BASE, raise_server_exceptions=False) as client:

            def broken(*_, **__):
                raise ValueError("Ada Example, born 1956")

            monkeypatch.setattr(application.state.parts.engine, "assess", broken)
            answer = client.post(VIEW, json=request_body, headers=BROWSER)
        assert_outcome(answer, 500, "exception")
        assert answer.headers["access-control-allow-origin"]
        assert "Ada" not in answer.text
        assert "Ada" not in caplog.text
        assert "ValueError" in caplog.text


class TestDevelopmentMode:
    @pytest.mark.parametrize(
        "host", ["dekacard.example.org", "10.0.0.5:8080", "127.0.0.1.evil.example"]
    )
    def test_refuses_another_host(self, client, request_body, host):
        answer = client.post(VIEW, json=request_body, headers={"host": host})
        assert_outcome(answer, 403)

    @pytest.mark.parametrize("name", ["forwarded", "x-forwarded-for", "X-Forwarded-Proto"])
    def test_refuses_what_a_proxy_passed_on(self, client, name):
        assert_outcome(client.get("/cds-services", headers={name: "x"}), 403)

    @pytest.mark.parametrize("host", ["localhost", "localhost:8080", "[::1]:8080", "127.0.0.9"])
    def test_answers_on_loopback(self, client, host):
        assert client.get("/cds-services", headers={"host": host}).status_code == 200


class TestCors:
    @pytest.mark.parametrize("path", ["/cds-services", VIEW, f"{VIEW}/feedback"])
    def test_preflight(self, client, path):
        answer = client.options(
            path,
            headers={
                **BROWSER,
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization,content-type",
            },
        )
        assert answer.status_code == 200
        assert "authorization" in answer.headers["access-control-allow-headers"].lower()
        assert "access-control-allow-credentials" not in answer.headers


class TestFeedback:
    def test_is_taken(self, client):
        body = {
            "feedback": [
                {"card": "x", "outcome": "accepted", "outcomeTimestamp": "2026-11-22T12:00:00Z"}
            ]
        }
        assert client.post(f"{VIEW}/feedback", json=body).status_code == 200

    def test_without_entries_is_400(self, client):
        assert_outcome(client.post(f"{VIEW}/feedback", json={"feedback": {}}), 400)

    def test_feedback_without_end_is_refused_since_it_is_kept_in_one_piece(self, client):
        """A body of the allowed size holds 200,000 of these, and would keep the record busy for minutes."""
        most = schemas()["feedback"]["properties"]["feedback"]["maxItems"]
        answer = client.post(f"{VIEW}/feedback", json={"feedback": [{}] * most})
        assert answer.status_code == 200
        answer = client.post(f"{VIEW}/feedback", json={"feedback": [{}] * (most + 1)})
        assert_outcome(answer, 413, "too-long")


class TestOperations:
    def test_live_and_ready(self, client):
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 200

    def test_openapi_names_the_hooks(self, client):
        paths = client.get("/openapi.json").json()["paths"]
        assert {
            "/cds-services",
            "/cds-services/{service_id}",
            "/cds-services/{service_id}/feedback",
        } <= set(paths)
