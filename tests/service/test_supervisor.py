"""The supervisor replaces workers that die, and says so when they cannot live at all."""

import faulthandler
import os
import signal
import time

import pytest

from rules.errors import Unavailable
from service import serving
from service.serving import Supervisor, tell_begun


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
    monkeypatch.setattr(serving, "_FAST_DEATH", 3600.0)
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
    monkeypatch.setattr(serving, "_FAST_DEATH", 3600.0)
    supervisor = Supervisor(1, crash)
    with pytest.raises(Unavailable, match="Workers keep ending"):
        supervisor.run()
