"""Each fault that a discovery document or a response can have is found, by our checks and by our schemas."""

import pytest

from service.conformance.responses import check_response
from service.conformance.services import check_discovery, check_template
from tests.service.conformance.specimens import DISCOVERY, DRAFTS, RESPONSE, changed

CARD = ("cards", 0)
SUGGESTION = (*CARD, "suggestions", 0)
ACTION = (*SUGGESTION, "actions", 0)
DELETE = (*CARD, "suggestions", 1, "actions", 0)
SERVICE = ("services", 0)
LINK = (*CARD, "links", 0)


def drop(*path):
    return {"path": path, "drop": True}


def put(*path, to):
    return {"path": path, "to": to}


FAULTS_OF_RESPONSE = [
    ("cards-array", drop("cards")),
    ("cards-array", put("cards", to={})),
    ("card-object", put(*CARD, to="card")),
    ("no-empties", put(*CARD, "detail", to=None)),
    ("no-empties", put(*CARD, "links", to=[])),
    ("no-empties", put(*CARD, "extension", to={})),
    ("no-empties", put("systemActions", to=[])),
    ("no-empties", put(*ACTION, "resource", "note", to=[])),
    ("card-summary", drop(*CARD, "summary")),
    ("card-summary", put(*CARD, "summary", to="  ")),
    ("card-summary", put(*CARD, "summary", to=5)),
    ("card-summary-length", put(*CARD, "summary", to="x" * 140)),
    ("card-summary-length", put(*CARD, "summary", to="\U0001f48a" * 70)),
    ("card-summary-line", put(*CARD, "summary", to="a\nb")),
    ("card-indicator", drop(*CARD, "indicator")),
    ("card-indicator", put(*CARD, "indicator", to="hard-stop")),
    ("card-source", drop(*CARD, "source")),
    ("card-source", put(*CARD, "source", to="us")),
    ("card-source", drop(*CARD, "source", "label")),
    ("card-source-address", put(*CARD, "source", "url", to="/about")),
    ("card-source-address", put(*CARD, "source", "icon", to="icon.png")),
    ("card-topic-absent", drop(*CARD, "source", "topic")),
    ("card-topic", put(*CARD, "source", "topic", to="GOOD01")),
    ("card-topic", drop(*CARD, "source", "topic", "system")),
    ("card-topic-style", put(*CARD, "source", "topic", "code", to="good-01")),
    ("card-uuid-absent", drop(*CARD, "uuid")),
    ("card-uuid", put(*CARD, "uuid", to="card-1")),
    ("card-uuid-twice", put("cards", 1, "uuid", to=RESPONSE["cards"][0]["uuid"].upper())),
    ("card-detail", put(*CARD, "detail", to=["x"])),
    ("card-detail-html", put(*CARD, "detail", to="see <img src=x onerror=y>")),
    ("card-order", put("cards", 1, "indicator", to="critical")),
    ("card-type", put(*CARD, "suggestions", to={"label": "x"})),
    ("card-type", put(*SUGGESTION, "isRecommended", to="true")),
    ("selection-behavior", drop(*CARD, "selectionBehavior")),
    ("selection-behavior", put(*CARD, "selectionBehavior", to="all")),
    ("selection-behavior-alone", drop(*CARD, "suggestions")),
    ("recommended-once", put(*CARD, "suggestions", 1, "isRecommended", to=True)),
    ("suggestion-label", drop(*SUGGESTION, "label")),
    ("suggestion-uuid-absent", drop(*SUGGESTION, "uuid")),
    ("suggestion-actions", put(*SUGGESTION, "actions", to=[])),
    ("suggestion-actions", put(*SUGGESTION, "actions", to="x")),
    ("action-type", put(*ACTION, "type", to="replace")),
    ("action-description", drop(*ACTION, "description")),
    ("action-resource", drop(*ACTION, "resource")),
    ("action-resource", put(*ACTION, "resource", to={"status": "draft"})),
    ("action-delete", drop(*DELETE, "resourceId")),
    ("action-delete", put(*DELETE, "resourceId", to="draft-1")),
    ("action-delete", put(*DELETE, "resource", to={"resourceType": "MedicationRequest"})),
    ("action-target", put(*DELETE, "resourceId", to="MedicationRequest/other")),
    ("action-target", put(*ACTION, "type", to="update")),
    ("action-delete-alone", drop(*CARD, "suggestions", 1, "actions", 1)),
    ("action-behavior", put(*SUGGESTION, "actionSelectionBehavior", to="some")),
    ("action-behavior-used", put(*SUGGESTION, "actionSelectionBehavior", to="all")),
    ("override-reasons", put(*CARD, "overrideReasons", to="x")),
    ("override-reasons", drop(*CARD, "overrideReasons", 0, "display")),
    ("link-shape", drop(*LINK, "label")),
    ("link-shape", put(*LINK, "type", to="relative")),
    ("link-shape", put(*LINK, "url", to="javascript:alert(1)")),
    ("link-shape", put(*LINK, "url", to="https://")),
    ("link-context", put(*LINK, "appContext", to="x")),
    ("link-mixed", put(*CARD, "links", to=[
        {"label": "a", "url": "https://a.example", "type": "absolute"},
        {"label": "b", "url": "https://b.example/launch", "type": "smart", "appContext": "x"},
    ])),
    ("system-actions", put("systemActions", to={})),
    ("extension-object", put("extension", to=["x"])),
    ("extension-object", put(*CARD, "extension", to="x")),
    ("extension-name", put("extension", to={"review": 1})),
]  # fmt: skip

FAULTS_OF_DISCOVERY = [
    ("discovery-services", drop("services")),
    ("discovery-services", put("services", to={})),
    ("discovery-services", put(*SERVICE, to="x")),
    ("service-hook", drop(*SERVICE, "hook")),
    ("service-id", drop(*SERVICE, "id")),
    ("service-id", put(*SERVICE, "id", to="a b")),
    ("service-description", put(*SERVICE, "description", to=7)),
    ("service-title", drop(*SERVICE, "title")),
    ("service-usage", put(*SERVICE, "usageRequirements", to={"a": 1})),
    ("extension-object", put(*SERVICE, "extension", to=["x"])),
    ("no-empties", put(*SERVICE, "prefetch", to={})),
    ("no-empties", put(*SERVICE, "title", to=None)),
    ("prefetch-shape", put(*SERVICE, "prefetch", to=["x"])),
    ("prefetch-shape", put(*SERVICE, "prefetch", "patient", to={"a": 1})),
    ("prefetch-key", put(*SERVICE, "prefetch", "a b", to="Patient/{{context.patientId}}")),
    ("prefetch-query", put(*SERVICE, "prefetch", "x", to="https://ehr.example/Patient/1")),
    ("prefetch-token", put(*SERVICE, "prefetch", "x", to="Patient/{{context.patient.id}}")),
    (
        "prefetch-token-3",
        put(*SERVICE, "prefetch", "x", to="Observation?date=ge{{today() - 5 days}}"),
    ),
    (
        "prefetch-subset",
        put(*SERVICE, "prefetch", "x", to="Observation?patient=1&_include=Observation:subject"),
    ),
    ("prefetch-sort", put(*SERVICE, "prefetch", "x", to="Observation?patient=1&sort:desc=date")),
    (
        "prefetch-repeat",
        put(*SERVICE, "prefetch", "x", to="Observation?date=ge2026-01-01&date=le2026-02-01"),
    ),
]


def broken(document, fault) -> dict:
    return changed(document, *fault["path"], to=fault.get("to"), drop=fault.get("drop", False))


def checks(findings) -> set[str]:
    return {one.check for one in findings}


def test_nothing_is_found_where_nothing_is_wrong():
    assert check_response(RESPONSE, draft_orders=DRAFTS) == ()
    assert check_response({"cards": []}) == ()
    assert check_discovery(DISCOVERY) == ()
    assert check_discovery({"services": []}) == ()


@pytest.mark.parametrize(("check", "fault"), FAULTS_OF_RESPONSE)
def test_a_fault_of_a_response_is_found(check, fault):
    assert check in checks(check_response(broken(RESPONSE, fault), draft_orders=DRAFTS))


@pytest.mark.parametrize(("check", "fault"), FAULTS_OF_DISCOVERY)
def test_a_fault_of_discovery_is_found(check, fault):
    assert check in checks(check_discovery(broken(DISCOVERY, fault)))


def test_a_response_that_is_no_object_is_found():
    for body in (None, [], "cards", 7):
        assert checks(check_response(body)) == {"response-json"}


def test_system_actions_are_checked_like_actions():
    found = check_response(
        {"cards": [], "systemActions": [{"type": "create", "resource": {"resourceType": "Task"}}]}
    )
    assert checks(found) == {"action-description"}


@pytest.mark.parametrize(
    "template",
    [
        "Patient/{{context.patientId}}",
        "{{context.userId}}",
        "Practitioner/{{userPractitionerId}}",
        "Observation?patient={{context.patientId}}&code=http://loinc.org|1989-3,http://loinc.org|62292-8",
        "Condition?patient={{context.patientId}}&code:in=http://example.org/vs&_count=50",
    ],
)
def test_templates_of_the_restricted_set_pass(template):
    assert check_template(template) == ()
