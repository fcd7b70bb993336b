"""An update carries the client's own JSON: what its vendor added survives, and its draft is not touched."""

import copy
from datetime import UTC, datetime

import pytest

from rules.assessment import ProposedAction
from rules.rulebook import load_rulebook
from service.cds_hooks.proposing import proposer

DRAFT = {
    "resourceType": "MedicationRequest",
    "id": "draft-1",
    "status": "draft",
    "intent": "order",
    "zzVendorMember": {"keep": [1, None]},
    "extension": [{"url": "https://vendor.example/x", "valueDecimal": 1.50}],
    "medicationCodeableConcept": {"text": "x"},
    "dosageInstruction": [{"doseAndRate": [{"doseQuantity": {"value": 1}}]}],
}


@pytest.mark.requirement("C49")
def test_without_updates_a_change_is_a_deletion_with_its_creation_in_one_suggestion():
    propose = proposer(
        load_rulebook().vocabulary,
        patient_id="p1",
        as_of=datetime(2026, 11, 22, tzinfo=UTC),
        drafts=[DRAFT | {"meta": {"versionId": "3"}}],
        updates=False,
    )
    action = ProposedAction(
        id="a",
        kind="replace-draft",
        label="l",
        description="d",
        data={"keep_product": True, "interval_days": 7},
        targets=("MedicationRequest/draft-1",),
    )
    gone, new = propose(action)
    assert gone == {
        "type": "delete",
        "description": "d",
        "resourceId": "MedicationRequest/draft-1",
    }
    assert new["type"] == "create"
    assert not {"id", "meta"} & new["resource"].keys()
    assert new["resource"]["status"] == "draft"
    assert new["resource"]["dosageInstruction"][0]["timing"]["repeat"]["periodUnit"] == "wk"


@pytest.mark.requirement("C50", "C51", "C52")
def test_an_update_is_the_clients_own_draft_with_the_change_alone():
    before = copy.deepcopy(DRAFT)
    propose = proposer(
        load_rulebook().vocabulary,
        patient_id="p1",
        as_of=datetime(2026, 11, 22, tzinfo=UTC),
        drafts=[DRAFT],
    )
    action = ProposedAction(
        id="a",
        kind="replace-draft",
        label="l",
        description="d",
        data={"keep_product": True, "interval_days": 7},
        targets=("MedicationRequest/draft-1", "MedicationRequest/unknown"),
    )
    (update,) = propose(action)
    assert (update["type"], update["description"]) == ("update", "d")
    kept = {k: v for k, v in update["resource"].items() if k != "dosageInstruction"}
    assert kept == {k: v for k, v in before.items() if k != "dosageInstruction"}
    assert update["resource"]["dosageInstruction"][0]["timing"]["repeat"]["periodUnit"] == "wk"
    assert before == DRAFT


@pytest.mark.requirement("C52")
def test_only_drafts_of_the_call_are_removed():
    propose = proposer(
        load_rulebook().vocabulary,
        patient_id="p1",
        as_of=datetime(2026, 11, 22, tzinfo=UTC),
        drafts=[DRAFT],
    )
    targets = ("MedicationRequest/signed-1", "MedicationRequest/draft-1", "MedicationRequest/draft")
    action = ProposedAction(
        id="a", kind="delete-draft", label="l", description="d", targets=targets
    )
    gone = {"type": "delete", "description": "d", "resourceId": "MedicationRequest/draft-1"}
    assert propose(action) == [gone]
