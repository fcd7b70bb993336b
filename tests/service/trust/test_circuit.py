"""A FHIR server that is down is left alone for a while: callers do not wait for it, and are told what is missing."""

import asyncio

from service.cds_hooks.circuit import MOST_IN_A_ROW, REST_SECONDS, Circuits
from service.cds_hooks.fetching import Fetcher
from service.cds_hooks.prefetch import supply_of
from tests.fhir_server.server import FhirServer, failing
from tests.service.trust.test_fetching import RECORD, TEMPLATES, call_of, client_of


def test_after_some_silence_it_rests_and_is_then_tried_by_one():
    now = [0.0]
    circuits = Circuits(lambda: now[0])
    assert [circuits.was_silent("a") for _ in range(MOST_IN_A_ROW)] == [False] * 4 + [True]
    assert not circuits.may_ask("a")
    assert circuits.may_ask("b")
    now[0] = REST_SECONDS
    assert circuits.may_ask("a")
    assert not circuits.may_ask("a")  # the others wait for what comes of it
    assert not circuits.was_silent("a")  # told once
    now[0] += REST_SECONDS
    assert circuits.may_ask("a")
    circuits.answered("a")
    assert circuits.may_ask("a")
    assert circuits.may_ask("a")
    assert [circuits.was_silent("a") for _ in range(2)] == [False, False]


def run(ehr, steps):
    """Calls of one worker, each after the step before it; gives the supplies and who was told of a rest."""

    async def calls():
        fetcher, told, supplies = Fetcher(TEMPLATES), [], []
        fetcher.on_rest = told.append
        for step in steps:
            step(fetcher)
            call = call_of(ehr)
            supplies.append(await fetcher.complete(call, client_of(ehr), supply_of(call), 2.0))
        await fetcher.close()
        return supplies, told

    return asyncio.run(calls())


def test_a_server_that_is_gone_costs_a_few_calls_and_then_none():
    with FhirServer(resources=RECORD, token="tok") as ehr:
        pass  # its address is known, and nobody listens there any more
    supplies, told = run(ehr, [lambda _: None] * (MOST_IN_A_ROW + 2))
    assert told == ["x"]
    for supply in supplies[:MOST_IN_A_ROW]:
        assert supply.unread["patient"] == "the record system could not be reached"
    for supply in supplies[MOST_IN_A_ROW:]:
        assert "left alone" in supply.unread["patient"]
        assert set(supply.late) == {"patient", "medication-requests", "labs-inr"}


def test_a_server_that_refuses_or_fails_is_not_silent():
    with FhirServer(resources=RECORD, token="tok") as ehr:
        for kind in ("Patient", "MedicationRequest", "Observation"):
            ehr.faults[kind] = failing(500)
        supplies, told = run(ehr, [lambda _: None] * (MOST_IN_A_ROW + 1))
    assert told == []
    assert "no usable answer" in supplies[-1].unread["patient"]
