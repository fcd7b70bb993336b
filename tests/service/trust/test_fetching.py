"""What the client did not send is fetched; what could not be fetched stays unread, with words for people."""

import asyncio
import json

import pytest

from service.cds_hooks.client_profile import ClientProfile
from service.cds_hooks.clients import Client
from service.cds_hooks.contexts import HookCall
from service.cds_hooks.discovery import SOURCES
from service.cds_hooks.fetching import Fetcher
from service.cds_hooks.prefetch import supply_of
from tests.fhir_server.server import Answers, Dripping, FhirServer, Slow, failing

TEMPLATES = {
    "patient": "Patient/{{context.patientId}}",
    "medicationRequests": "MedicationRequest?patient={{context.patientId}}",
    "inr": "Observation?patient={{context.patientId}}&code=http://loinc.org|6301-6",
}
SUBJECT = {"reference": "Patient/p1"}
RECORD = [
    {"resourceType": "Patient", "id": "p1"},
    {"resourceType": "MedicationRequest", "id": "m1", "subject": SUBJECT, "status": "active"},
    {"resourceType": "Observation", "id": "o1", "subject": SUBJECT},
]
KEY_OF = {source: key for key, source in SOURCES.items()}


@pytest.fixture
def ehr():
    with FhirServer(resources=RECORD, token="tok") as running:
        yield running


def client_of(ehr, **fhir) -> Client:
    profile = ClientProfile.model_validate(
        {
            "id": "x",
            "title": "x",
            "rules": {"mode": "live", "accept_draft": True},
            "fhir": {"bases": [ehr.base]} | fhir,
        }
    )
    return Client(profile=profile, issuer="", tenant=None, jti="")


def call_of(ehr, prefetch=None, **changes) -> HookCall:
    members = {
        "hook": "patient-view",
        "hook_instance": "i",
        "patient_id": "p1",
        "fhir_server": ehr.base,
        "access_token": "tok",
        "prefetch": prefetch or {},
    }
    return HookCall(**(members | changes))


def complete(ehr, call, *, seconds=2.0, **fhir):
    async def run():
        fetcher = Fetcher(TEMPLATES)
        try:
            return await fetcher.complete(call, client_of(ehr, **fhir), supply_of(call), seconds)
        finally:
            await fetcher.close()

    return asyncio.run(run())


def names(supply) -> set[str]:
    return {f"{one['resourceType']}/{one['id']}" for one in supply.resources}


@pytest.mark.requirement("C29")
def test_what_was_not_sent_is_fetched(ehr):
    supply = complete(ehr, call_of(ehr))
    assert names(supply) == {"Patient/p1", "MedicationRequest/m1", "Observation/o1"}
    assert not {"patient", "medication-requests", "labs-inr"} & supply.unread.keys()
    assert "medication-statements" in supply.unread  # no template asked for it
    assert supply.late == ()


@pytest.mark.requirement("C3", "C30")
def test_what_was_sent_is_not_asked_for_again(ehr):
    complete(ehr, call_of(ehr, {"patient": None, "medicationRequests": {"resourceType": "Bundle"}}))
    assert [seen.path for seen in ehr.seen] == ["/fhir/Observation"]


@pytest.mark.requirement("C28")
def test_what_the_client_failed_to_fetch_is_not_tried_again(ehr):
    issue = {"severity": "error", "code": "timeout"}
    outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
    supply = complete(ehr, call_of(ehr, {"inr": outcome}))
    assert "labs-inr" in supply.unread
    assert ehr.asked("Observation") == []


def test_a_truncated_answer_is_read_again_as_a_whole_and_counts_once(ehr):
    first = {"resource": RECORD[1] | {"status": "stopped"}}
    link = [{"relation": "next", "url": "https://ehr.example.org/next"}]
    bundle = {"resourceType": "Bundle", "entry": [first], "link": link}
    supply = complete(ehr, call_of(ehr, {"medicationRequests": bundle}))
    orders = [one for one in supply.resources if one["resourceType"] == "MedicationRequest"]
    assert orders == [RECORD[1]]
    assert "medication-requests" not in supply.unread


@pytest.mark.requirement("C31")
def test_a_slow_server_leaves_its_source_unread_and_late(ehr):
    ehr.faults["MedicationRequest"] = Slow(30)
    supply = complete(ehr, call_of(ehr), seconds=0.5)
    assert supply.unread["medication-requests"] == "the record system did not answer in time"
    assert supply.late == ("medication-requests",)
    assert "Observation/o1" in names(supply)


@pytest.mark.requirement("C31")
@pytest.mark.parametrize(
    ("status", "words"),
    [(500, "no usable answer"), (404, "does not offer it"), (401, "refused access")],
)
def test_a_failed_fetch_is_never_no_drug(ehr, status, words):
    ehr.faults["MedicationRequest"] = failing(status)
    supply = complete(ehr, call_of(ehr))
    assert words in supply.unread["medication-requests"]
    assert supply.late == ()


def test_without_time_nothing_is_asked(ehr):
    supply = complete(ehr, call_of(ehr), seconds=-0.1)
    assert ehr.seen == []
    assert set(supply.late) == {"patient", "medication-requests", "labs-inr"}


@pytest.mark.requirement("C38")
def test_only_the_profiles_server_is_asked_and_only_if_it_may_be(ehr):
    supply = complete(ehr, call_of(ehr), bases=["https://ehr.example.org/fhir"])
    assert "not one this client may name" in supply.unread["patient"]
    complete(ehr, call_of(ehr), fetch=False)
    assert ehr.seen == []


@pytest.mark.parametrize(
    "patient_id", ["../Patient/2", "1&patient=2", "1/$everything", "a b", "1?x=y"]
)
def test_a_patient_id_cannot_change_the_question(ehr, patient_id):
    supply = complete(ehr, call_of(ehr, patient_id=patient_id))
    assert "patient" in supply.unread
    for seen in ehr.seen:
        assert seen.path in {"/fhir/MedicationRequest", "/fhir/Observation"}
        assert seen.query["patient"] == [patient_id]


def test_a_body_that_is_not_strict_json_is_not_used(ehr):
    ehr.resources = [*RECORD[1:], {"resourceType": "Patient", "id": "p1", "x": 10**40}]
    assert "no usable answer" in complete(ehr, call_of(ehr)).unread["patient"]


@pytest.mark.requirement("C35", "C73")
def test_neither_token_nor_patient_reaches_the_log(ehr, capfd):
    ehr.faults["MedicationRequest"] = failing(500)
    complete(ehr, call_of(ehr, patient_id="canary-patient", access_token="canary-token"))
    out = "".join(capfd.readouterr())
    assert "fhir_fetch_incomplete" in out
    assert "canary" not in out


def bundle(*entries, **members):
    return {"resourceType": "Bundle", "type": "searchset", "entry": list(entries)} | members


def outcome_entry(severity):
    issue = {"severity": severity, "code": "not-found", "details": {"text": "4101"}}
    return {
        "search": {"mode": "outcome"},
        "resource": {"resourceType": "OperationOutcome", "issue": [issue]},
    }


DATA = {"resource": {"resourceType": "Observation", "id": "o"}}
NEXT = [{"relation": "next", "url": "https://ehr.example.org/fhir?page=2"}]
# state on the wire -> (value, whether the source counts as read)
STATES = {
    "null": (None, True),
    "an empty Bundle": (bundle(total=0), True),
    "a Bundle without entry": ({"resourceType": "Bundle"}, True),
    "data": (bundle(DATA), True),
    "an OperationOutcome": (outcome_entry("error")["resource"], False),
    "a hint": (bundle(outcome_entry("warning"), total=0), True),
    "an error entry": (bundle(outcome_entry("error")), False),
    "a list of no resources": (["a", 1], False),
    "entries that are no objects": ({"resourceType": "Bundle", "entry": ["a"]}, False),
    "a first page": (bundle(DATA, link=NEXT), False),
}


@pytest.mark.requirement("C3", "C28", "C30")
@pytest.mark.parametrize("key", SOURCES)
@pytest.mark.parametrize("state", STATES)
def test_each_state_of_each_key_is_told_apart(state, key, ehr):
    value, read = STATES[state]
    supply = supply_of(call_of(ehr, {key: value}))
    assert (SOURCES[key] not in supply.unread) == read
    others = set(SOURCES.values()) - {SOURCES[key]}
    assert others <= supply.unread.keys()


@pytest.mark.requirement("C30")
@pytest.mark.parametrize("key", SOURCES)
def test_a_key_that_was_not_sent_is_unread(key, ehr):
    assert SOURCES[key] in supply_of(call_of(ehr)).unread


@pytest.mark.requirement("C17")
def test_a_key_of_the_clients_own_is_no_error_and_known_by_its_profile(ehr):
    call = call_of(ehr, {"-user": {"resourceType": "Practitioner", "id": "u"}, "meds": bundle()})
    assert "medication-requests" in supply_of(call).unread
    profile = client_of(ehr).profile.model_copy(
        update={"prefetch": {"medicationRequests": _sent_as("meds")}}
    )
    assert "medication-requests" not in supply_of(call, profile).unread


@pytest.mark.requirement("C28")
@pytest.mark.parametrize("later", [True, False])
def test_a_stray_order_under_a_key_of_the_clients_own_proves_no_search(ehr, later):
    """An order for today says nothing about the list that could not be fetched."""
    refused = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "timeout"}],
    }
    stray = {"resourceType": "MedicationRequest", "id": "today", "status": "active"}
    dispense = {"resourceType": "MedicationDispense", "id": "d"}
    dispensed = bundle({"resource": dispense}, {"resource": stray})
    for value in (stray, dispensed):
        pairs = [("medicationRequests", refused), ("todaysOrder", value)]
        supply = supply_of(call_of(ehr, dict(pairs if later else reversed(pairs))))
        assert "medication-requests" in supply.unread
        assert stray in supply.resources
    assert "medication-requests" in supply_of(call_of(ehr, {"todaysOrder": stray})).unread


@pytest.mark.requirement("C75")
def test_a_server_that_never_falls_silent_is_cut_off_by_the_deadline_of_the_call(ehr):
    """A byte now and then keeps every time limit of the connection from striking; ten seconds only stop a hang."""
    ehr.faults["MedicationRequest"] = Dripping()

    async def run():
        fetcher, call = Fetcher(TEMPLATES), call_of(ehr)
        try:
            async with asyncio.timeout(10):
                return await fetcher.complete(call, client_of(ehr), supply_of(call), 0.5)
        finally:
            await fetcher.close()

    assert asyncio.run(run()).late == ("medication-requests",)


OTHERS = {"reference": "Patient/somebody-else"}
ELSEWHERE = {"reference": "https://other.example.org/fhir/Patient/p1"}


@pytest.mark.requirement("C30", "C32")
@pytest.mark.parametrize("subject", [OTHERS, ELSEWHERE])
def test_a_list_wholly_of_another_patient_is_not_read(ehr, subject):
    """Whoever sent it asked for the wrong patient; "no drug" was never looked up."""
    own, order = RECORD[1], RECORD[1] | {"subject": subject}
    medicine = {"resourceType": "Medication", "id": "m"}

    def unread(*resources):
        entries = [{"resource": one} for one in resources]
        return supply_of(call_of(ehr, {"medicationRequests": bundle(*entries)})).unread

    assert unread(order)["medication-requests"] == "what came is not of this patient"
    assert "medication-requests" in unread(medicine, order)
    assert "medication-requests" not in unread(medicine, order, own)
    stranger = {"resourceType": "Patient", "id": "somebody-else"}
    assert "patient" in supply_of(call_of(ehr, {"patient": stranger})).unread
    assert "patient" not in supply_of(call_of(ehr, {"patient": RECORD[0]})).unread


@pytest.mark.requirement("C32")
def test_a_server_that_answers_with_others_leaves_the_source_unread(ehr):
    others = bundle({"resource": RECORD[1] | {"subject": OTHERS}}, total=1)
    ehr.faults["MedicationRequest"] = Answers(body=json.dumps(others).encode())
    supply = complete(ehr, call_of(ehr))
    assert supply.unread["medication-requests"] == "what came is not of this patient"


def _sent_as(name):
    from service.cds_hooks.client_profile import Prefetch

    return Prefetch(sent_as=(name,))
