"""Drafts are valid FHIR in the client's version, and read back as what they propose."""

from datetime import UTC, datetime

import pytest

from fhir_adapter.proposals import Draftsman, detected_issue
from fhir_adapter.resources import problems_of
from rules.assessment import Citation, ProposedAction, Recommendation
from rules.errors import EngineError
from rules.facts import Diet

AS_OF = datetime(2026, 11, 22, 12, tzinfo=UTC)
WEEKLY = {
    "ingredient": "vitamin-d3",
    "amount": 50000,
    "unit": "[IU]",
    "interval_days": 7,
    "doses": 8,
}
DRAFT = {
    "resourceType": "MedicationRequest",
    "id": "d",
    "status": "draft",
    "intent": "order",
    "subject": {"reference": "Patient/p"},
    "vendor": {"kept": True},
    "medicationCodeableConcept": {"text": "Vitamin D3 50,000 IU / K2 100 mcg capsule"},
    "dosageInstruction": [{"text": "1 daily", "doseAndRate": [{"doseQuantity": {"value": 1}}]}],
}


def _action(kind, targets=(), **data):
    return ProposedAction(
        id="a", kind=kind, label="Label", description="Text", data=data, targets=targets
    )


@pytest.fixture
def draw(vocabulary):
    def _draw(action, version="R4", drafts=(DRAFT,)):
        draftsman = Draftsman(
            vocabulary, patient_id="p", as_of=AS_OF, version=version, drafts=drafts
        )
        return draftsman.draw(action)

    return _draw


@pytest.mark.parametrize("version", ["R4", "R5", "STU3"])
@pytest.mark.parametrize(
    "action",
    [
        _action("order-test", tests=["inr", "calcium", "digoxin-level"], from_days=3, to_days=7),
        _action("prescribe", **WEEKLY),
        _action("task", to="anticoagulation-service"),
    ],
    ids=lambda action: action.kind,
)
def test_drafts_are_valid_in_every_version(draw, action, version):
    for proposed in draw(action, version):
        assert proposed.verb == "create"
        assert proposed.resource["status"] == "draft"
        assert problems_of(proposed.resource, version) == ()


@pytest.mark.parametrize("version", ["R4", "R5", "STU3"])
def test_a_prescription_reads_back_as_what_it_proposes(draw, reading, version):
    (proposed,) = draw(_action("prescribe", **WEEKLY), version)
    (use,) = reading([], drafts=[proposed.resource]).facts.uses
    assert (use.ingredient, use.amount, use.interval_days, use.doses, use.bounded_days) == (
        "vitamin-d3",
        50000,
        7,
        8,
        56,
    )
    assert (use.taking, use.dose_note) == ("draft", "")


@pytest.mark.parametrize("version", ["R4", "R5", "STU3"])
def test_an_order_reads_back_as_what_it_proposes(draw, reading, version):
    (proposed,) = draw(_action("order-test", tests=["inr"], from_days=3, to_days=7), version)
    (order,) = reading([], drafts=[proposed.resource]).facts.orders
    assert (order.measure, order.state, order.due.isoformat()) == ("inr", "draft", "2026-11-25")


def test_a_replacement_keeps_what_the_client_wrote(draw, reading):
    data = {"ingredient": "vitamin-d3", "amount": 1000, "unit": "[IU]", "interval_days": 1}
    (proposed,) = draw(_action("replace-draft", ("MedicationRequest/d",), **data))
    assert (proposed.verb, proposed.resource_id) == ("update", "MedicationRequest/d")
    assert proposed.resource["vendor"] == {"kept": True}
    assert DRAFT["medicationCodeableConcept"]["text"].endswith("K2 100 mcg capsule")
    uses = reading([], drafts=[proposed.resource]).facts.uses
    assert [(use.ingredient, use.daily) for use in uses] == [("vitamin-d3", 1000)]


def test_a_new_rhythm_keeps_the_product(draw, reading):
    (proposed,) = draw(
        _action(
            "replace-draft", ("MedicationRequest/d",), keep_product=True, interval_days=7, doses=8
        )
    )
    daily = {
        use.ingredient: use.daily for use in reading([], drafts=[proposed.resource]).facts.uses
    }
    assert daily == {"vitamin-d3": 7142.857143, "vitamin-k2": 14.285714}


def test_only_drafts_of_this_call_are_changed(draw):
    assert draw(_action("replace-draft", ("MedicationRequest/unknown",), keep_product=True)) == ()
    (deleted,) = draw(_action("delete-draft", ("MedicationRequest/d",)))
    assert (deleted.verb, deleted.resource_id, deleted.resource) == (
        "delete",
        "MedicationRequest/d",
        None,
    )


def test_people_never_read_iu_or_ug(draw):
    (proposed,) = draw(_action("prescribe", **WEEKLY))
    assert proposed.resource["dosageInstruction"][0]["text"].startswith(
        "50,000 international units"
    )


def test_an_invalid_draft_is_our_fault_and_loud(draw):
    with pytest.raises(EngineError, match="invalid MedicationRequest"):
        draw(_action("prescribe", **(WEEKLY | {"doses": -1})))


def test_a_detected_issue_names_severity_and_evidence():
    recommendation = Recommendation(
        rule="vka-natto", version="1", pack="p", topic_code="NATTO", title="Natto with warfarin",
        status="draft", about="natto", indicator="warning", certainty="low", summary="Natto is eaten.",
        why="It holds MK-7.", because=(Diet(source=("Observation/d",), food="natto"),),
        citations=(Citation(key="k", label="l", url="https://example.org/k"),),
    )  # fmt: skip
    issue = detected_issue(recommendation, patient_id="p", as_of=AS_OF, identity="i-1")
    assert issue["severity"] == "moderate"
    assert issue["implicated"] == [{"reference": "Observation/d"}]
    assert problems_of(issue, "R4") == ()
