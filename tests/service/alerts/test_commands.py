"""The record as an operator meets it: the commands, on both databases, after real calls."""

import json
import re
import sqlite3
from contextlib import closing

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from typer.testing import CliRunner

from service.alerts import models
from service.alerts.database import Database
from service.alerts.keyring import new_keyring, write_keyring
from service.app import create_app
from service.cli import app
from service.settings import Settings
from tests.service.alerts import kill, postgres
from tests.service.alerts.patience import wait_until
from tests.service.alerts.stories import NOON

T = "developer"
VIEW = "/cds-services/vitamin-dk-patient-view"


class Operator:
    """A shell with the settings of the site."""

    def __init__(self, url, folder):
        self.url, self.folder = url, folder
        self.spool, self.keys = folder / "spool", folder / "keys.json"
        self.set = {"DEKACARD_STORE_URL": url, "DEKACARD_KEYRING": str(self.keys)}

    def say(self, *words, code=0, **settings):
        done = CliRunner().invoke(app, list(words), env=self.set | settings)
        assert done.exit_code == code, (words, done.output, done.exception)
        return done.output

    def look(self, table, *columns):
        with closing(Database(self.url)) as opened, opened.reading() as connection:
            return connection.execute(select(*(table.c[name] for name in columns))).all()

    def tamper(self, statement):
        """Straight into the database, past its triggers, as somebody may who owns it."""
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.partition(":///")[2])) as owned:
                named = "SELECT name FROM sqlite_master WHERE type='trigger' AND tbl_name='audit'"
                for (name,) in owned.execute(named).fetchall():
                    owned.execute(f'DROP TRIGGER "{name}"')
                owned.execute(statement)
                owned.commit()
            return
        with psycopg.connect(self.url) as owned:
            owned.execute("ALTER TABLE audit DISABLE TRIGGER ALL")
            owned.execute(statement)


@pytest.fixture
def operator(database_url, tmp_path):
    """Keys and schema made by command, then three calls of a real service that has stopped again."""
    made = Operator(database_url, tmp_path)
    assert "keep a copy of it apart" in made.say("db", "keys")
    made.say("db", "upgrade")
    settings = Settings(
        dev=True, store_url=database_url, spool_dir=made.spool, keyring=made.keys, engine="compiled"
    )
    bodies = [json.loads(path.read_text()) for path in sorted(kill.EXAMPLES.glob("0[145]-*.json"))]
    serving = create_app(settings, clock=lambda: NOON)
    with TestClient(serving, base_url="http://127.0.0.1:8080") as client:
        for body in bodies:
            assert client.post(VIEW, json=body).status_code == 200
        wait_until(lambda: len(made.look(models.evaluation, "id")) == len(bodies))
        wait_until(lambda: made.look(models.pack_archive, "digest"))
    return made


def test_an_edited_audit_line_is_named_and_heads_kept_elsewhere_find_a_cut(operator):
    heads = operator.folder / "heads.jsonl"
    heads.write_text(operator.say("audit", "heads"))
    assert "the trail is whole: 3 lines" in operator.say("audit", "verify", "--heads", str(heads))
    operator.tamper("UPDATE audit SET actor = 'somebody else' WHERE seq = 2")
    assert "developer line 2: was altered" in operator.say("audit", "verify", code=10)
    operator.tamper("DELETE FROM audit WHERE seq >= 2")
    operator.tamper("DELETE FROM audit_head")
    assert operator.say("audit", "verify", "--heads", str(heads), code=10)


def test_a_copy_is_put_back_elsewhere_whole_and_replays_the_same_bytes(operator, tmp_path, request):
    programs = ["--pg-bin", str(postgres.programs())]
    operator.say("backup", str(tmp_path / "copy"), *programs)
    if operator.url.startswith("sqlite"):
        elsewhere = f"sqlite:///{tmp_path}/elsewhere/record.db"
    else:
        with psycopg.connect(operator.url, autocommit=True) as server:
            server.execute("CREATE DATABASE elsewhere")
        elsewhere = re.sub(r"/[^/?]+\?", "/elsewhere?", operator.url)

        def drop():
            with psycopg.connect(operator.url, autocommit=True) as server:
                server.execute("DROP DATABASE elsewhere WITH (FORCE)")

        request.addfinalizer(drop)
    operator.say("restore", str(tmp_path / "copy"), "--store", elsewhere, *programs)
    there = Operator(elsewhere, operator.folder)
    assert "the trail is whole: 3 lines" in there.say("audit", "verify")
    for (number,) in operator.look(models.evaluation, "id"):
        told = there.say("replay", number, "--client", T)
        assert told.startswith("the same bytes\n")
        assert "today changed: nothing" in told


def test_keys_are_made_once_and_a_replay_prints_the_answer_it_came_to(operator):
    kept = operator.keys.read_bytes()
    refused = CliRunner().invoke(app, ["db", "keys"], env=operator.set)
    assert refused.exit_code != 0
    assert "Keys are never overwritten" in refused.output
    assert operator.keys.read_bytes() == kept
    number = operator.look(models.evaluation, "id")[0][0]
    told = operator.say("replay", number, "--client", T, "--json", "--no-compare")
    assert {"recommendations", "provenance"} <= set(json.loads(told))


def test_evidence_sealed_with_an_old_key_is_read_after_the_rotation(operator):
    ((before,),) = {tuple(row) for row in operator.look(models.evidence, "sealed_with")}
    assert "are sealed with key e2" in operator.say("db", "rotate-keys")
    assert {row[0] for row in operator.look(models.evidence, "sealed_with")} == {"e2"} != {before}
    for (number,) in operator.look(models.evaluation, "id"):
        assert operator.say("replay", number, "--client", T).startswith("the same bytes\n")
    assert "the trail is whole" in operator.say("audit", "verify")


def test_accounts_and_tokens_are_made_listed_and_made_worthless(operator):
    operator.say("users", "new", "ann", "--client", T, "--role", "lead")
    secret = operator.say("users", "token", "ann", "--client", T).strip()
    listed = operator.say("users", "list", "--client", T)
    assert listed.startswith("ann  lead")
    assert secret not in listed
    token = listed.split()[-1]
    assert "worth nothing" in operator.say("users", "revoke", token, "--client", T)
    assert "(revoked)" in operator.say("users", "list", "--client", T)
    operator.say("users", "disable", "ann", "--client", T)
    assert "no such token" in operator.say("users", "revoke", token, "--client", T, code=1)


def test_what_is_wrong_with_a_store_is_a_sentence_and_nothing_is_made(operator, tmp_path):
    nowhere = tmp_path / "typo" / "record.db"
    for words in (["audit", "verify"], ["users", "list", "--client", T], ["db", "rotate-keys"]):
        told = operator.say(*words, "--store", f"sqlite:///{nowhere}", code=1)
        assert "there is no store at" in told
    assert not nowhere.parent.exists()
    for url in ("nonsense", "mysql://root:hunter2@host/x", "sqlite://"):
        told = operator.say("audit", "verify", "--store", url, code=1)
        assert "URL" in told or "needs a file" in told
        assert "hunter2" not in told
    other = tmp_path / "other.json"
    write_keyring(other, new_keyring())
    for words in (["audit", "verify"], ["users", "new", "x", "--client", T, "--role", "reader"]):
        assert "another keyring" in operator.say(*words, "--keyring", str(other), code=1)
    garbage = tmp_path / "heads.jsonl"
    garbage.write_text("no head\n")
    assert "line 1" in operator.say("audit", "verify", "--heads", str(garbage), code=2)
    assert "no such evaluation" in operator.say("replay", "nothing", "--client", T, code=1)


def test_a_new_file_is_readable_by_its_owner_alone(tmp_path):
    made = Operator(f"sqlite:///{tmp_path}/new/record.db", tmp_path)
    made.say("db", "upgrade")
    assert (tmp_path / "new" / "record.db").stat().st_mode & 0o777 == 0o600
