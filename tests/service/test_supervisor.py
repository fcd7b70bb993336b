"""The supervisor replaces workers that die, and says so when they cannot live at all."""

import faulthandler
import os
import signal
import time

import pytest

from rules.errors import Unavailable
from service import supervisor as supervising
from service.supervisor import Pace, Supervisor, tell_begun


def crash() -> None:
    faulthandler.disable()
    os.kill(os.getpid(), signal.SIGSEGV)


def test_workers_that_cannot_start_end_the_service_with_an_error(monkeypatch) -> None:
    supervisor = Supervisor(1, lambda: os._exit(3))
    with pytest.raises(Unavailable, match="Workers keep ending"):
        supervisor.run()
    assert supervisor.restarts >= 5


def test_workers_that_crash_while_they_answer_are_replaced_for_ever(monkeypatch) -> None:
    """Else a call that crashes the engine, sent a few times, would be the end of the service."""
    monkeypatch.setattr(supervising, "_FAST_DEATH", 3600.0)
    monkeypatch.setattr(supervising, "_PACE", 0.0)
    ended = []

    def work() -> None:
        tell_begun()
        if len(ended) >= 12:  # the copy that is made of this process knows how many there were
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(3600)
        crash()

    supervisor = Supervisor(1, work, on_restart=lambda _, cause: ended.append(cause))
    supervisor.run()
    assert ended == ["SIGSEGV"] * 12


def test_workers_that_crash_before_they_answer_end_the_service(monkeypatch) -> None:
    monkeypatch.setattr(supervising, "_FAST_DEATH", 3600.0)
    supervisor = Supervisor(1, crash)
    with pytest.raises(Unavailable, match="Workers keep ending"):
        supervisor.run()


def test_the_first_restarts_come_at_once_and_those_of_a_storm_at_a_steady_pace() -> None:
    pace = Pace(3, every=1.0)
    assert [pace.start(now) for now in (50.0, 50.1, 50.2)] == [50.0, 50.1, 50.2]
    assert [pace.start(now) for now in (50.3, 51.2, 52.1)] == [51.0, 52.0, 53.0]
    assert [pace.start(now) for now in (60.0, 60.0, 60.0, 60.0)] == [60.0, 60.0, 60.0, 61.0]


def test_a_storm_of_crashes_does_not_keep_a_processor_busy_with_starts(monkeypatch, caplog) -> None:
    monkeypatch.setattr(supervising, "_AT_ONCE", 2)
    monkeypatch.setattr(supervising, "_PACE", 3600.0)
    ended = []

    def count(_process: int, cause: str) -> None:
        ended.append(cause)
        if len(ended) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    def work() -> None:
        tell_begun()
        crash()

    Supervisor(1, work, on_restart=count).run()
    waits = ["since there were many" in record.getMessage() for record in caplog.records]
    assert waits == [False, False, True]


def test_a_worker_that_waits_for_its_turn_is_started_in_the_end(monkeypatch) -> None:
    monkeypatch.setattr(supervising, "_AT_ONCE", 1)
    monkeypatch.setattr(supervising, "_PACE", 0.3)
    ended = []

    def work() -> None:
        tell_begun()
        if len(ended) == 3:
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(3600)
        crash()

    Supervisor(1, work, on_restart=lambda _, cause: ended.append(cause)).run()
    assert ended == ["SIGSEGV"] * 3
