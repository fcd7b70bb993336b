"""Connections: none outlives the store it belongs to."""

import sqlite3
import threading

import psycopg
import pytest
from sqlalchemy import select

from rules.errors import Unavailable
from service.alerts import database as databases
from service.alerts import models
from tests.service.alerts.patience import wait_until


def is_open(driver_connection):
    if isinstance(driver_connection, psycopg.Connection):
        return not driver_connection.closed
    try:
        driver_connection.total_changes  # noqa: B018 - refused by a closed one
    except sqlite3.ProgrammingError:
        return False
    return True


@pytest.mark.parametrize("name", ["readers", "_writers"])
def test_a_connection_that_comes_back_after_the_end_is_closed(database, name):
    engine = getattr(database, name)
    kept, lent = engine.connect(), engine.connect()
    held, late = (one.connection.driver_connection for one in (kept, lent))
    kept.close()
    assert is_open(held)
    database.close()
    assert not is_open(held)
    assert is_open(late)
    lent.close()
    assert not is_open(late)


def test_whoever_comes_after_the_end_leaves_no_connection_behind(database):
    database.close()
    with database.reading() as connection:
        late = connection.connection.driver_connection
    assert not is_open(late)


def mark(name):
    """A job that leaves a row."""
    return lambda connection: connection.execute(
        models.store_mark.insert().values(name=name, value="x")
    )


def marks(database):
    with database.reading() as connection:
        return set(connection.scalars(select(models.store_mark.c.name))) - {"identity"}


def test_what_waits_when_the_store_is_closed_is_still_written(database, monkeypatch):
    """The end joins a group that is being written."""
    monkeypatch.setattr(databases, "_GROUP_SECONDS", 30)
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection):
        begun.set()
        assert go_on.wait(30)
        mark("first")(connection)

    writing = threading.Thread(target=lambda: database.write(slow))
    writing.start()
    assert begun.wait(30)
    joining = threading.Thread(target=lambda: database.write(mark("second")))
    joining.start()
    wait_until(lambda: database._jobs.qsize() == 1)
    closing = threading.Thread(target=database.close)
    closing.start()
    wait_until(lambda: database._jobs.qsize() == 2)
    go_on.set()
    for one in (writing, joining, closing):
        one.join(20)
        assert not one.is_alive()
    assert marks(database) == {"first", "second"}


def test_a_connection_that_is_lost_in_a_job_is_not_taken_for_a_fault_of_the_job(database):
    if database.is_sqlite:
        return

    def cut_off(connection):
        mark("lost")(connection)
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Unavailable, match="refused a write"):
        database.write(cut_off)
    database.write(mark("later"))
    assert marks(database) == {"later"}
