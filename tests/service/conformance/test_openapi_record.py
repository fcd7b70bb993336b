"""The interface of the record keeps to its OpenAPI too, whatever an account that may do everything there sends."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, settings
from schemathesis import checks

from service.alerts import access
from service.alerts.record import open_record
from service.app import create_app
from service.bootstrap import record_options
from service.settings import Settings

HOST = "127.0.0.1:8080"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
# Made while tests are collected: the operations to try are read from the document of the application
FOLDER = tempfile.TemporaryDirectory(prefix="dekacard-openapi-")
SETTINGS = Settings(
    dev=True, engine="compiled", store_url=f"sqlite:///{FOLDER.name}/record.sqlite",
    spool_dir=Path(FOLDER.name) / "spool", keyring=Path(FOLDER.name) / "keys",
)  # fmt: skip
open_record(record_options(SETTINGS), create_keys=True, upgrade=True).close()
APP = create_app(SETTINGS, clock=lambda: NOON)
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP, headers={"Host": HOST}).include(
    path_regex="^/api/v1/"
)
CHECKED = [
    checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_schema_conformance, checks.response_headers_conformance, checks.use_after_free,
]  # fmt: skip
# The role that may do most; the exchange of packs, which only operators ask for, has a test of its own
ROLES = ("lead", "admin")


@pytest.fixture(scope="module")
def tokens():
    record, made = APP.state.recorder, {}
    for role in ROLES:
        given = {"tenant": "developer", "actor": "operator", "now": APP.state.clock()}
        access.new_account(record.database, record.keyring, name=role, role=role, **given)
        made[role] = access.mint_token(record.database, record.keyring, account=role, **given)
    yield made
    record.close()
    FOLDER.cleanup()


@SCHEMA.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_operation_of_the_record_keeps_to_our_openapi(case, tokens):
    for role in ROLES:
        headers = {"Host": HOST, "Authorization": f"Bearer {tokens[role]}"}
        case.call_and_validate(checks=CHECKED, headers=headers)


def test_no_operation_promises_the_frameworks_own_errors():
    document = APP.openapi()
    operations = [
        one for path, item in document["paths"].items() if path.startswith("/api/v1/") for one in item.values()
    ]  # fmt: skip
    assert len(operations) == 10
    for one in operations:
        for status in ("400", "401", "403", "404", "422", "500", "503"):
            (kind,) = one["responses"][status]["content"]
            assert kind == "application/fhir+json"
    assert "HTTPValidationError" not in str(document)


def test_what_no_database_could_keep_is_refused_by_its_form(tokens):
    """PostgreSQL refuses NUL, SQLite whole numbers beyond 64 bits; neither may end as a fault of ours."""
    head = {"Host": HOST, "Authorization": f"Bearer {tokens['lead']}"}
    client = TestClient(APP, raise_server_exceptions=False)
    asked = [
        client.get("/api/v1/alerts", params={"rule": "a\0b"}, headers=head),
        client.get(f"/api/v1/alerts/{2**63}", headers=head),
        client.get("/api/v1/alerts/0", headers=head),
    ]
    changes = ({"version": 2**63}, {"note": "\0"}, {"reason": "\0"}, {"to": "\0"})
    for change in changes:
        wanted = {"action": "comment", "version": 1} | change
        asked.append(client.post("/api/v1/alerts/1/actions", json=wanted, headers=head))
    # as at the hooks, a body with NUL is none that is read
    assert [one.status_code for one in asked] == [422] * 4 + [400] * 3
    assert client.get(f"/api/v1/alerts/{2**63 - 1}", headers=head).status_code == 404
