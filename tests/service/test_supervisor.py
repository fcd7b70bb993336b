"""The supervisor replaces workers that die, and says so when they cannot live at all."""

import os

import pytest

from rules.errors import Unavailable
from service.serving import Supervisor


def test_workers_that_cannot_start_end_the_service_with_an_error(monkeypatch) -> None:
    supervisor = Supervisor(1, lambda: os._exit(3))
    with pytest.raises(Unavailable, match="Workers keep ending"):
        supervisor.run()
    assert supervisor.restarts >= 5
