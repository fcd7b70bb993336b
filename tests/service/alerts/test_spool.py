"""The spool keeps what it acknowledged, and tells damage from a line that is still being written."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from service.alerts import models
from service.alerts import spool as spool_module
from service.alerts.drainer import Drainer
from service.alerts.keyring import KeyringError, new_keyring
from service.alerts.lines import LineError, pack_line, unpack_line
from service.alerts.record import Record
from service.alerts.recorder import SpoolRecorder
from service.alerts.spool import BEGUN, Spool
from service.alerts.spool_reader import has_writer, lines_after, segments
from service.alerts.values import AuditEntry, AuditLine, RecordOptions
from tests.service.alerts.stories import NOON, call, recommendation, reviewed


def bodies(folder):
    return [line for path in segments(folder) for line in lines_after(path, 0, limit=10_000)]


def entry(number=0):
    return AuditEntry(tenant="t", at=NOON, actor="user/a", action="view", object=f"alert/{number}")


def test_lines_come_back_in_order_from_any_position(tmp_path):
    opened = Spool(tmp_path)
    for number in range(100):
        opened.append(b'{"n":%d}' % number)
    (path,) = segments(tmp_path)
    first = list(lines_after(path, 0, limit=40))
    rest = list(lines_after(path, first[-1].end, limit=100))
    assert [line.body for line in first + rest] == [b'{"n":%d}' % n for n in range(100)]
    assert has_writer(path)
    opened.close()
    assert not has_writer(path)


def test_a_full_segment_is_followed_by_the_next(tmp_path):
    opened = Spool(tmp_path, segment_bytes=200)
    for number in range(50):
        opened.append(b'{"n":%d,"pad":"xxxxxxxxxx"}' % number)
    opened.close()
    assert len(segments(tmp_path)) > 5
    assert len(bodies(tmp_path)) == 50


def test_a_damaged_line_is_named_and_the_others_are_read(tmp_path):
    opened = Spool(tmp_path)
    for number in range(3):
        opened.append(b'{"n":%d}' % number)
    opened.close()
    (path,) = segments(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"n":1', b'"n":7'))
    assert [line.problem for line in bodies(tmp_path)] == ["", "damaged", ""]


def test_an_unfinished_line_waits_for_its_writer_and_is_torn_without_one(tmp_path):
    opened = Spool(tmp_path)
    opened.append(b"{}")
    (path,) = segments(tmp_path)
    with path.open("ab") as file:
        file.write(b"12345678 {")
    assert [line.problem for line in bodies(tmp_path)] == [""]
    opened.close()
    assert [line.problem for line in bodies(tmp_path)] == ["", "torn"]


def test_a_full_disk_leaves_no_half_line_and_loses_nothing(tmp_path, monkeypatch):
    recorder = SpoolRecorder(tmp_path, new_keyring(encrypt=False))
    real = os.write
    assert recorder.audit(entry(1))
    monkeypatch.setattr(spool_module.os, "write", lambda fd, line: real(fd, line[: len(line) // 2]))
    assert not recorder.audit(entry(2))
    assert recorder.record(call(1), reviewed(recommendation())) is False
    assert recorder.backlog == 2
    monkeypatch.undo()
    assert recorder.audit(entry(3))
    recorder.close()
    found = bodies(tmp_path)
    assert [line.problem for line in found] == [""] * 4
    assert recorder.counters["lost"] == 0


def test_lines_are_sealed_with_the_key_and_open_only_with_it():
    keyring = new_keyring()
    line = AuditLine(id="1", entry=entry())
    body = pack_line(line, keyring)
    assert b"alert/0" not in body
    assert unpack_line(body, keyring) == line
    with pytest.raises(KeyringError):
        unpack_line(body, new_keyring())
    assert unpack_line(pack_line(line, new_keyring(encrypt=False)), keyring) == line
    with pytest.raises(LineError):
        unpack_line(b'{"type":"what"}', keyring)


def test_lines_reach_the_disk_in_groups(tmp_path):
    opened = Spool(tmp_path)
    for _ in range(500):
        opened.append(b"{}")
    opened.close()
    assert opened.lines == 500
    assert opened.syncs < 100


def test_the_card_path_loads_no_database_library():
    code = (
        "import sys; from service.alerts import recorder, record, values, keyring;"
        "print([name for name in ('sqlalchemy', 'alembic', 'psycopg', 'cryptography') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_the_disk_refuses_to_the_end_goes_straight_to_the_store(
    database, options, keyring, monkeypatch, caplog
):
    record = Record(options, keyring)
    record._spool.append = _refuse
    assert not record.audit(entry(1))
    assert not record.audit(entry(2))
    record.close()
    with database.reading() as connection:
        kept = connection.scalars(select(models.audit.c.object)).all()
    assert sorted(kept) == ["alert/1", "alert/2"]
    assert record.counters["lost"] == 0
    assert "2 lines went straight to the store, 0 are lost" in caplog.text


def test_what_neither_disk_nor_store_takes_is_told_as_lost(tmp_path, keyring, caplog):
    options = RecordOptions(
        database_url=f"sqlite:///{tmp_path}/a-folder", spool=str(tmp_path / "spool"), keyring=""
    )
    (tmp_path / "a-folder").mkdir()
    record = Record(options, keyring)
    record._spool.append = _refuse
    record.audit(entry())
    record.close()
    assert record.counters["lost"] == 1
    assert "0 lines went straight to the store, 1 are lost" in caplog.text


def test_no_drainer_takes_a_segment_that_is_only_being_opened_for_one_of_a_dead_writer(
    database, options, keyring, monkeypatch
):
    """The writer stands still between opening its file and locking it: a drainer comes by in that moment."""
    drainer = Drainer(database, keyring, msgspec.structs.replace(options, keep_drained_hours=0))
    writer = SpoolRecorder(Path(options.spool), keyring)
    lock = fcntl.flock

    def lock_late(fd, how):
        monkeypatch.undo()
        drainer.drain()
        lock(fd, how)

    monkeypatch.setattr(spool_module.fcntl, "flock", lock_late)
    assert writer.audit(entry(7))
    writer.close()
    drainer.drain()
    drainer.stop()
    with database.reading() as connection:
        assert connection.scalars(select(models.audit.c.object)).all() == ["alert/7"]


def test_a_segment_whose_writer_died_before_its_first_line_is_swept_away(
    database, options, keyring, drainer
):
    folder = Path(options.spool)
    folder.mkdir()
    old, young = folder / f"1-1-a{BEGUN}", folder / f"2-2-b{BEGUN}"
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    drainer.drain()
    assert not old.exists()
    assert young.exists()


def test_the_name_of_a_new_segment_is_forced_to_disk_too(tmp_path, monkeypatch):
    synced, real = [], os.fsync

    def fsync(fd):
        synced.append(Path(f"/proc/self/fd/{fd}").readlink())
        real(fd)

    monkeypatch.setattr(spool_module.os, "fsync", fsync)
    opened = Spool(tmp_path, segment_bytes=200)
    for number in range(50):
        opened.append(b'{"n":%d,"pad":"xxxxxxxxxx"}' % number)
    opened.close()
    assert tmp_path in synced


def _refuse(_body):
    raise OSError(errno.ENOSPC, "full")
