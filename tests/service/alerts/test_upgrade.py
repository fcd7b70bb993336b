"""A store of any earlier schema, with data in it, is brought up to this version and goes on as if nothing had been."""

from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import select

import service.alerts.schema as schema_module
from service import audit
from service.alerts import models, schema
from service.alerts.lifecycle import Request
from service.alerts.store import Store
from tests.service.alerts.stories import NOON, RULES, call, cards_for, recommendation, reviewed

VERSIONS = Path(schema_module.__file__).parent / "migrations" / "versions"
EARLIER = sorted(file.stem.partition("_")[0] for file in VERSIONS.glob("0*.py"))[:-1]


@pytest.fixture
def filled(database, recorder, drainer, keyring):
    """A store with patients, alerts, answers and an audit trail."""
    schema.require_keyring(database, keyring)
    for number in range(12):
        made, review = call(number, patient=f"p{number % 4}"), reviewed(recommendation())
        recorder.record(made, review, cards_for(keyring, made, review), may_speak=RULES)
    entry = {"card": cards_for(keyring, made, review)[0].uuid, "outcome": "overridden"}
    recorder.feedback(made.tenant, made.service, [entry], NOON)
    drainer.drain()
    return database


def contents(database, only=None):
    """Every row by table, restricted to the tables and columns of ``only``."""
    reflected = sqlalchemy.MetaData()
    with database.reading() as connection:
        reflected.reflect(connection)
        columns = {
            table.name: [column.name for column in table.columns]
            for table in reflected.sorted_tables
            if table.name != "alembic_version"
        }
        chosen = columns if only is None else only
        rows = {
            name: sorted(
                map(repr, connection.execute(select(*(reflected.tables[name].c[c] for c in names))).all())
            )
            for name, names in chosen.items()
        }  # fmt: skip
    return columns, rows


@pytest.mark.parametrize("revision", EARLIER)
def test_data_of_an_earlier_schema_survives_the_upgrade(
    filled, recorder, drainer, keyring, revision
):
    schema.downgrade(filled, revision)
    assert schema.revision_of(filled).startswith(revision)
    then, before = contents(filled)
    assert before["alert"]
    assert before["audit"]
    schema.upgrade(filled)
    schema.require_current(filled)
    schema.require_keyring(filled, keyring)
    assert contents(filled, then)[1] == before
    with filled.reading() as connection:
        assert audit.verify(connection, keyring) == []

    # And it goes on: the same problem is the same alert, and a pharmacist can decide it
    drainer._positions = None
    recorder.record(call(99, patient="p1"), reviewed(recommendation()), may_speak=RULES)
    drainer.drain()
    with filled.reading() as connection:
        rows = connection.execute(select(models.alert).order_by(models.alert.c.id)).all()
    assert len(rows) == 4
    assert sum(row.seen_count for row in rows) == 13
    first = rows[0]
    decided = Store(filled, keyring).change(
        first.tenant, first.id, first.version, Request(action="resolve", actor="user/ann", at=NOON)
    )
    assert decided.state == "resolved"
