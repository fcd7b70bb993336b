"""The doors as a browser meets them in a hospital: set-up, password and code, one's own account, an administrator's list."""

import re
import time
from collections import Counter
from datetime import timedelta

import pyotp
import pytest
from sqlalchemy import select

from rules.errors import NotTrusted
from service import identity_factor as factor
from service.alerts import models
from service.alerts.access import bearer_of, disable_account, mint_token
from service.identity_invitations import open_set_up
from tests.service.dashboard.production import CLIENT, NOON, OURS, PASSWORD, Hospital, settings_in
from tests.service.dashboard.stores import new_store, postgres_server  # noqa: F401 - fixtures

NEW = "nine blue herons wade"


@pytest.fixture(scope="module")
def served(new_store, tmp_path_factory):  # noqa: F811
    made = Hospital(settings_in(tmp_path_factory.mktemp("site"), store_url=new_store()))
    open_set_up(made.record.database, NOON)
    made.account("root", "admin")
    made.account("pia", "pharmacist")
    yield made
    made.close()


@pytest.fixture
def site(served):
    served.now += timedelta(hours=13)  # whatever the test before it left open is over
    served.client = served.browser()
    return served


_names = iter(f"person-{number}" for number in range(1000))


@pytest.fixture
def lead(site):
    """A lead who has a second factor: the name and the app."""
    name = next(_names)
    site.account(name, "lead")
    given = {"tenant": CLIENT, "account": name, "now": site.now}
    record = site.record
    app = pyotp.TOTP(factor.begin(record.database, record.keyring, **given).secret)
    factor.confirm(record.database, record.keyring, code=app.at(site.now), **given)
    site.now += timedelta(minutes=2)
    return name, app


def sign_in(site, name, password=PASSWORD, client=None):
    return (client or site.client).post(
        "/login", data={"name": name, "password": password}, headers=OURS
    )


def get_in(site, lead, client=None):
    name, app = lead
    asker = client or site.client
    assert sign_in(site, name, client=asker).headers["location"] == "/login/code"
    site.now += timedelta(minutes=1)
    code = {"code": app.at(site.now)}
    assert asker.post("/login/code", data=code, headers=OURS).headers["location"] == "/work"


def wait_for(site, action):
    until = time.monotonic() + 20
    while not (found := site.trail(action)):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def test_the_first_administrator_is_made_with_the_token_and_a_second_factor(new_store, tmp_path):  # noqa: F811
    site = Hospital(settings_in(tmp_path, store_url=new_store()))
    try:
        token = open_set_up(site.record.database, NOON)
        site.app.state.settings.setup_file.write_text(token, encoding="ascii")
        assert "first administrator" in site.client.get("/login").text
        page = site.client.get("/setup").text
        assert token not in page
        given = {"token": token, "name": "root", "password": PASSWORD, "again": PASSWORD}
        for poor, status in (
            ({"token": "x"}, 401), ({"again": "another"}, 422), ({"password": "short", "again": "short"}, 422),
        ):  # fmt: skip
            answer = site.client.post("/setup", data=given | poor, headers=OURS)
            assert answer.status_code == status
            # Whoever chose a poor password need not type the token again
            assert (f'value="{token}"' in answer.text) == (status == 422)
            assert ('name="name" value="root"' in answer.text) == (status == 422)
        answer = site.client.post("/setup", data=given, headers=OURS)
        assert answer.headers["location"] == "/login/factor"
        assert not site.app.state.settings.setup_file.exists()
        assert site.client.get("/accounts").headers["location"] == "/login"  # not in yet
        page = site.client.get("/login/factor").text
        assert "<svg" in page
        assert not re.search(r"\sstyle=", page)
        app = pyotp.TOTP(re.search(r'class="secret">([A-Z2-7]+)<', page)[1])
        assert (
            site.client.post("/login/factor", data={"code": "000000"}, headers=OURS).status_code
            == 401
        )
        codes = site.client.post("/login/factor", data={"code": app.at(NOON)}, headers=OURS)
        assert (
            len(re.findall(r"<li><code>[A-Z2-7-]{29}</code>", codes.text)) == factor.RECOVERY_CODES
        )
        assert 'href="/accounts"' in codes.text
        assert site.client.get("/accounts").status_code == 200
        assert site.browser().post("/setup", data=given, headers=OURS).status_code == 401
        assert "first administrator" not in site.browser().get("/login").text
    finally:
        site.close()


def test_a_pharmacist_needs_the_password_alone_and_a_lead_the_code_as_well(site, lead):
    assert sign_in(site, "pia").headers["location"] == "/work"
    assert site.client.get("/work").status_code == 200
    site.client = site.browser()
    assert sign_in(site, lead[0]).headers["location"] == "/login/code"
    assert site.client.get("/work").headers["location"] == "/login"
    assert site.client.post("/login/code", data={"code": "000000"}, headers=OURS).status_code == 401
    site.client = site.browser()
    get_in(site, lead)
    assert site.client.get("/work").status_code == 200


def test_a_code_that_was_used_lets_nobody_in_again(site, lead):
    get_in(site, lead)
    other = site.browser()
    sign_in(site, lead[0], client=other)
    code = {"code": lead[1].at(site.now)}
    assert other.post("/login/code", data=code, headers=OURS).status_code == 401


def test_the_step_between_password_and_code_is_nobody_elses_and_ends(site, lead):
    assert site.client.get("/login/code").headers["location"] == "/login"
    assert site.client.get("/login/factor").headers["location"] == "/login"
    assert site.client.post("/login/code", data={"code": "1"}, headers=OURS).status_code == 401
    sign_in(site, lead[0])
    assert (
        site.client.get("/login/factor").headers["location"] == "/login"
    )  # a factor that is set stays
    assert site.client.post("/login/factor", data={"code": "1"}, headers=OURS).status_code == 401
    step = site.client.cookies["__Host-dekacard-step"]
    stranger = site.browser()
    stranger.cookies.set("__Host-dekacard", step)
    assert stranger.get("/work").headers["location"] == "/login"
    site.now += timedelta(minutes=10)
    code = {"code": lead[1].at(site.now)}
    assert site.client.post("/login/code", data=code, headers=OURS).status_code == 401


def test_guessing_is_told_to_wait_and_the_right_one_waits_too(site, lead):
    answers = [sign_in(site, "pia", f"wrong password {n}").status_code for n in range(11)]
    assert answers == [401] * 10 + [429]
    assert sign_in(site, "pia").status_code == 429
    site.now += timedelta(minutes=6)
    assert sign_in(site, "pia").status_code == 303
    site.client = site.browser()
    sign_in(site, lead[0])
    answers = [
        site.client.post("/login/code", data={"code": f"00000{n % 10}"}, headers=OURS).status_code
        for n in range(11)
    ]
    assert answers == [401] * 10 + [429]


def test_a_wrong_name_and_a_wrong_password_look_alike(site):
    page = sign_in(site, "pia", "wrong password 1")
    assert page.status_code == 401
    nonce = re.compile(r'nonce="[^"]+"')
    other = sign_in(site, "nobody-of-this-name", "wrong password 1")
    assert nonce.sub("", page.text) == nonce.sub("", other.text)


def test_refusals_and_sign_ins_are_in_the_audit_trail(site, lead, caplog):
    def told(action):
        return Counter((one.actor, one.outcome, one.object) for one in site.trail(action))

    before = told("sign-in")
    typed = "not my name but my password"
    assert sign_in(site, typed, "wrong password 1").status_code == 401
    sign_in(site, "pia", "wrong password 1")
    sign_in(site, lead[0])
    site.client.post("/login/code", data={"code": "000000"}, headers=OURS)
    site.client = site.browser()
    sign_in(site, "pia")
    until = time.monotonic() + 20
    while (fresh := told("sign-in") - before).total() < 4 and time.monotonic() < until:
        time.sleep(0.05)
    assert fresh == {
        ("unknown", "refused", ""): 3,
        ("user/pia", "ok", "account/pia"): 1,
    }
    site.post("/logout")
    assert ("user/pia", "ok", "account/pia") in {
        (one.actor, one.outcome, one.object) for one in wait_for(site, "sign-out")
    }
    sign_in(site, "pia")
    assert site.client.get("/accounts").status_code == 403
    assert "role pharmacist lacks manage-accounts" in caplog.text
    with site.record.database.reading() as connection:
        assert typed not in repr(connection.execute(select(models.audit)).all())


def test_one_sees_and_ends_ones_other_sessions(site):
    browsers = [site.browser() for _ in range(3)]
    for number, one in enumerate(browsers):
        one.headers["user-agent"] = f"Browser <b>{number}</b>"
        sign_in(site, "pia", client=one)
    page = browsers[0].get("/account").text
    assert page.count("this one") == 1
    assert "Browser &lt;b&gt;2&lt;/b&gt;" in page
    ids = re.findall(r'name="session" value="([0-9a-f]+)"', page)
    assert len(ids) == 2
    site.post("/account/sessions", client=browsers[0], session=ids[0])
    assert sorted(one.get("/work").status_code for one in browsers) == [200, 200, 303]
    site.post("/account/sessions", client=browsers[0])
    assert [one.get("/work").status_code for one in browsers] == [200, 303, 303]
    sign_in(site, "root", client=browsers[1])
    assert site.post("/account/sessions", client=browsers[0], session="0" * 12).status_code == 404


def test_a_new_password_needs_the_old_one_and_ends_every_other_session(site):
    name = next(_names)
    site.account(name, "reader")
    other = site.browser()
    sign_in(site, name, client=other)
    sign_in(site, name)
    before = site.client.cookies["__Host-dekacard"]
    change = {"password": PASSWORD, "new": NEW, "again": NEW}
    for poor in ({"password": "wrong"}, {"again": "x"}, {"new": "short", "again": "short"}):
        assert site.post("/account/password", **(change | poor)).status_code == 422
    assert site.post("/account/password", **change).headers["location"] == "/account?done=password"
    assert site.client.get("/account?done=password").status_code == 200
    assert site.client.cookies["__Host-dekacard"] != before
    assert other.get("/work").status_code == 303
    assert sign_in(site, name, client=site.browser()).status_code == 401
    assert sign_in(site, name, NEW, client=site.browser()).status_code == 303


def test_one_sets_up_a_factor_of_ones_own_accord_and_renews_its_codes(site):
    name = next(_names)
    site.account(name, "reader")
    sign_in(site, name)
    assert site.post("/account/factor", password="wrong").status_code == 422
    page = site.post("/account/factor", password=PASSWORD).text
    app = pyotp.TOTP(re.search(r'class="secret">([A-Z2-7]+)<', page)[1])
    assert site.post("/account/factor/confirm", code="000000").status_code == 401
    assert (
        "Keep these recovery codes"
        in site.post("/account/factor/confirm", code=app.at(site.now)).text
    )
    fresh = re.findall(
        r"<li><code>([A-Z2-7-]{29})</code>", site.post("/account/codes", password=PASSWORD).text
    )
    site.client = site.browser()
    sign_in(site, name)
    assert site.client.post("/login/code", data={"code": fresh[0]}, headers=OURS).status_code == 303


def test_an_administrator_makes_changes_and_closes_accounts(site):
    boss = next(_names)
    site.account(boss, "admin")
    record, given = site.record, {"tenant": CLIENT, "account": boss, "now": site.now}
    app = pyotp.TOTP(factor.begin(record.database, record.keyring, **given).secret)
    factor.confirm(record.database, record.keyring, code=app.at(site.now), **given)
    site.now += timedelta(minutes=2)
    sign_in(site, boss)
    code = {"code": app.at(site.now)}
    assert (
        site.client.post("/login/code", data=code, headers=OURS).headers["location"] == "/accounts"
    )
    assert site.post("/accounts/new", name="a/b", role="reader").status_code == 422
    assert site.post("/accounts/new", name="newcomer", role="root").status_code == 422
    page = site.post("/accounts/new", name="newcomer", role="reader").text
    token = re.search(r'class="secret">([\w-]{43})<', page)[1]
    assert token not in site.client.get("/accounts").text
    again = site.post("/accounts/change", action="invite", name="newcomer").text
    old, token = token, re.search(r'class="secret">([\w-]{43})<', again)[1]
    theirs = site.browser()
    chosen = {"token": old, "password": NEW, "again": NEW}
    assert theirs.post("/setup", data=chosen, headers=OURS).status_code >= 400  # a newer one is out
    chosen = {"token": token, "password": NEW, "again": NEW}
    assert theirs.post("/setup", data=chosen, headers=OURS).headers["location"] == "/work"

    def change(action, name="newcomer", **more):
        return site.post("/accounts/change", action=action, name=name, **more).status_code

    assert change("role", role="pharmacist") == 303
    assert theirs.get("/work").status_code == 303
    sign_in(site, "newcomer", NEW, client=theirs)
    assert "pharmacist" in theirs.get("/account").text
    assert change("end-sessions") == 303
    assert theirs.get("/work").status_code == 303
    assert change("reset-factor") == 404  # there is none
    assert change("nonsense") == 422
    assert change("disable", name=boss) == 409
    bearer = mint_token(
        record.database, record.keyring, tenant=CLIENT, account="newcomer", actor="operator", now=site.now
    )  # fmt: skip
    sign_in(site, "newcomer", NEW, client=theirs)
    disable_account(
        record.database, record.keyring, tenant=CLIENT, name="newcomer", actor="operator", now=site.now
    )  # fmt: skip
    assert theirs.get("/work").status_code == 303
    assert change("enable") == 303
    assert theirs.get("/work").status_code == 303  # the session of before
    assert change("disable") == 303
    assert sign_in(site, "newcomer", NEW, client=theirs).status_code == 401
    assert change("enable") == 303
    assert change("enable") == 404
    assert sign_in(site, "newcomer", NEW, client=theirs).status_code == 303
    with pytest.raises(NotTrusted):
        bearer_of(record.database, f"Bearer {bearer}", site.now)


def test_a_site_sets_how_long_a_session_lasts_and_who_needs_a_second_factor(new_store, tmp_path):  # noqa: F811
    settings = settings_in(
        tmp_path,
        store_url=new_store(),
        session_idle_minutes=5,
        session_hours=1,
        second_factor=("pharmacist",),
    )
    site = Hospital(settings)
    try:
        site.account("pia", "pharmacist")
        site.account("lea", "lead")
        assert sign_in(site, "pia").headers["location"] == "/login/factor"
        assert sign_in(site, "lea").headers["location"] == "/work"
        site.now += timedelta(minutes=5)
        assert site.client.get("/work").headers["location"] == "/login"
        begun = site.now
        sign_in(site, "lea")
        while site.now < begun + timedelta(hours=1):
            assert site.client.get("/work").status_code == 200
            site.now += timedelta(minutes=4)
        assert site.now == begun + timedelta(hours=1)  # and it was used four minutes ago
        assert site.client.get("/work").headers["location"] == "/login"
        assert site.client.get("/account").headers["location"] == "/login"
    finally:
        site.close()


def test_whose_account_is_closed_between_password_and_code_stays_out(site, lead):
    name, app = lead
    assert sign_in(site, name).headers["location"] == "/login/code"
    disable_account(site.record.database, site.record.keyring, tenant=CLIENT, name=name, actor="root", now=site.now)  # fmt: skip
    site.now += timedelta(minutes=1)
    answer = site.client.post("/login/code", data={"code": app.at(site.now)}, headers=OURS)
    assert answer.status_code == 404
    assert site.client.get("/work").headers["location"] == "/login"
