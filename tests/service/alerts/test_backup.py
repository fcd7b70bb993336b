"""A copy made in use, checked byte by byte, put back with everything in it; never over what is there."""

import pytest
from sqlalchemy import func, select

from service import audit
from service.alerts import models, schema
from service.alerts.database import Database
from service.backup import BackupFailed, backup, read_manifest, restore
from tests.service.alerts import postgres
from tests.service.alerts.stories import NOON, RULES, call, recommendation, reviewed


@pytest.fixture(scope="session")
def programs():
    """PostgreSQL's own programs, of the version of the test server."""
    return postgres.programs()


@pytest.fixture
def filled(database, recorder, drainer):
    for number in range(30):
        recorder.record(
            call(number, patient=f"p{number % 4}"), reviewed(recommendation()), may_speak=RULES
        )
    drainer.drain()
    return database


def contents(database):
    with database.reading() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in models.metadata.sorted_tables
        }


def test_a_restored_store_is_the_same_and_goes_on(
    filled, database_url, tmp_path, programs, recorder, drainer, keyring
):
    before = contents(filled)
    manifest = backup(database_url, tmp_path / "copy", NOON, programs=programs)
    assert manifest.schema == schema.newest_revision()
    recorder.record(call(99), reviewed(recommendation()), may_speak=RULES)
    drainer.drain()
    assert contents(filled) != before
    with pytest.raises(BackupFailed, match="--replace"):
        restore(database_url, tmp_path / "copy", programs=programs)
    filled.close()
    drainer.stop()
    restore(database_url, tmp_path / "copy", replace=True, programs=programs)
    opened = Database(database_url)
    assert contents(opened) == before
    schema.require_current(opened)
    with opened.reading() as connection:
        assert audit.verify(connection, keyring) == []
    drainer._database, drainer._positions = opened, None
    drainer.drain()
    with opened.reading() as connection:
        count = connection.scalar(select(func.count()).select_from(models.evaluation))
    opened.close()
    assert count == 31, "what came after the copy is still in the spool, and is taken in again"


def test_a_store_in_use_is_not_replaced(
    filled, database_url, tmp_path, programs, recorder, drainer
):
    """Who has it open would go on in the old one, and what comes now would be in neither for long."""
    backup(database_url, tmp_path / "copy", NOON, programs=programs)
    with pytest.raises(BackupFailed, match="in use"):
        restore(database_url, tmp_path / "copy", replace=True, programs=programs)
    recorder.record(call(99), reviewed(recommendation()), may_speak=RULES)
    drainer.drain()
    with filled.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(models.evaluation)) == 31
    filled.close()
    restore(database_url, tmp_path / "copy", replace=True, programs=programs)


def test_a_damaged_store_is_replaced(filled, database_url, tmp_path, programs):
    if not filled.is_sqlite:
        return
    backup(database_url, tmp_path / "copy", NOON)
    filled.close()
    file = tmp_path / "store" / "record.db"
    file.write_bytes(b"no database at all" * 1000)
    restore(database_url, tmp_path / "copy", replace=True)
    schema.require_current(filled)


def test_a_copy_is_checked_and_never_overwritten(filled, database_url, tmp_path, programs):
    backup(database_url, tmp_path / "copy", NOON, programs=programs)
    with pytest.raises(BackupFailed, match="not empty"):
        backup(database_url, tmp_path / "copy", NOON, programs=programs)
    file = tmp_path / "copy" / read_manifest(tmp_path / "copy").file
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(body)
    with pytest.raises(BackupFailed, match="not the file"):
        restore(database_url, tmp_path / "copy", replace=True, programs=programs)


def test_what_cannot_be_copied_or_is_no_copy_is_said(database, database_url, tmp_path, programs):
    with pytest.raises(BackupFailed, match="no backup"):
        restore(database_url, tmp_path, programs=programs)
    schema.downgrade(database)
    with pytest.raises(BackupFailed, match="empty"):
        backup(database_url, tmp_path / "copy", NOON, programs=programs)


def test_missing_programs_are_named(database, database_url, tmp_path):
    if database.is_sqlite:
        return
    with pytest.raises(BackupFailed, match="pg_dump is not installed"):
        backup(database_url, tmp_path / "copy", NOON, programs=tmp_path)


def test_the_copy_holds_no_key(filled, database_url, tmp_path, programs, keyring):
    backup(database_url, tmp_path / "copy", NOON, programs=programs)
    held = b"".join(path.read_bytes() for path in (tmp_path / "copy").iterdir())
    for key in (keyring.identity, *keyring.audit.values(), *keyring.evidence.values()):
        assert key not in held
