"""A token is used once, whichever worker and whichever database sees it first."""

import subprocess
import sys
import textwrap
import uuid

import pytest
from sqlalchemy import create_engine, text

from rules.errors import Unavailable
from service.cds_hooks.replay import PostgresJtiStore, SqliteJtiStore, open_jti_store
from tests.service.alerts.postgres import running_server

NOW = 1_000_000.0

WORKER = textwrap.dedent("""
    import sys
    from service.cds_hooks.replay import open_jti_store
    store = open_jti_store(sys.argv[1])
    sys.stdin.readline()
    print(sum(store.first_use("iss", str(n), expires=2e6, now=1e6) for n in range(200)))
""")


@pytest.fixture(scope="module")
def postgres():
    """The address of a server that may be shared with other tests."""
    with running_server() as sockets:
        yield f"postgresql+psycopg://postgres@/{{}}?host={sockets}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/used.sqlite"
        return
    address = request.getfixturevalue("postgres")
    name = f"used_{uuid.uuid4().hex}"
    server = create_engine(address.format("postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield address.format(name)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.mark.requirement("C70")
def test_workers_of_their_own_share_what_was_used(url):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    counts = [int(worker.communicate("go\n", timeout=60)[0]) for worker in workers]
    assert sum(counts) == 200


def test_what_has_expired_is_forgotten_and_the_rest_is_not(url):
    store = open_jti_store(url)
    assert store.first_use("iss", "old", expires=NOW + 1, now=NOW)
    assert store.first_use("iss", "new", expires=NOW + 900, now=NOW)
    store._swept = float("-inf")
    assert store.first_use("iss", "old", expires=NOW + 900, now=NOW + 2)
    assert not store.first_use("iss", "new", expires=NOW + 900, now=NOW + 2)
    store.close()


def test_issuer_and_id_are_not_run_together(url):
    store = open_jti_store(url)
    assert store.first_use("ab", "c", expires=NOW, now=NOW)
    assert store.first_use("a", "bc", expires=NOW, now=NOW)
    assert store.first_use("a", "b\ud800", expires=NOW, now=NOW)
    store.close()


def test_a_store_that_does_not_answer_says_so(tmp_path):
    with pytest.raises(Unavailable):
        SqliteJtiStore(file=tmp_path).first_use("a", "b", expires=NOW, now=NOW)
    nowhere = "postgresql+psycopg://nobody@/none?host=/nonexistent"
    with pytest.raises(Unavailable):
        PostgresJtiStore(url=nowhere).first_use("a", "b", expires=NOW, now=NOW)


def test_a_database_that_is_locked_is_not_waited_for_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("service.cds_hooks.replay._PATIENCE", 0.05)
    first, second = (SqliteJtiStore(file=tmp_path / "used.sqlite") for _ in range(2))
    assert first.first_use("a", "1", expires=NOW, now=NOW)
    first._connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        second.first_use("a", "2", expires=NOW, now=NOW)
    first._connection.execute("ROLLBACK")
    assert second.first_use("a", "2", expires=NOW, now=NOW)
    first.close()
    second.close()


def test_other_databases_are_refused():
    with pytest.raises(ValueError, match="sqlite"):
        open_jti_store("mysql://x")


def test_whether_a_token_was_used_is_asked_without_using_it(url):
    store = open_jti_store(url)
    assert not store.was_used("iss", "once", now=NOW)
    assert store.first_use("iss", "once", expires=NOW + 10, now=NOW)
    assert store.was_used("iss", "once", now=NOW)
    assert not store.was_used(
        "iss", "once", now=NOW + 11
    )  # an expired token is refused by its time
    assert not store.was_used("other", "once", now=NOW)
    store.close()


def test_a_store_that_nobody_asked_is_closed_without_being_opened():
    nowhere = "postgresql+psycopg://nobody@/none?host=/nonexistent"
    store = PostgresJtiStore(url=nowhere)
    store.close()
    with pytest.raises(Unavailable, match="used tokens"):
        store.was_used("a", "b", now=NOW)
