"""Our published schemas are schemas, accept what is right, and refuse the same faults as our checks."""

import json

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from service.conformance.bodies import Samples
from service.conformance.findings import CHECKS
from service.conformance.responses import check_response
from service.conformance.services import check_discovery
from tests.service.conformance.specimens import DISCOVERY, DRAFTS, RESPONSE, changed
from tests.service.conformance.test_shapes import FAULTS_OF_DISCOVERY, FAULTS_OF_RESPONSE, broken

HOOKS = ("patient-view", "order-select", "order-sign", "encounter-discharge", "medication-refill")
# What a schema cannot say: it sees one member at a time, counts characters, and knows no call.
BEYOND_SCHEMAS = {
    "card-uuid-twice", "card-order", "card-topic-absent", "card-topic-style", "card-uuid-absent", "card-detail-html",
    "card-summary-line", "action-target", "action-delete-alone", "link-mixed", "extension-name", "service-title",
    "prefetch-key", "prefetch-token", "prefetch-token-3", "prefetch-repeat", "suggestion-uuid-absent", "action-behavior-used",
}  # fmt: skip


@pytest.fixture(scope="module")
def validator(root):
    """Build a validator of one of the published schemas."""
    found = {
        p.name: json.loads(p.read_text())
        for p in (root / "service/cds_hooks/schemas").glob("*.json")
    }
    registry = Registry().with_resources(
        (name, Resource.from_contents(content)) for name, content in found.items()
    )
    for content in found.values():
        Draft202012Validator.check_schema(content)
    return lambda name: Draft202012Validator(found[f"{name}.schema.json"], registry=registry)


def test_what_is_right_is_accepted(validator):
    validator("discovery").validate(DISCOVERY)
    validator("response").validate(RESPONSE)
    validator("response").validate({"cards": []})
    validator("discovery").validate({"services": []})


def in_resource_or_emoji(check, fault) -> bool:
    """Faults of a kind that schemas know, in a place they do not look at."""
    return (check == "no-empties" and "resource" in fault["path"]) or "\U0001f48a" in str(
        fault.get("to")
    )


@pytest.mark.parametrize(("check", "fault"), FAULTS_OF_RESPONSE)
def test_a_response_that_our_checks_refuse_is_refused_by_the_schema(check, fault, validator):
    known = check not in BEYOND_SCHEMAS and not in_resource_or_emoji(check, fault)
    assert validator("response").is_valid(broken(RESPONSE, fault)) == (not known)
    assert check_response(broken(RESPONSE, fault), draft_orders=DRAFTS)


@pytest.mark.parametrize(("check", "fault"), FAULTS_OF_DISCOVERY)
def test_a_discovery_that_our_checks_refuse_is_refused_by_the_schema(check, fault, validator):
    known = check not in BEYOND_SCHEMAS
    assert validator("discovery").is_valid(broken(DISCOVERY, fault)) == (not known)
    assert check_discovery(broken(DISCOVERY, fault))


def test_what_schemas_cannot_say_is_said_by_checks():
    assert set(CHECKS) >= BEYOND_SCHEMAS


@pytest.mark.requirement("C12")
@pytest.mark.parametrize("hook", HOOKS)
def test_the_requests_of_a_visit_are_right_by_our_schemas(hook, validator):
    from datetime import date

    service = {"hook": hook, "id": "x", "prefetch": DISCOVERY["services"][0]["prefetch"]}
    body = Samples(today=date(2026, 11, 22)).call(service)
    validator(f"request-{hook}").validate(body)
    required = validator(f"request-{hook}").schema["properties"]["context"]["required"]
    for member in ("hook", "hookInstance", "context"):
        assert not validator(f"request-{hook}").is_valid(changed(body, member, drop=True))
    for member in required:
        assert not validator(f"request-{hook}").is_valid(
            changed(body, "context", member, drop=True)
        )
    assert not validator(f"request-{hook}").is_valid(body | {"hook": "other"})
    assert not validator(f"request-{hook}").is_valid(
        body | {"fhirAuthorization": {"access_token": "x"}}
    )


GOOD_FEEDBACK = {
    "card": "c", "outcome": "accepted", "outcomeTimestamp": "2026-11-22T10:00:00.123Z", "acceptedSuggestions": [{"id": "s"}],
}  # fmt: skip


@pytest.mark.requirement("C61")
@pytest.mark.parametrize(
    ("change", "right"),
    [
        ({}, True),
        ({"outcome": "overridden", "overrideReason": {"userComment": "x"}}, True),
        (
            {"outcome": "overridden", "overrideReason": {"reason": {"code": "x", "system": "y"}}},
            True,
        ),
        ({"outcome": "ignored"}, False),
        ({"acceptedSuggestions": []}, False),
        ({"outcomeTimestamp": "yesterday"}, False),
        ({"outcome": "overridden", "overrideReason": {}}, False),
        ({"card": ""}, False),
    ],
)
def test_feedback_is_right_or_wrong_by_our_schema(change, right, validator):
    assert validator("feedback").is_valid({"feedback": [GOOD_FEEDBACK | change]}) == right


@pytest.mark.requirement("C61")
@pytest.mark.parametrize("member", ["card", "outcome", "outcomeTimestamp"])
def test_feedback_without_what_it_must_have_is_wrong_by_our_schema(member, validator):
    entry = {name: value for name, value in GOOD_FEEDBACK.items() if name != member}
    assert not validator("feedback").is_valid({"feedback": [entry]})


def test_accepted_feedback_names_a_suggestion(validator):
    entry = {k: v for k, v in GOOD_FEEDBACK.items() if k != "acceptedSuggestions"}
    assert not validator("feedback").is_valid({"feedback": [entry]})
    assert validator("feedback").is_valid({"feedback": [entry | {"outcome": "overridden"}]})
