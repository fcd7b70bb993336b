"""Connections: none outlives the store it belongs to."""

import sqlite3

import psycopg
import pytest


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
