"""Accounts, providers and second factors that are asked for in vain; nobody gets in, and no session ends, by a slip."""

import contextlib
import hashlib
import io
import sys

import pytest
import yaml
from limits import RateLimitItemPerMinute
from limits.strategies import FixedWindowRateLimiter
from sqlalchemy import select

from rules.errors import NotTrusted, RequestError
from service import identity_cli
from service import identity_factor as factor
from service.alerts import identity_tables, models
from service.alerts.access import new_account
from service.identity import Proof, open_session
from service.identity_accounts import change_role
from service.identity_attempts import CountedInStore
from service.identity_oidc import Departure, Person
from service.identity_passwords import store_password
from service.identity_people import recognise, sign_out_outside
from service.identity_providers import ProvidersRefused, read_providers
from service.identity_set_up import announce_set_up
from service.settings import SettingsRefused
from tests.service.dashboard.production import CLIENT, NOON, settings_in

ANN = {"tenant": CLIENT, "name": "ann", "actor": "operator", "now": NOON}
ENTRY = {
    "id": "hospital", "title": "Hospital account", "client": CLIENT, "issuer": "https://login.example",
    "client_id": "dekacard", "redirect_uri": "https://cds.example/oidc/hospital/back",
    "role_claim": "groups", "roles": {"vk-pharmacists": "pharmacist"},
}  # fmt: skip


def rows(store, table):
    with store.reading() as connection:
        return connection.execute(select(table)).all()


def test_a_role_or_an_account_that_is_not_there_is_refused_and_the_same_role_ends_no_session(
    database, keyring
):
    new_account(database, keyring, role="lead", **ANN)
    open_session(database, keyring, tenant=CLIENT, name="ann", now=NOON)
    lines = len(rows(database, models.audit))
    change_role(database, keyring, role="lead", **ANN)
    with pytest.raises(RequestError, match="no role 'king'"):
        change_role(database, keyring, role="king", **ANN)
    with pytest.raises(RequestError, match="no such local account"):
        change_role(database, keyring, role="lead", **ANN | {"name": "bob"})
    with pytest.raises(RequestError, match="no such local account"):
        database.write(lambda connection: store_password(connection, CLIENT, "bob", "hash"))
    with pytest.raises(RequestError, match="no second factor"):
        factor.renew_codes(database, keyring, tenant=CLIENT, account="ann", now=NOON)
    assert len(rows(database, identity_tables.session)) == 1
    assert len(rows(database, models.audit)) == lines
    change_role(database, keyring, role="reader", **ANN)
    assert not rows(database, identity_tables.session)


def test_a_half_made_second_factor_has_no_recovery_codes_yet(database, keyring):
    new_account(database, keyring, role="lead", **ANN)
    factor.begin(database, keyring, tenant=CLIENT, account="ann", now=NOON)
    with pytest.raises(RequestError, match="no second factor"):
        factor.renew_codes(database, keyring, tenant=CLIENT, account="ann", now=NOON)


def provider(tmp_path, **more):
    (tmp_path / "oidc.yaml").write_text(yaml.safe_dump([ENTRY | more]), encoding="utf-8")
    return read_providers(tmp_path / "oidc.yaml")[0]


def test_a_provider_signs_out_one_session_or_everything_of_a_person(database, keyring, tmp_path):
    hospital = provider(tmp_path)
    person = Person(
        subject="s-1", name="nora", role="pharmacist", session="there-1", acr="", amr=""
    )
    name = recognise(database, keyring, hospital, person, NOON)
    for session in ("there-1", "there-2"):
        open_session(database, keyring, tenant=CLIENT, name=name, now=NOON, proof=Proof(provider="hospital", outside=session))  # fmt: skip

    def out(**whom):
        return sign_out_outside(database, keyring, hospital, Departure(at=NOON, **whom), NOON)

    assert out(session="there-9") == 0
    assert out(session="there-1") == 1
    assert [one.outside for one in rows(database, identity_tables.session)] == ["there-2"]
    assert out(subject="s-2") == 0
    assert out(subject="s-1") == 1


def test_nobody_gets_in_when_every_name_is_taken(database, keyring, tmp_path):
    hospital = provider(tmp_path)
    mark = hashlib.sha256(f"{hospital.issuer} s-1".encode()).hexdigest()
    for name in ("nora", *(f"nora-{mark[:size]}" for size in (6, 12, 24, 64))):
        new_account(database, keyring, role="reader", **ANN | {"name": name})
    person = Person(subject="s-1", name="nora", role="pharmacist", session="", acr="", amr="")
    with pytest.raises(NotTrusted) as refused:
        recognise(database, keyring, hospital, person, NOON)
    assert refused.value.reason == "oidc: no name is free"
    assert {one.role for one in rows(database, models.account)} == {"reader"}


def test_two_providers_of_one_id_are_refused_and_a_public_client_has_no_secret(tmp_path):
    assert provider(tmp_path).secret is None
    (tmp_path / "two.yaml").write_text(yaml.safe_dump([ENTRY, ENTRY]), encoding="utf-8")
    with pytest.raises(ProvidersRefused, match="two providers have one id"):
        read_providers(tmp_path / "two.yaml")


def test_tries_are_counted_to_the_end_of_their_window_and_can_be_forgotten(database):
    kept = CountedInStore(lambda: database, lambda: NOON)
    counting, rule = FixedWindowRateLimiter(kept), RateLimitItemPerMinute(2)
    assert kept.get_expiry("nothing yet") == NOON.timestamp()
    assert [counting.hit(rule, name) for name in ("ann", "ann", "ann", "bob")] == [True, True, False, True]  # fmt: skip
    assert counting.get_window_stats(rule, "ann") == (NOON.timestamp() + 60, 0)
    assert kept.check()
    assert kept.reset() == 2
    assert counting.hit(rule, "ann")


def test_the_first_token_is_not_told_to_a_store_that_is_away_or_has_somebody(
    tmp_path, keyring, caplog
):
    settings, screen = settings_in(tmp_path), io.StringIO()
    away = settings_in(tmp_path, store_url="postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")
    assert announce_set_up(away, now=NOON, out=screen) is None
    assert "does not answer" in caplog.text
    assert announce_set_up(settings, now=NOON, out=screen)
    nowhere = settings_in(tmp_path, setup_file=tmp_path / "none" / "below" / "token")
    with pytest.raises(SettingsRefused, match="DEKACARD_SETUP_FILE"):
        announce_set_up(nowhere, now=NOON, out=screen)
    told = screen.getvalue()
    from service.alerts.database import Database

    with contextlib.closing(Database(settings.store_url)) as opened:
        new_account(opened, keyring, role="admin", **ANN)
    assert announce_set_up(settings, now=NOON, out=screen) is None
    assert screen.getvalue() == told


def test_a_password_is_asked_for_unseen_at_a_keyboard_and_read_from_a_pipe(monkeypatch):
    class Keyboard(io.StringIO):
        def isatty(self):
            return True

    asked = []
    monkeypatch.setattr(identity_cli.typer, "prompt", lambda *_, **how: asked.append(how) or "typed")  # fmt: skip
    monkeypatch.setattr(sys, "stdin", Keyboard())
    assert identity_cli._ask() == "typed"
    assert asked == [{"hide_input": True, "confirmation_prompt": True}]
    monkeypatch.setattr(sys, "stdin", io.StringIO("piped\nrest\n"))
    assert identity_cli._ask() == "piped"
