"""A developer makes a profile and plays the client against it, with nothing but the command line."""

import json
import stat
import time

import pytest
from typer.testing import CliRunner

from service.cds_hooks.clients import ClientRegistry
from service.cds_hooks.jwks import KeyCache
from service.cds_hooks.replay import SqliteJtiStore
from service.cds_hooks.trust import endpoint_paths, verify
from service.clients_cli import EXIT_REFUSED, app

ISSUER = "https://ehr.example.org"
BASE = "http://127.0.0.1:8080"


@pytest.fixture
def run(tmp_path):
    def command(*arguments):
        return CliRunner().invoke(
            app, list(arguments), env={"DEKACARD_CLIENTS": str(tmp_path / "clients")}
        )

    return command


def make(run, name="mine", **options):
    words = [f for k, v in options.items() for f in (f"--{k}", v)]
    return run("new", name, "--issuer", ISSUER, "--base", BASE, *words)


def test_a_new_profile_and_its_token_open_the_door(run, tmp_path):
    assert make(run).exit_code == 0
    folder = tmp_path / "clients"
    told = run("check")
    assert (told.exit_code, "mine: rules shadow, no drafts" in told.output) == (0, True)
    service = endpoint_paths("vitamin-dk-patient-view")
    token = run(
        "mint-token", "--key", str(folder / "mine.private.jwk.json"), "--issuer", ISSUER,
        "--audience", BASE + service[0],
    ).output.strip()  # fmt: skip
    registry, store = ClientRegistry.load(folder), SqliteJtiStore(file=tmp_path / "used.sqlite")
    keys = KeyCache(read_secret=registry.secret)
    client = verify(
        token, audience=service, registry=registry, keys=keys, jti_store=store, now=time.time()
    )
    assert client.profile.id == "mine"
    store.close()


def test_the_private_key_is_for_its_owner_and_not_in_the_public_set(run, tmp_path):
    make(run)
    private = tmp_path / "clients" / "mine.private.jwk.json"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    public = json.loads((tmp_path / "clients" / "mine.jwks.json").read_text())
    assert "d" in json.loads(private.read_text())
    assert "d" not in public["keys"][0]


def test_with_an_address_of_keys_none_are_made(run, tmp_path):
    assert make(run, jku="https://ehr.example.org/jwks").exit_code == 0
    assert [p.name for p in (tmp_path / "clients").iterdir()] == ["mine.yaml"]


def test_nothing_is_overwritten_and_nothing_wrong_is_left_behind(run, tmp_path):
    assert make(run, name="Not Allowed").exit_code == EXIT_REFUSED
    assert list((tmp_path / "clients").iterdir()) == []
    make(run)
    before = (tmp_path / "clients" / "mine.yaml").read_text()
    assert make(run).exit_code == EXIT_REFUSED
    assert (tmp_path / "clients" / "mine.yaml").read_text() == before


def test_a_wrong_profile_and_a_wrong_key_set_are_named(run, tmp_path):
    make(run)
    (tmp_path / "clients" / "mine.jwks.json").write_text('{"keys": []}')
    told = run("check")
    assert told.exit_code == EXIT_REFUSED
    assert "no usable key" in told.output
    (tmp_path / "clients" / "mine.yaml").write_text("id: mine\n")
    told = run("check")
    assert told.exit_code == EXIT_REFUSED
    assert "rules" in told.output
    assert (
        run("mint-token", "--key", "none", "--issuer", "a", "--audience", "b").exit_code
        == EXIT_REFUSED
    )
