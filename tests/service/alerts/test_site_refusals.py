"""What an operator asks for in vain, and what a site says when a part of it does not work."""

import asyncio
import contextlib
import gc
import io
import sqlite3
import threading
import types
import zipfile

import msgspec
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from service import backup, evidence_vault, pack_archive, reloading, replay, rollout
from service.alerts import models
from service.alerts.keyring import new_keyring, with_new_evidence_key, write_keyring
from service.cli import app
from service.knowledge_swap import EngineShelf
from service.reloading import Reloader
from service.rollout import ModeBoard
from service.silence_board import SilenceBoard
from tests.service.alerts.stories import RULE, RULES, call, cards_for, recommendation, reviewed
from tests.service.alerts.test_swap import Lent
from tests.service.dashboard.production import CLIENT, NOON


def rows(store, table):
    with store.reading() as connection:
        return connection.execute(select(table)).all()


# The operator's commands ------------------------------------------------------------------------------------------


def test_keys_are_never_overwritten(tmp_path):
    write_keyring(tmp_path / "keys.json", new_keyring())
    before = (tmp_path / "keys.json").read_bytes()
    done = CliRunner().invoke(app, ["db", "keys", "--keyring", str(tmp_path / "keys.json")])
    assert done.exit_code == 1
    assert "Keys are never overwritten" in done.output
    assert (tmp_path / "keys.json").read_bytes() == before


@pytest.mark.parametrize("same", [True, False])
def test_a_replay_prints_its_answer_and_its_exit_code_says_whether_it_differs(
    database, database_url, keyring, tmp_path, monkeypatch, same
):
    write_keyring(tmp_path / "keys.json", keyring)
    done = replay.Replayed(
        evaluation="e", as_of=NOON, knowledge={}, recorded=msgspec.Raw(b"{}"), replayed=msgspec.Raw(b'{"a":1}'),
        same=same, since={},
    )  # fmt: skip
    monkeypatch.setattr(replay, "replay", lambda *_, **__: done)
    words = ["replay", "e", "--client", CLIENT, "--store", database_url, "--keyring", str(tmp_path / "keys.json")]  # fmt: skip
    told = CliRunner().invoke(app, [*words, "--json", "--no-compare"])
    assert (told.exit_code, told.stdout) == (0 if same else 11, '{"a":1}\n')
    told = CliRunner().invoke(app, [*words, "--no-compare"])
    assert told.stdout == ("the same bytes\n" if same else "DIFFERENT from what was recorded\n")


@pytest.mark.parametrize(
    ("recorded", "now", "refused"),
    [("1.9.0", "2.0.0", True), ("2.0.0", "2.7.1", False), ("unknown", "2.0.0", False)],
)
def test_another_major_version_does_not_replay(monkeypatch, recorded, now, refused):
    monkeypatch.setattr(replay, "software_version", lambda: now)
    with pytest.raises(replay.ReplayFailed, match="with that major version") if refused else contextlib.nullcontext():  # fmt: skip
        replay._refuse_other_major(recorded)


def test_archived_packs_that_no_longer_run_are_told_without_what_they_said(tmp_path):
    provenance = {"as_of": NOON.isoformat(), "today": "2026-11-22", "software": "0.1.0"}
    found = reviewed(recommendation())
    kept = types.SimpleNamespace(fact_set=lambda: found.facts, user="", history=(), quiet=(), asked=())  # fmt: skip
    with pytest.raises(replay.ReplayFailed, match="do not run with this version") as told:
        replay._in_own_process(kept, provenance, [tmp_path / "MRN-canary"], "compiled")
    assert "canary" not in str(told.value)


def test_an_archived_pack_that_would_fill_the_disk_is_not_unpacked(tmp_path, monkeypatch):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("core/big.txt", "x" * 101)
    monkeypatch.setattr(pack_archive, "_LARGEST", 100)
    with pytest.raises(pack_archive.ArchiveMissing, match="larger than any pack"):
        pack_archive._extract(packed.getvalue(), "0", tmp_path / "in")
    assert not (tmp_path / "in").exists()


def test_evidence_is_sealed_anew_in_rounds_until_all_is(
    database, keyring, recorder, drainer, monkeypatch
):
    for number in range(3):
        made, found = call(number, patient=f"p{number}"), reviewed(recommendation(about=f"k{number}"))  # fmt: skip
        recorder.record(made, found, cards_for(keyring, made, found), may_speak=RULES)
    drainer.drain()
    monkeypatch.setattr(evidence_vault, "_ROTATED_AT_ONCE", 2)
    fresh, done = with_new_evidence_key(keyring), []
    while some := database.write(lambda connection: evidence_vault.rotate(connection, fresh)):
        done.append(some)
    assert max(done) == 2
    for table in (models.evidence, models.patient, models.issued_card):
        assert {row.sealed_with for row in rows(database, table)} == {"e2"}


# Copies -----------------------------------------------------------------------------------------------------------


def test_a_copy_goes_back_into_a_store_of_its_own_kind_only(database, database_url, tmp_path):
    if not database.is_sqlite:
        return
    backup.backup(database_url, tmp_path / "copy", NOON)
    with pytest.raises(backup.BackupFailed, match="of sqlite; give the URL"):
        backup.restore("postgresql://nobody@127.0.0.1:1/none", tmp_path / "copy")


def test_a_damaged_store_is_not_copied_without_a_word(tmp_path):
    file = tmp_path / "record.db"
    with contextlib.closing(sqlite3.connect(file)) as made:
        made.execute("CREATE TABLE t (a TEXT)")
        made.execute("CREATE INDEX i ON t (a)")
        made.executemany("INSERT INTO t VALUES (?)", [(f"value {n:05}",) for n in range(2000)])
        made.commit()
    body = file.read_bytes()
    place = body.rindex(b"value 01000")
    file.write_bytes(body[:place] + b"value 09999" + body[place + 11 :])
    with pytest.raises(backup.BackupFailed, match="the copy is damaged"):
        backup._copy_sqlite(f"sqlite:///{file}", tmp_path / "copy")


def test_what_a_program_of_the_database_says_last_is_told(database, database_url, tmp_path):
    if database.is_sqlite:
        return
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    for script, says in (("echo first >&2; echo last >&2; exit 3", "last"), ("exit 3", "exit 3")):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        with pytest.raises(backup.BackupFailed, match=f"pg_dump: {says}"):
            backup.backup(database_url, tmp_path / says, NOON, programs=program.parent)


# Boards and packs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", [ModeBoard, SilenceBoard])
def test_a_board_without_a_store_holds_nothing_and_asks_nobody(board):
    held = board()
    held.renew()
    assert not (held.of("t") if board is ModeBoard else held.of("t", lambda: "p", NOON))


@pytest.mark.parametrize(("board", "module"), [(ModeBoard, "rollout"), (SilenceBoard, "silence_board")])  # fmt: skip
def test_many_calls_at_once_read_the_store_once(board, module):
    """The second call comes while the first is being let through: it finds the work begun."""
    held = board()
    began = []
    held._try_to_renew = lambda: began.append(threading.get_ident())
    held._renewed = -1e9
    with held._lock:
        waiting = [threading.Thread(target=held._renew_in_background) for _ in range(4)]
        for one in waiting:
            one.start()
    for one in waiting:
        one.join()
    for one in threading.enumerate():
        if one.name in {"mode-board", "silence-board"}:
            one.join()
    assert len(began) == 1, module


def test_a_second_change_of_mode_replaces_the_first(database, keyring):
    for after in ("live", "review"):
        rollout.ask(
            database, keyring, tenant="t", rule=RULE, before="shadow", after=after, reason="seen enough",
            actor="user/ann", at=NOON, second_person=False,
        )  # fmt: skip
    (kept,) = rows(database, models.rule_mode)
    assert kept.mode == "review"


def test_packs_that_break_in_any_way_are_refused_and_the_old_ones_stay():
    old, fresh = Lent(), Lent(digest="two")
    shelf = EngineShelf(old, trials=lambda _: [])

    def broken():
        raise ZeroDivisionError("MRN-canary")

    def no_exchange(_step):
        raise RuntimeError("MRN-canary")

    for told in (shelf.reload(broken), shelf.reload(lambda: fresh, no_exchange)):
        assert not told.accepted
        assert "Error" in told.problems[0]
        assert "canary" not in str(told.problems)
    assert shelf.engine is old
    assert (old.closed, fresh.closed, shelf.reloads) == (0, 1, 0)


@pytest.mark.parametrize("early", [True, False])
def test_a_reload_that_was_asked_for_by_a_signal_comes_once_the_loop_runs(monkeypatch, early):
    fresh = Lent(digest="two")
    shelf = EngineShelf(Lent(), trials=lambda _: [])
    kept = []
    parts = types.SimpleNamespace(
        shelf=shelf, engine=shelf.engine, settings=None, keep_packs=lambda: kept.append(shelf.engine)
    )  # fmt: skip
    monkeypatch.setattr(reloading, "build_engine", lambda _: fresh)
    reloader = Reloader(parts)

    async def serve():
        if early:
            reloader.ask()
        reloader.begin()
        if not early:
            reloader.ask()
            await asyncio.sleep(0)
        assert shelf.engine is not fresh
        await reloader.end()

    gc.freeze()
    try:
        asyncio.run(serve())
        assert gc.get_freeze_count() > 0, (
            "what was kept out of the rounds of the collector still is"
        )
    finally:
        gc.unfreeze()
    assert kept == [fresh]
    assert shelf.reloads == 1


def test_what_fails_between_two_reviews_is_told_to_who_waits_for_it():
    from concurrent.futures import Future

    done, failed = Future(), Future()
    reloading._run(lambda: None, done)
    reloading._run(lambda: 1 / 0, failed)
    assert done.result(timeout=1) is None
    with pytest.raises(ZeroDivisionError):
        failed.result(timeout=1)
