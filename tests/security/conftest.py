"""A real service for hostile requests, and the dashboard over a real record."""

import pytest

from tests.operations.conftest import Service
from tests.service.dashboard.conftest import alert, application, site

__all__ = ["alert", "application", "site"]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """One service for all requests of a file: each must leave it as it was."""
    running = Service(tmp_path_factory.mktemp("service"), DEKACARD_ENGINE="durable")
    running.wait()
    yield running
    running.stop()
