"""The dashboard's further screens over a record in a SQLite file, and over one in a real PostgreSQL."""

import pytest

from service.alerts import schema
from service.alerts.database import Database
from service.app import create_app
from service.settings import Settings
from tests.service.alerts.conftest import (  # noqa: F401 - fixtures: both databases
    database_url,
    postgres_server,
    record_connection,
    record_server,
)
from tests.service.dashboard.conftest import NOON, Site


@pytest.fixture
def site(database_url, tmp_path):  # noqa: F811
    """A dashboard of this test's own, seen by a lead."""
    opened = Database(database_url)
    schema.upgrade(opened)
    opened.close()
    (tmp_path / "allowed").mkdir()
    made = {}
    settings = Settings(
        dev=True,
        store_url=database_url,
        spool_dir=tmp_path / "spool",
        keyring=tmp_path / "keys.json",
        runs_dir=tmp_path / "runs",
        runs_root=tmp_path / "allowed",
        upload_mb=1,
    )
    app = create_app(settings, clock=lambda: made["site"].now if made else NOON)
    made["site"] = Site(app)
    made["site"].now = NOON
    made["site"].folder = tmp_path
    yield made["site"].sign_in("lead")
    app.state.run_queue.stop()
    app.state.recorder.close()
