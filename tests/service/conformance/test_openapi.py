"""Whatever is sent after our own OpenAPI is answered after it, never with 5xx, and never with what must stay secret."""

import json
import logging
from datetime import UTC, datetime

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from schemathesis import checks

from service.app import create_app
from service.settings import Settings

HOST = "http://127.0.0.1:8080"
VIEW = "/cds-services/vitamin-dk-patient-view"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
APP = create_app(Settings(dev=True, engine="compiled"), clock=lambda: NOON)
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP, headers={"Host": "127.0.0.1:8080"}).include(
    path_regex="^/(cds-services|livez|readyz)"
)  # fmt: skip
CHECKED = [
    checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_schema_conformance, checks.response_headers_conformance,
]  # fmt: skip


@SCHEMA.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.requirement("C16")
def test_every_operation_keeps_to_our_openapi(case):
    case.call_and_validate(checks=CHECKED, headers={"Host": "127.0.0.1:8080"})


def test_the_document_names_every_operation_with_its_schema():
    document = APP.openapi()
    call = document["paths"]["/cds-services/{service_id}"]["post"]
    assert len(call["requestBody"]["content"]["application/json"]["schema"]["anyOf"]) == 5
    assert {"200", "400", "401", "403", "404", "412", "413", "415", "500", "503"} <= call[
        "responses"
    ].keys()
    # Every reference leads somewhere: a validator follows them all
    for name in ("request-order-sign", "response", "feedback", "discovery"):
        rooted = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        assert not Draft202012Validator(rooted).is_valid({})


CANARIES = ("canary-token", "Canaria", "canary-name")
SECRET = st.sampled_from(CANARIES)
VALUE = st.recursive(
    SECRET | st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "name", "reference", "text", "canary-name"]), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip
MEMBERS = st.sampled_from(
    ["hook", "hookInstance", "context", "prefetch", "fhirServer", "fhirAuthorization", "canary-name"]
)  # fmt: skip


@pytest.fixture(scope="module")
def client():
    with TestClient(APP, base_url=HOST, raise_server_exceptions=False) as running:
        yield running


@pytest.fixture(scope="module")
def body(root):
    return json.loads((root / "examples" / "01-warfarin-new-mk7-coded.json").read_text())


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(change=st.dictionaries(MEMBERS, VALUE, min_size=1, max_size=3), cut=st.integers(0, 40))
@pytest.mark.requirement("C35", "C73")
def test_no_refusal_and_no_log_repeats_what_was_sent(client, body, caplog, change, cut):
    sent = body | {
        "fhirServer": "https://ehr.example.org",
        "fhirAuthorization": {"access_token": CANARIES[0]},
    }
    sent |= change  # fmt: skip
    content = json.dumps(sent).encode("utf-8", "surrogatepass")
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        answer = client.post(
            VIEW,
            content=content[: len(content) - cut],
            headers={"authorization": f"Bearer {CANARIES[0]}", "content-type": "application/json"},
        )
    assert answer.status_code < 500
    told = [caplog.text, str(answer.url), str(answer.headers)]
    if answer.status_code != 200:
        told.append(answer.text)
    assert CANARIES[0] not in answer.text
    for canary in CANARIES:
        assert canary not in "".join(told)
