"""``dekacard config check`` finds what would keep the service from starting, all of it at once, and shows no secret."""

import pytest
import yaml
from typer.testing import CliRunner

from service.alerts import schema
from service.alerts.database import Database
from service.alerts.keyring import new_keyring, write_keyring
from service.cds_hooks.minting import make_key
from service.cli import Exit, app


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site in which everything is right; gives a way to change a setting, and to check."""
    key = make_key("ES384", "k")
    profile = {
        "id": "one", "title": "One", "rules": {"mode": "live", "accept_draft": True},
        "trust": {
            "issuers": ["https://ehr.example.org"], "jwks": key.public_set(),
            "audience_base": "https://cds.example.org",
        },
    }  # fmt: skip
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "one.yaml").write_text(yaml.safe_dump(profile))
    write_keyring(tmp_path / "keys.json", new_keyring())
    database = Database(f"sqlite:///{tmp_path}/record.db")
    schema.upgrade(database)
    database.close()
    monkeypatch.chdir(tmp_path)
    settings = {
        "CLIENTS": tmp_path / "clients", "STORE_URL": f"sqlite:///{tmp_path}/record.db", "ENGINE": "compiled",
        "KEYRING": tmp_path / "keys.json", "SPOOL_DIR": tmp_path / "spool",
        "JTI_STORE": f"sqlite:///{tmp_path}/used.sqlite",
    }  # fmt: skip

    def check(**changed):
        for name, value in (settings | changed).items():
            monkeypatch.setenv(f"DEKACARD_{name}", str(value))
        done = CliRunner().invoke(app, ["config", "check"])
        return done.exit_code, done.output

    check.folder = tmp_path
    return check


def test_a_good_site_passes_and_leaves_nothing_behind(site):
    status, said = site()
    assert status == 0, said
    for told in ("client one", "the keyring can be read", "schema of this version", "used tokens"):
        assert told in said
    assert not (site.folder / "spool").exists()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"ZONE": "Europe/Vienne"}, "zone: 'Europe/Vienne' is none"),
        ({"KEYRING": "nowhere.json"}, "dekacard db keys"),
        ({"RECEIVERS": "nowhere.yaml"}, "receivers: "),
        ({"CLIENTS": "nowhere"}, "client profiles: "),
        ({"STORE_URL": ""}, "set DEKACARD_STORE_URL"),
        ({"JTI_STORE": "redis://x"}, "used tokens: "),
        ({"SPOOL_DIR": "keys.json"}, "is no folder"),
        ({"OIDC": "nowhere.yaml"}, "providers: "),
        ({"PACKS": "nothing"}, "packs and engine: "),
        ({"PROFILE": "nothing"}, "no band profile"),
    ],
)
def test_each_thing_that_is_wrong_is_named(site, changed, told):
    status, said = site(**changed)
    assert status == Exit.SETTINGS_REFUSED, said
    assert told in said
    assert "would keep the service from starting" in said


def test_all_that_is_wrong_is_told_at_once(site):
    status, said = site(ZONE="Mars", KEYRING="nowhere.json", CLIENTS="nowhere")
    assert status == Exit.SETTINGS_REFUSED
    for told in ("zone: ", "keys: ", "client profiles: ", "3 of these"):
        assert told in said


def test_a_store_of_another_schema_or_other_keys_is_found(site):
    database = Database(f"sqlite:///{site.folder}/record.db")
    schema.require_keyring(database, new_keyring())
    database.close()
    assert "another keyring" in site()[1]
    database = Database(f"sqlite:///{site.folder}/record.db")
    schema.downgrade(database, "-1")
    database.close()
    status, said = site()
    assert status == Exit.SETTINGS_REFUSED
    assert "db upgrade" in said


def test_a_store_that_is_down_keeps_nothing_from_starting_and_no_password_is_shown(site):
    status, said = site(STORE_URL="postgresql://dekacard:Quixotryn@127.0.0.1:1/x?connect_timeout=2")
    assert status == 0, said
    assert "the service starts and waits for it" in said
    assert "Quixotryn" not in said
    assert "postgresql://dekacard:***@127.0.0.1:1" in said


def test_keys_that_others_may_read_are_told(site):
    (site.folder / "keys.json").chmod(0o644)
    status, said = site()
    assert status == 0
    assert "chmod 600" in said
