"""The schema goes up and down on both databases, and a store that does not fit is refused with the remedy."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from service.alerts import models, schema
from service.alerts.keyring import new_keyring
from service.alerts.past_answers import NEWEST_SCHEMA, store_marks


def test_down_and_up_again_gives_exactly_the_tables_that_the_code_describes(database):
    schema.downgrade(database)
    assert schema.revision_of(database) is None
    with pytest.raises(schema.SchemaError, match="db upgrade"):
        schema.require_current(database)
    schema.upgrade(database)
    schema.require_current(database)
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), models.metadata) == []


def test_every_step_goes_down_and_up(database):
    while (here := schema.revision_of(database)) is not None:
        schema.downgrade(database, "-1")
        after = schema.revision_of(database)
        schema.upgrade(database, "+1")
        assert schema.revision_of(database) == here
        schema.downgrade(database, "-1")
        assert schema.revision_of(database) == after


def test_an_older_schema_is_refused_with_the_command_that_helps(database):
    schema.downgrade(database, "-1")
    with pytest.raises(schema.SchemaError, match=r"older schema.*db upgrade"):
        schema.require_current(database)


def test_an_unknown_newer_schema_is_refused(database):
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(schema.SchemaError, match="newer version"):
        schema.require_current(database)


def test_a_store_is_opened_only_with_the_keys_it_was_made_with(database):
    ours = new_keyring()
    schema.require_keyring(database, ours)
    schema.require_keyring(database, ours)
    with pytest.raises(schema.SchemaError, match="another keyring"):
        schema.require_keyring(database, new_keyring())


def test_the_quick_look_agrees_with_the_careful_one(database, database_url):
    keyring = new_keyring()
    schema.require_keyring(database, keyring)
    assert store_marks(database_url)[0] == schema.newest_revision() == NEWEST_SCHEMA
    schema.downgrade(database)
    assert store_marks(database_url) is None


def test_sqlite_tables_are_strict(database):
    if not database.is_sqlite:
        return
    with database.reading() as connection:
        kinds = connection.execute(
            text("SELECT name, strict FROM pragma_table_list WHERE type = 'table'")
        ).all()
        loose = {name for name, strict in kinds if not strict} - {
            "alembic_version",
            "sqlite_schema",
            "sqlite_sequence",
            "sqlite_temp_schema",
        }
        settings = [
            connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "recursive_triggers", "synchronous", "foreign_keys")
        ]
    assert not loose
    assert settings == ["wal", 1, 2, 1]
