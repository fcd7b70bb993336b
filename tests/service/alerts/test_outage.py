"""Nothing that was acknowledged is lost, and nothing comes twice: after kills, outages, locks and full disks."""

from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from service.alerts import models
from service.alerts.database import Database
from service.alerts.drainer import Drainer
from service.alerts.record import open_record
from service.alerts.schema import SchemaError
from service.alerts.spool_reader import segments
from tests.service.alerts import kill, outage
from tests.service.alerts.patience import wait_until
from tests.service.alerts.stories import RULES, call, recommendation, reviewed

KILLS = 10


def count(database, table, *where):
    with database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table).where(*where))


def test_kills_during_writes_lose_no_acknowledged_line(database_url, database, tmp_path):
    database.close()
    acknowledged = kill.kill_again_and_again(tmp_path, database_url, KILLS)
    result = kill.missing(tmp_path, database_url, acknowledged)
    assert result["acknowledged"] > KILLS
    assert (result["lost"], result["twice"], result["faults"]) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_outage_under_load_answers_every_call_and_loses_nothing(tmp_path, kind):
    """The database is taken away while calls go on, and given back (python -m tests.service.alerts.outage)."""
    found = outage.measure(tmp_path, kind, 3)
    assert found["answered_during"] > outage.FEWEST
    assert found["spool_bytes"] > 0
    bad = ("unanswered", "lost", "twice", "unaudited", "faults")
    assert {name: found[name] for name in bad} == dict.fromkeys(bad, 0)


def test_a_store_that_is_locked_for_long_only_waits(
    database, database_url, options, recorder, drainer
):
    if not database.is_sqlite:
        return
    with database.writing():
        for number in range(50):
            assert recorder.record(call(number), reviewed(recommendation()))
    drainer.drain()
    assert count(database, models.evaluation) == 50


def test_a_store_whose_disk_is_full_only_waits(database, recorder, drainer):
    if not database.is_sqlite:
        return
    drainer.drain()
    with database.writing() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar()

    def cap(connection, _record):
        connection.execute(f"PRAGMA max_page_count={pages}")

    from sqlalchemy import event

    database._writers.dispose()
    event.listen(database._writers, "connect", cap)
    for number in range(200):
        assert recorder.record(call(number, patient=f"p{number}"), reviewed(recommendation()))
    with pytest.raises(Exception, match="store refused a write"):
        drainer.drain()
    event.remove(database._writers, "connect", cap)
    database._writers.dispose()
    drainer.drain()
    assert count(database, models.evaluation) == 200
    assert count(database, models.spool_reject) == 0


def test_a_store_set_back_to_an_older_backup_catches_up_from_the_spool(
    database, options, keyring, recorder
):
    first = Drainer(database, keyring, options)
    for number in range(20):
        recorder.record(call(number), reviewed(recommendation()))
    first.drain()
    first.stop()
    with database.writing() as connection:
        for table in (models.occurrence, models.spool_position):
            connection.execute(table.delete())
        connection.execute(models.evaluation.delete().where(models.evaluation.c.id != call(3).id))
    again = Drainer(database, keyring, options)
    again.drain()
    again.stop()
    assert count(database, models.evaluation) == 20


def test_two_drainers_on_one_folder_never_work_at_once(database, options, keyring, recorder):
    recorder.record(call(1), reviewed(recommendation()))
    first, second = Drainer(database, keyring, options), Drainer(database, keyring, options)
    assert first.drain() == 1
    recorder.record(call(2), reviewed(recommendation()))
    assert second.drain() == 0
    first.stop()
    assert second.drain() == 1
    second.stop()


def test_what_a_dead_process_had_begun_to_commit_is_not_taken_in_again(
    database, options, keyring, recorder
):
    """Positions read before its commit came through are behind: lines that were put aside would be so twice."""
    late, dying = Drainer(database, keyring, options), Drainer(database, keyring, options)
    assert late.drain() == 0  # holds the folder, and has read the positions
    _write_one_damaged_line(options, recorder)
    dying._lock = lambda: True
    assert dying.drain() == 2
    late.drain()
    late.stop()
    assert count(database, models.spool_reject) == 2


def _write_one_damaged_line(options, recorder):
    recorder.record(call(1), reviewed(recommendation()))
    (path,) = segments(Path(options.spool))
    path.write_bytes(b"0badbad0 {}\n" + path.read_bytes()[20:])


def test_drained_files_of_dead_writers_go_and_living_ones_stay(
    database, options, keyring, recorder, tmp_path
):
    import msgspec

    from service.alerts.recorder import SpoolRecorder

    drainer = Drainer(database, keyring, msgspec.structs.replace(options, keep_drained_hours=0))
    dead = SpoolRecorder(tmp_path / "spool", keyring)
    dead.record(call(1), reviewed(recommendation()))
    dead.close()
    recorder.record(call(2), reviewed(recommendation()))
    drainer.drain()
    assert len(list((tmp_path / "spool").glob("*.spool"))) == 1
    assert count(database, models.evaluation) == 2
    assert count(database, models.spool_position) == 1
    drainer.stop()


def test_the_record_opens_makes_what_is_missing_and_refuses_what_does_not_fit(
    database_url, tmp_path, options
):
    record = open_record(options, create_keys=True, upgrade=True)
    record.record(call(1), reviewed(recommendation()), may_speak=RULES)
    wait_until(lambda: count(record.database, models.evaluation) == 1)
    record.close()
    opened = Database(database_url)
    with opened.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    opened.close()
    with pytest.raises(SchemaError, match="newer version"):
        open_record(options, create_keys=False, upgrade=False)
