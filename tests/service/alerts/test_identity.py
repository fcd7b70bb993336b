"""Second factors, one-time tokens, counted attempts and half-finished sign-ins, on both databases."""

import contextlib
import io
import stat
import threading
from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from rules.errors import NotTrusted, RequestError
from service import identity_factor as factor
from service.alerts import identity_tables, models
from service.alerts.access import disable_account, new_account
from service.alerts.keyring import new_keyring, write_keyring
from service.cli import app
from service.identity import open_session
from service.identity_accounts import change_role
from service.identity_attempts import Tries
from service.identity_invitations import accept, invite, open_set_up, set_up_is_open
from service.identity_passwords import check_password
from service.identity_set_up import announce_set_up
from service.identity_steps import Step, begin_step, end_step, step_of
from tests.service.dashboard.production import CLIENT, NOON, PASSWORD, settings_in

STEP = timedelta(seconds=30)
ANN = {"tenant": CLIENT, "account": "ann"}


@pytest.fixture
def keys(keyring):
    return keyring


@pytest.fixture
def store(database):
    return database


@pytest.fixture
def ann(store, keys):
    new_account(store, keys, tenant=CLIENT, name="ann", role="admin", actor="operator", now=NOON)
    return store


def enrol(store, keys):
    """The app and the recovery codes of an account with a second factor."""
    app = pyotp.TOTP(factor.begin(store, keys, **ANN, now=NOON).secret)
    return app, factor.confirm(store, keys, **ANN, code=app.at(NOON), now=NOON)


def rows(store, table):
    with store.reading() as connection:
        return connection.execute(select(table)).all()


def test_a_code_of_the_app_lets_in_once(ann, keys):
    app, codes = enrol(ann, keys)
    assert len(codes) == factor.RECOVERY_CODES
    later = NOON + 4 * STEP
    assert not factor.check(
        ann, keys, **ANN, code=app.at(NOON), now=NOON
    )  # the one that confirmed it
    assert factor.check(ann, keys, **ANN, code=app.at(later), now=later)
    assert not factor.check(ann, keys, **ANN, code=app.at(later), now=later)
    assert not factor.check(
        ann, keys, **ANN, code=app.at(later - STEP), now=later
    )  # older than the last one used


def test_a_clock_may_be_half_a_minute_off_and_no_more(ann, keys):
    app, _ = enrol(ann, keys)
    later = NOON + 20 * STEP
    for steps in (-3, -2, 2, 3):
        assert not factor.check(ann, keys, **ANN, code=app.at(later + steps * STEP), now=later)
    for steps in (-1, 0, 1):
        code = app.at(later + steps * STEP)
        assert factor.check(ann, keys, **ANN, code=f" {code[:3]} {code[3:]} ", now=later)
    for wrong in ("", "12345", "\N{FULLWIDTH DIGIT ONE}23456", "abcdef", "1234567"):
        assert not factor.check(ann, keys, **ANN, code=wrong, now=later)


def test_two_windows_with_one_code_let_one_in(ann, keys):
    app, _ = enrol(ann, keys)
    later, inside = NOON + 4 * STEP, []
    tries = [
        threading.Thread(
            target=lambda: inside.append(factor.check(ann, keys, **ANN, code=app.at(later), now=later))
        )
        for _ in range(6)
    ]  # fmt: skip
    for one in tries:
        one.start()
    for one in tries:
        one.join()
    assert sorted(inside) == [False] * 5 + [True]


def test_a_recovery_code_works_once_however_it_is_typed(ann, keys):
    _, codes = enrol(ann, keys)
    assert factor.check(ann, keys, **ANN, code=codes[0].lower().replace("-", " "), now=NOON)
    assert not factor.check(ann, keys, **ANN, code=codes[0], now=NOON)
    assert factor.codes_left(ann, CLIENT, "ann") == len(codes) - 1
    fresh = factor.renew_codes(ann, keys, **ANN, now=NOON)
    assert not factor.check(ann, keys, **ANN, code=codes[1], now=NOON)
    assert factor.check(ann, keys, **ANN, code=fresh[1], now=NOON)


def test_a_factor_counts_only_once_it_was_confirmed(ann, keys):
    first = factor.begin(ann, keys, **ANN, now=NOON)
    assert (
        factor.begin(ann, keys, **ANN, now=NOON).secret == first.secret
    )  # the picture may be shown again
    app = pyotp.TOTP(first.secret)
    assert not factor.is_set(ann, CLIENT, "ann")
    assert not factor.check(ann, keys, **ANN, code=app.at(NOON), now=NOON)
    assert factor.confirm(ann, keys, **ANN, code="000000", now=NOON) is None
    assert factor.confirm(ann, keys, **ANN, code=app.at(NOON), now=NOON)
    assert factor.is_set(ann, CLIENT, "ann")
    with pytest.raises(RequestError, match="reset it first"):
        factor.begin(ann, keys, **ANN, now=NOON)
    factor.reset(ann, keys, **ANN, actor="operator", now=NOON)
    assert not factor.is_set(ann, CLIENT, "ann")
    assert factor.codes_left(ann, CLIENT, "ann") == 0


def test_the_store_holds_neither_the_secret_nor_a_code(ann, keys):
    app, codes = enrol(ann, keys)
    held = repr(rows(ann, identity_tables.second_factor)) + repr(
        rows(ann, identity_tables.recovery_code)
    )
    assert app.secret not in held
    assert not any(code in held or code.replace("-", "") in held for code in codes)
    with pytest.raises(Exception, match="altered"):
        factor.check(ann, new_keyring(), **ANN, code=app.at(NOON), now=NOON)


def test_a_sealed_secret_opens_for_its_own_account_only(ann, keys):
    app, _ = enrol(ann, keys)
    new_account(ann, keys, tenant=CLIENT, name="bob", role="lead", actor="operator", now=NOON)
    (row,) = rows(ann, identity_tables.second_factor)
    copied = {**row._mapping, "account": "bob"}
    ann.write(
        lambda connection: connection.execute(identity_tables.second_factor.insert().values(copied))
    )
    with pytest.raises(Exception, match="altered"):
        factor.check(
            ann, keys, tenant=CLIENT, account="bob", code=app.at(NOON + 4 * STEP), now=NOON
        )


def take(store, keys, token, now=NOON, **more):
    given = {"tenant": CLIENT, "name": "root", "password": PASSWORD} | more
    return accept(store, keys, token=token, now=now, **given)


def test_the_first_token_makes_one_administrator_once(store, keys):
    token = open_set_up(store, NOON)
    assert set_up_is_open(store, NOON)
    for poor in ({"password": "short"}, {"name": ""}, {"name": "a/b"}, {"tenant": ""}):
        with pytest.raises(RequestError):
            take(store, keys, token, **poor)
    assert take(store, keys, f" {token}\n").account == "root"
    assert not set_up_is_open(store, NOON)
    assert check_password(store, tenant=CLIENT, name="root", password=PASSWORD)
    assert [(one.name, one.role) for one in rows(store, models.account)] == [("root", "admin")]
    with pytest.raises(NotTrusted):
        take(store, keys, token, name="second")
    assert open_set_up(store, NOON) is None
    assert not set_up_is_open(store, NOON)


def test_a_token_ends_with_time_with_the_next_one_and_with_the_first_account(store, keys):
    first = open_set_up(store, NOON)
    second = open_set_up(store, NOON)
    with pytest.raises(NotTrusted):
        take(store, keys, first)
    with pytest.raises(NotTrusted):
        take(store, keys, second, now=NOON + timedelta(minutes=15))
    for guess in ("", "x", second[:-1], second.lower()):
        with pytest.raises(NotTrusted):
            take(store, keys, guess)
    new_account(store, keys, tenant=CLIENT, name="made", role="reader", actor="operator", now=NOON)
    with pytest.raises(NotTrusted):
        take(store, keys, second)
    assert second not in repr(rows(store, identity_tables.invitation))


def test_two_who_hold_the_first_token_make_one_administrator(store, keys):
    token, made = open_set_up(store, NOON), []

    def hurry(name):
        with contextlib.suppress(NotTrusted):
            made.append(take(store, keys, token, name=name).account)

    tries = [threading.Thread(target=hurry, args=(f"root-{number}",)) for number in range(4)]
    for one in tries:
        one.start()
    for one in tries:
        one.join()
    assert len(made) == 1
    assert len(rows(store, models.account)) == 1


def test_an_invitation_is_for_its_own_account(ann, keys):
    token = invite(ann, keys, **ANN, actor="operator", now=NOON)
    known = take(ann, keys, token, tenant="another", name="root")
    assert (known.tenant, known.account) == (CLIENT, "ann")
    assert check_password(ann, tenant=CLIENT, name="ann", password=PASSWORD)
    with pytest.raises(NotTrusted):
        take(ann, keys, token)
    late = invite(ann, keys, **ANN, actor="operator", now=NOON)
    with pytest.raises(NotTrusted):
        take(ann, keys, late, now=NOON + timedelta(hours=24))
    with pytest.raises(RequestError):
        invite(ann, keys, tenant=CLIENT, account="nobody", actor="operator", now=NOON)


def test_the_last_administrator_stays(ann, keys):
    given = {"tenant": CLIENT, "name": "ann", "actor": "operator", "now": NOON}
    with pytest.raises(RequestError, match="last administrator"):
        change_role(ann, keys, role="reader", **given)
    with pytest.raises(RequestError, match="last administrator"):
        disable_account(ann, keys, **given)
    new_account(ann, keys, tenant=CLIENT, name="bob", role="admin", actor="operator", now=NOON)
    change_role(ann, keys, role="reader", **given)
    disable_account(ann, keys, **given)
    with pytest.raises(RequestError, match="last administrator"):
        disable_account(ann, keys, **(given | {"name": "bob"}))


def test_attempts_are_counted_for_all_workers_and_forgotten_in_time(store):
    clock = [NOON]
    workers = [Tries(lambda: store, lambda: clock[0]) for _ in range(2)]

    def tried(number, address="10.0.0.1", name="ann"):
        try:
            workers[number % 2].password(address, CLIENT, name)
        except RequestError as error:
            return error.status if "minute" in str(error) else str(error)
        return 200

    assert [tried(number) for number in range(11)] == [200] * 10 + [429]
    assert tried(0, address="10.0.0.2") == 200
    clock[0] += timedelta(minutes=5, seconds=1)
    assert tried(0) == 200
    assert "ann" not in repr(rows(store, identity_tables.attempt))


def test_attempts_of_a_clock_that_was_put_right_lock_nobody_out_until_then(store):
    clock = [NOON + timedelta(days=400)]
    tries = Tries(lambda: store, lambda: clock[0])
    for number in range(30):
        tries.password(f"10.0.1.{number}", CLIENT, "ann")
    with pytest.raises(RequestError, match="Too many"):
        tries.password("10.0.2.1", CLIENT, "ann")
    clock[0] = NOON
    for number in range(30):  # and from now on it counts as ever
        tries.password(f"10.0.1.{number}", CLIENT, "ann")
    with pytest.raises(RequestError, match="Wait 60 minutes"):
        tries.password("10.0.2.1", CLIENT, "ann")


def test_many_addresses_together_lock_an_account_for_an_hour_and_no_other(store):
    clock = [NOON]
    tries = Tries(lambda: store, lambda: clock[0])
    for number in range(30):
        tries.password(f"10.0.1.{number}", CLIENT, "ann")
    with pytest.raises(RequestError, match="Too many"):
        tries.password("10.0.2.1", CLIENT, "ann")
    tries.password("10.0.2.1", CLIENT, "bob")
    clock[0] += timedelta(minutes=61)
    tries.password("10.0.2.1", CLIENT, "ann")
    for _ in range(10):
        tries.code(CLIENT, "ann")
    with pytest.raises(RequestError, match="Too many"):
        tries.code(CLIENT, "ann")
    tries.succeeded("10.0.2.1", CLIENT, "ann")
    tries.code(CLIENT, "ann")


def test_visits_to_a_provider_are_counted_by_address(store):
    tries = Tries(lambda: store, lambda: NOON)
    tries.provider("10.0.0.1")
    many = update(identity_tables.attempt).values(count=300)
    store.write(lambda connection: connection.execute(many))
    with pytest.raises(RequestError, match="Too many"):
        tries.provider("10.0.0.1")
    tries.provider("10.0.0.2")


def test_half_a_sign_in_is_used_once_in_time_and_for_its_kind(store, keys):
    step = Step(kind="code", tenant=CLIENT, account="ann", body=b"canary")
    secret = begin_step(store, keys, step, NOON)
    assert "canary" not in repr(rows(store, identity_tables.sign_in_step))
    assert step_of(store, keys, secret, ("code",), NOON) == step
    with pytest.raises(NotTrusted):
        end_step(store, keys, secret, ("enrol", "provider"), NOON)
    with pytest.raises(NotTrusted):
        end_step(store, keys, secret, ("code",), NOON + timedelta(minutes=10))
    assert end_step(store, keys, secret, ("code",), NOON) == step
    with pytest.raises(NotTrusted):
        end_step(store, keys, secret, ("code",), NOON)


def test_the_operator_helps_somebody_from_the_machine(database_url, ann, keys, tmp_path):
    enrol(ann, keys)
    write_keyring(tmp_path / "keys.json", keys)
    given = ["--client", CLIENT, "--store", database_url, "--keyring", str(tmp_path / "keys.json")]

    def say(*words, status=0):
        done = CliRunner().invoke(app, ["users", *words, *given])
        assert done.exit_code == status, done.output
        return done.output.strip()

    assert "last administrator" in say("disable", "ann", status=1)
    say("reset-factor", "ann")
    assert not factor.is_set(ann, CLIENT, "ann")
    assert "no second factor" in say("reset-factor", "ann", status=1)
    token = say("invite", "ann")
    assert take(ann, keys, token, now=datetime.now(UTC)).account == "ann"
    open_session(ann, keys, tenant=CLIENT, name="ann", now=datetime.now(UTC))
    assert say("sign-out", "ann").startswith("1 ")
    assert rows(ann, identity_tables.session) == []
    assert "no such" in say("invite", "nobody", status=1)
    clients = ("--clients", str(settings_in(tmp_path).clients))
    assert say("new", "zoe", "--role", "reader", *clients) == "made zoe (reader) for mercy"
    assert "slash" in say("new", "a/b", "--role", "reader", status=1)
    given[1] = "merci"  # a slip of the keyboard: nobody could sign in there
    assert "there is mercy" in say("new", "zoe", "--role", "reader", *clients, status=1)
    given[1] = CLIENT
    open_session(ann, keys, tenant=CLIENT, name="zoe", now=datetime.now(UTC))
    assert "1 sessions ended" in say("disable", "zoe")
    assert rows(ann, identity_tables.session) == []


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_first_token_is_shown_on_a_terminal_or_kept_in_a_file_and_never_logged(
    tmp_path, caplog
):
    caplog.set_level(0)
    settings = settings_in(tmp_path)
    screen, pipe = Terminal(), io.StringIO()
    token = announce_set_up(settings, now=NOON, out=screen)
    assert token in screen.getvalue()
    assert not settings.setup_file.exists()
    token = announce_set_up(settings, now=NOON, out=pipe)
    assert token not in pipe.getvalue()
    assert str(settings.setup_file) in pipe.getvalue()
    assert settings.setup_file.read_text(encoding="ascii").strip() == token
    assert stat.S_IMODE(settings.setup_file.stat().st_mode) == 0o600
    assert token not in caplog.text
    assert announce_set_up(settings_in(tmp_path, dev=True), out=pipe) is None
