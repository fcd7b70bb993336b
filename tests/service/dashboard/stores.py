"""Stores for the doors: each call of ``new_store`` gives the URL of an empty one, in SQLite or in a real PostgreSQL."""

import itertools

import psycopg
import pytest

from service.alerts import schema
from service.alerts.database import Database
from tests.service.alerts.conftest import DATABASES, postgres_server

__all__ = ["new_store", "postgres_server"]

_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=DATABASES)
def new_store(request, tmp_path_factory):
    if request.param == "sqlite":
        yield lambda: f"sqlite:///{tmp_path_factory.mktemp('store')}/r.db"
        return
    server = request.getfixturevalue("postgres_server")
    made = []

    def say(words):
        with psycopg.connect(
            f"host={server.host} user=postgres dbname=postgres", autocommit=True
        ) as held:
            held.execute(words)

    def make():
        name = f"door_{next(_numbers)}"
        say(f"CREATE DATABASE {name}")
        made.append(name)
        opened = Database(f"postgresql://postgres@/{name}?host={server.host}")
        schema.upgrade(opened)
        opened.close()
        return f"postgresql://postgres@/{name}?host={server.host}"

    yield make
    for name in made:
        say(f"DROP DATABASE {name} WITH (FORCE)")
