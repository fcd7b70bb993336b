"""A real service whose memory ends, whose disk is full, whose clock jumps: calls are answered, nothing is lost.

Full size: ``python -m tests.faults.exhaust --calls 100000`` holds a worker at its limit of memory for as long, and
``python -m tests.faults.engine_crash --crashes 100`` crashes one worker after the other.
"""

import http.client
import json
import resource
import signal
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from service import audit
from service.alerts import models
from service.app import create_app
from service.settings import Settings
from tests.faults import engine_crash, exhaust
from tests.operations.conftest import VIEW, until

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def cards(answer):
    status, body = answer
    assert status == 200, body
    return [card["summary"] for card in json.loads(body)["cards"]]


def test_a_worker_without_memory_is_replaced_or_recovers_and_the_next_call_is_answered(
    start, call_body
):
    service = start(DEKACARD_ENGINE="durable")
    expected = cards(service.post(VIEW, call_body))
    (worker,) = service.workers()
    outcome = exhaust.starve(service, worker, calls=20, body=call_body)
    assert outcome["refused"] > 0, "the limit was never felt"
    exhaust.feed(service)
    until(lambda: service.get("/readyz")[0] == 200, service.log)
    assert cards(service.post(VIEW, call_body)) == expected != []
    assert service.process.poll() is None


def test_cards_are_answered_when_no_file_can_grow(start, call_body):
    """What a full disk does to a process: every write that makes a file longer fails."""
    service = start()
    expected = cards(service.post(VIEW, call_body))
    (worker,) = service.workers()
    psutil.Process(worker.pid).rlimit(psutil.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    answers = [cards(service.post(VIEW, call_body)) for _ in range(20)]
    assert answers == [expected] * 20
    assert [one.pid for one in service.workers()] == [worker.pid], "SIGXFSZ ended the worker"
    psutil.Process(worker.pid).rlimit(
        psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )
    assert cards(service.post(VIEW, call_body)) == expected


def test_a_native_crash_of_the_engine_costs_the_calls_in_flight_and_no_others(start, call_body):
    service = start(DEKACARD_ENGINE="durable")
    expected = cards(service.post(VIEW, call_body))
    (worker,) = service.workers()
    line = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    line.request("POST", VIEW, call_body, {"content-type": "application/json"})
    worker.send_signal(signal.SIGSEGV)
    line.close()
    until(lambda: [one.pid for one in service.workers()] not in ([], [worker.pid]), service.log)
    until(lambda: service.get("/readyz")[0] == 200, service.log)
    assert cards(service.post(VIEW, call_body)) == expected


def test_crash_after_crash_costs_what_was_in_flight_and_each_is_counted(start, call_body):
    service = start(DEKACARD_ENGINE="durable")
    found = engine_crash.crash_again_and_again(service, call_body, 3)
    assert found["counted"] == 3
    assert found.get("lost", 0) <= 3 * engine_crash.CALLERS
    assert {"503", "500"}.isdisjoint(found)
    assert cards(service.post(VIEW, call_body))


def test_nothing_outlives_a_supervisor_that_was_killed(start, call_body):
    """An orphan would hold the address and the spool against the service that takes its place."""
    service = start(DEKACARD_ENGINE="durable")
    assert cards(service.post(VIEW, call_body))
    children = psutil.Process(service.process.pid).children(recursive=True)
    assert children
    service.process.kill()
    service.process.wait(timeout=30)
    _, left = psutil.wait_procs(children, timeout=60)
    assert not [one for one in left if one.status() != psutil.STATUS_ZOMBIE]
    assert cards(start(DEKACARD_ENGINE="durable").post(VIEW, call_body))


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=400), timedelta(hours=-2)])
def test_a_clock_that_jumps_neither_stops_answers_nor_breaks_the_trail(tmp_path, call_body, jump):
    now = [NOON]
    settings = Settings(
        dev=True,
        store_url=f"sqlite:///{tmp_path}/record.db",
        spool_dir=tmp_path / "spool",
        keyring=tmp_path / "keys.json",
        engine="compiled",
    )
    app = create_app(settings, clock=lambda: now[0])
    with TestClient(app, base_url="http://127.0.0.1:8080") as client:
        headers = {"content-type": "application/json"}
        for moment in (NOON, NOON + jump, NOON + timedelta(minutes=1)):
            now[0] = moment
            answer = client.post(VIEW, content=call_body, headers=headers)
            assert answer.status_code == 200
            told = answer.json()["extension"]["org.dekacard.review"]["asOf"]
            assert datetime.fromisoformat(told) == moment
        record = app.state.recorder

        def evaluations():
            with record.database.reading() as connection:
                return connection.scalar(select(func.count()).select_from(models.evaluation))

        until(lambda: evaluations() == 3)
        with record.database.reading() as connection:
            assert audit.verify(connection, record.keyring) == []
            seen = connection.execute(select(models.alert.c.rule, models.alert.c.seen_count)).all()
    assert seen
    assert all(count >= 1 for _, count in seen)
