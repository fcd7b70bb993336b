"""Bundles of any type give their resources; a prefetch value says what it means for its source."""

import pytest

from fhir_adapter.bundles import PrefetchState, group_by_patient, read_prefetch, resources_in

PATIENT = {"resourceType": "Patient", "id": "p"}


def _outcome(severity):
    return {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": "x"}]}


def _bundle(*resources, **further):
    entries = [{"resource": one} for one in resources]
    return {"resourceType": "Bundle", "type": "searchset", "entry": entries} | further


def _batch(*entries):
    return {"resourceType": "Bundle", "type": "batch-response", "entry": list(entries)}


GONE = {"request": {"method": "DELETE", "url": "Observation/o"}}


@pytest.mark.requirement("C28")
@pytest.mark.parametrize(
    ("value", "state", "count"),
    [
        (None, PrefetchState.NULL, 0),
        ({"resourceType": "Bundle", "type": "searchset", "total": 0}, PrefetchState.EMPTY, 0),
        (_bundle(), PrefetchState.EMPTY, 0),
        (PATIENT, PrefetchState.DATA, 1),
        (_bundle(PATIENT), PrefetchState.DATA, 1),
        ({"response": {"status": "200"}, "resource": PATIENT}, PrefetchState.DATA, 1),
        (_outcome("error"), PrefetchState.FAILED, 0),
        (_outcome("warning"), PrefetchState.FAILED, 0),
        ({"resourceType": "OperationOutcome"}, PrefetchState.FAILED, 0),
        ({"resourceType": "Bundle", "total": 5}, PrefetchState.TRUNCATED, 0),
        ({"resourceType": "Bundle", "entry": {}}, PrefetchState.FAILED, 0),
        (_bundle(_outcome("warning"), total=0), PrefetchState.HINT, 0),
        (_bundle(_outcome("fatal")), PrefetchState.FAILED, 0),
        (_bundle(PATIENT, _outcome("error")), PrefetchState.FAILED, 1),
        (_bundle(PATIENT, link=[{"relation": "next", "url": "n"}]), PrefetchState.TRUNCATED, 1),
        (_bundle(PATIENT, total=5), PrefetchState.TRUNCATED, 1),
        (_bundle({"resourceType": "OperationOutcome"}, total=0), PrefetchState.FAILED, 0),
        (_bundle(_outcome("Error"), total=0), PrefetchState.FAILED, 0),
        (_bundle(_outcome("information"), _outcome("warning")), PrefetchState.HINT, 0),
        (_batch({"response": {"status": "401 Unauthorized"}}), PrefetchState.FAILED, 0),
        (_batch({"response": {"status": "200"}, "resource": _bundle()}), PrefetchState.EMPTY, 0),
        (_batch({"response": {}, "resource": _bundle(PATIENT)}), PrefetchState.DATA, 1),
        (_batch({"resource": _bundle(_outcome("error"))}), PrefetchState.FAILED, 0),
        (_batch({"resource": _bundle(PATIENT, total=5)}), PrefetchState.TRUNCATED, 1),
        (_bundle({"id": "no type"}), PrefetchState.FAILED, 0),
        ({"resourceType": "Bundle", "type": "history", "entry": [GONE]}, PrefetchState.EMPTY, 0),
        ([_outcome("error")], PrefetchState.FAILED, 0),
        ([{"resource": PATIENT}], PrefetchState.DATA, 1),
        ([], PrefetchState.EMPTY, 0),
        ("text", PrefetchState.FAILED, 0),
        ({}, PrefetchState.FAILED, 0),
    ],
)
def test_states_of_a_prefetch_value(value, state, count):
    read = read_prefetch(value)
    assert (read.state, len(read.resources)) == (state, count)


def test_a_key_that_was_not_sent_is_absent():
    assert read_prefetch().state is PrefetchState.ABSENT


def test_nested_bundles_lists_and_parameters_are_opened():
    inner = _bundle({"resourceType": "Condition", "id": "c"})
    parameters = {"resourceType": "Parameters", "parameter": [{"resource": PATIENT}]}
    found = resources_in([_bundle(inner), parameters, None, 7])
    assert [one["resourceType"] for one in found] == ["Condition", "Patient"]


def test_a_full_url_that_is_not_the_id_is_carried_on_a_copy():
    resource = {"resourceType": "Medication", "id": "m"}
    entry = {"fullUrl": "urn:uuid:1", "resource": resource}
    plain = {"fullUrl": "https://x/Medication/m", "resource": resource}
    assert resources_in({"resourceType": "Bundle", "entry": [entry]})[0]["fullUrl"] == "urn:uuid:1"
    assert resources_in({"resourceType": "Bundle", "entry": [plain]})[0] is resource
    assert "fullUrl" not in resource


def test_what_a_history_deleted_is_gone():
    history = {
        "resourceType": "Bundle",
        "type": "history",
        "entry": [
            {"request": {"method": "DELETE", "url": "Condition/c"}},
            {"resource": {"resourceType": "Condition", "id": "c"}},
        ],
    }
    assert resources_in(history) == []


def test_urn_references_inside_a_transaction_are_followed(reading):
    document = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"fullUrl": "urn:uuid:a", "resource": PATIENT},
            {
                "fullUrl": "urn:uuid:b",
                "resource": {"resourceType": "Medication", "code": {"text": "Warfarin 5 mg"}},
            },
            {
                "fullUrl": "urn:uuid:c",
                "resource": {
                    "resourceType": "MedicationRequest",
                    "status": "active",
                    "intent": "order",
                    "medicationReference": {"reference": "urn:uuid:b"},
                    "subject": {"reference": "urn:uuid:a"},
                },
            },
        ],
    }
    (group,) = group_by_patient(resources_in(document)).items()
    assert group[0] == "p"
    assert [use.ingredient for use in reading(group[1]).facts.uses] == ["warfarin"]


def test_patients_are_parted_and_shared_medications_follow_references():
    def order(identity, patient, medication):
        return {
            "resourceType": "MedicationRequest",
            "id": identity,
            "subject": {"reference": f"Patient/{patient}"},
            "medicationReference": {"reference": f"Medication/{medication}"},
        }

    medications = [{"resourceType": "Medication", "id": name} for name in ("m", "n")]
    nobody = {"resourceType": "Observation", "id": "x"}
    other = {"resourceType": "Patient", "id": "q"}
    groups = group_by_patient(
        [PATIENT, other, order("1", "p", "m"), order("2", "q", "n"), *medications, nobody]
    )
    names = {name: [one["id"] for one in own] for name, own in groups.items()}
    assert names == {"p": ["p", "1", "m"], "q": ["q", "2", "n"], "": ["x"]}


def test_with_one_patient_everything_is_theirs():
    nobody = {"resourceType": "Observation", "id": "x"}
    assert group_by_patient([PATIENT, nobody]) == {"p": [PATIENT, nobody]}
    assert group_by_patient([]) == {"": []}


@pytest.mark.parametrize("nested", [4, 5, 900])
def test_what_lies_too_deep_to_be_read_is_not_nothing(nested):
    bundle = {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Observation", "id": "o"}}]}  # fmt: skip
    for _ in range(nested):
        bundle = {"resourceType": "Bundle", "entry": [{"resource": bundle}]}
    state = PrefetchState.DATA if nested == 4 else PrefetchState.FAILED
    assert read_prefetch(bundle).state is state
