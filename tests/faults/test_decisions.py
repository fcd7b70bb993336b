"""SIGKILL while alerts are decided on: what was confirmed is kept, with its event and its line of the trail."""

import pytest

from tests.faults import decisions
from tests.service.alerts.conftest import (  # noqa: F401 - fixtures
    database,
    database_url,
    postgres_server,
    record_connection,
    record_server,
)


@pytest.mark.usefixtures("database")
def test_a_decision_that_was_confirmed_survives_a_kill(tmp_path, database_url):  # noqa: F811
    found = decisions.kill_again_and_again(tmp_path, database_url, 5)
    assert found["confirmed"] > 5
    assert (found["lost"], found["without_event"], found["faults"]) == (0, 0, 0)
