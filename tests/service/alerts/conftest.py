"""Both databases for every test of the record: a SQLite file, and a fresh database of a real PostgreSQL."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from pytest_postgresql import factories

from service.alerts import schema
from service.alerts.database import Database
from service.alerts.drainer import Drainer
from service.alerts.keyring import new_keyring
from service.alerts.recorder import SpoolRecorder
from service.alerts.values import RecordOptions
from tests.service.alerts.postgres import running_server

DATABASES = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres_server():
    """A real server; without one the tests of PostgreSQL fail, they are never skipped."""
    with running_server() as folder:
        yield SimpleNamespace(
            host=str(folder), port=5432, user="postgres", password="", options="", maintenance_dbname="postgres",
            template_dbname=None,
        )  # fmt: skip


def _with_schema(*, host, port, user, dbname, **_):
    """Fill the template that each test's database is copied from."""
    opened = Database(f"postgresql://{user}@/{dbname}?host={host}")
    schema.upgrade(opened)
    opened.close()


record_server = factories.postgresql_noproc(
    dbname="record", depends_on="postgres_server", load=[_with_schema]
)
record_connection = factories.postgresql("record_server")


@pytest.fixture(params=DATABASES)
def database_url(request, tmp_path):
    """The URL of a store of this test's own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store/record.db"
    connection = request.getfixturevalue("record_connection")
    return f"postgresql://postgres@/{connection.info.dbname}?host={connection.info.host}"


@pytest.fixture
def database(database_url):
    """A store with the newest schema."""
    opened = Database(database_url)
    schema.upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture
def keyring():
    return new_keyring()


@pytest.fixture
def options(database_url, tmp_path):
    return RecordOptions(
        database_url=database_url, spool=str(tmp_path / "spool"), keyring=str(tmp_path / "keyring")
    )


@pytest.fixture
def recorder(options, keyring):
    opened = SpoolRecorder(Path(options.spool), keyring)
    yield opened
    opened.close()


@pytest.fixture
def drainer(database, keyring, options):
    made = Drainer(database, keyring, options)
    yield made
    made.stop()
