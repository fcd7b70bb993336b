"""What surrounds every page of a served site: headers, cookies, random secrets, ways out, and pages that change nothing."""

import re
from datetime import timedelta

import pyotp
import pytest
from sqlalchemy import func, select

from service import identity_factor as factor
from service.alerts import models
from service.alerts.access import ROLES
from service.identity import open_session, session_of
from service.identity_invitations import invite, open_set_up
from service.identity_passwords import check_password, set_password
from tests.service.dashboard.production import CLIENT, NOON, OURS, PASSWORD, Hospital, settings_in

ONE_YEAR = 31_536_000
POLICY = {
    "default-src": "'none'", "script-src": "'nonce-N' 'strict-dynamic'", "style-src": "'self'", "img-src": "'self' data:",
    "connect-src": "'self'", "form-action": "'self'", "base-uri": "'none'", "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'", "trusted-types": "htmx",
}  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    place = tmp_path_factory.mktemp("site")
    (place / "runs").mkdir()
    made = Hospital(settings_in(place, runs_dir=place / "runs", second_factor=()))
    for role in ROLES:
        made.account(f"the-{role}", role)
    yield made
    made.app.state.run_queue.stop()
    made.close()


@pytest.fixture
def site(served):
    served.now = NOON
    served.client = served.browser()
    return served


def sign_in(site, role="pharmacist"):
    form = {"name": f"the-{role}", "password": PASSWORD}
    answer = site.client.post("/login", data=form, headers=OURS)
    assert answer.status_code == 303
    return answer


def become(site, role):
    """As ``sign_in``, without the time that a password takes."""
    record = site.record
    site.client = site.browser()
    secret = open_session(
        record.database, record.keyring, tenant=CLIENT, name=f"the-{role}", now=site.now
    )
    site.client.cookies.set("__Host-dekacard", secret)


def pages(site):
    """Every address that is read, with numbers and names that nobody has."""
    return [
        re.sub(r"\{[^}:]+\}", "nobody", re.sub(r"\{[^}]+:(?:int|row)\}", "999999", path))
        for method, path in site.app.state.dashboard.needs
        if method == "GET"
    ]


def policy_of(answer):
    told = answer.headers["content-security-policy"].split(";")
    parts = dict(one.strip().split(" ", 1) for one in told)
    return {name: re.sub(r"'nonce-[^']+'", "'nonce-N'", value) for name, value in parts.items()}


@pytest.mark.parametrize("role", ["lead", "admin"])
def test_every_answer_of_a_page_is_confined_and_bound_to_tls(site, role):
    become(site, role)
    asked = [site.client.get(path) for path in pages(site)]
    asked.append(site.client.post("/logout", data={"form_token": "another"}, headers=OURS))
    assert {one.status_code for one in asked} >= {200, 303, 403, 404}
    for answer in asked:
        assert policy_of(answer) == POLICY
        life, *more = answer.headers["strict-transport-security"].split("; ")
        assert int(life.removeprefix("max-age=")) >= ONE_YEAR
        assert more == ["includeSubDomains"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers


def test_both_cookies_are_bound_to_this_host_to_tls_and_to_no_script(site):
    enrolled(site, "lead")
    for role in ("pharmacist", "lead"):
        made = site.browser().post(
            "/login", data={"name": f"the-{role}", "password": PASSWORD}, headers=OURS
        )
        (told,) = [one for one in made.headers.get_list("set-cookie") if "Max-Age=0" not in one]
        name, *marks = [one.strip().lower() for one in told.split(";")]
        assert name.startswith(
            "__host-dekacard=" if role == "pharmacist" else "__host-dekacard-step="
        )
        assert {"secure", "httponly", "samesite=lax", "path=/"} <= set(marks)
        assert not any(mark.startswith("domain") for mark in marks)


def enrolled(site, role):
    """The app of somebody who has a second factor from now on."""
    record, given = site.record, {"tenant": CLIENT, "account": f"the-{role}", "now": site.now}
    if factor.is_set(record.database, CLIENT, f"the-{role}"):
        factor.reset(record.database, record.keyring, actor="operator", **given)
    app = pyotp.TOTP(factor.begin(record.database, record.keyring, **given).secret)
    factor.confirm(record.database, record.keyring, code=app.at(site.now), **given)
    return app


@pytest.mark.parametrize("role", ROLES)
def test_signing_out_is_in_sight_on_every_page_and_leaves_nothing_behind(site, role):
    become(site, role)
    seen = 0
    for path in pages(site):
        answer = site.client.get(path)
        if (
            answer.headers.get("content-type", "").startswith("text/html")
            and answer.status_code == 200
        ):
            assert '<form method="post" action="/logout">' in answer.text, path
            seen += 1
    assert seen >= 2
    home = site.client.get("/").headers["location"]
    assert site.client.get(home).status_code == 200  # where the name of the product leads
    answer = site.post("/logout")
    assert answer.headers["location"] == "/login"
    assert answer.headers["clear-site-data"] == '"cache", "storage"'
    assert re.search(r'__Host-dekacard=("");.*Max-Age=0', answer.headers["set-cookie"])


def kept(site):
    """All that the store holds, but for sessions and the trail of who looked at what."""
    apart = {"session", "audit", "audit_head", "spool_position"}
    with site.record.database.reading() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in models.metadata.sorted_tables
            if table.name not in apart
        }


@pytest.mark.parametrize("role", ["lead", "auditor", "admin"])
def test_looking_changes_nothing(site, role):
    become(site, role)
    before = kept(site)
    assert sum(map(len, before.values())) >= len(ROLES)
    for path in pages(site):
        site.client.get(path, params={"action": "claim", "version": "1", "name": "the-reader"})
    assert kept(site) == before


def test_no_page_sends_a_browser_elsewhere(site):
    elsewhere = "//evil.example/x"
    fields = dict.fromkeys(
        ("next", "back", "from", "to", "url", "return", "redirect", "location", "f_view", "f_rule", "action"), elsewhere
    )  # fmt: skip
    become(site, "lead")
    sent = []
    for method, path in site.app.state.dashboard.needs:
        address = re.sub(r"\{[^}:]+\}", "nobody", re.sub(r"\{[^}]+:(?:int|row)\}", "999999", path))
        if address == "/logout":
            continue
        if method == "GET":
            answer = site.client.get(address, params=fields)
        else:
            answer = site.post(address, **fields)
        sent.append(answer.headers.get("location", "/"))
    site.client = site.browser()
    sent += [sign_in(site).headers["location"]]
    form = {"name": "the-pharmacist", "password": PASSWORD} | fields
    sent += [site.browser().post("/login", data=form, headers=OURS).headers["location"]]
    assert all(re.match(r"/(?!/)", one) for one in sent), sent
    assert not any("evil" in one.partition("?")[0] for one in sent)


def test_every_secret_of_the_doors_is_random_and_long_enough(site):
    enrolled(site, "lead")
    record = site.record

    def fresh():
        client = site.browser()
        form = {"name": "the-lead", "password": PASSWORD}
        step = client.post("/login", data=form, headers=OURS).cookies["__Host-dekacard-step"]
        page = client.get("/login")
        nonce = re.search(r"'nonce-([^']+)'", page.headers["content-security-policy"])[1]
        given = {"tenant": CLIENT, "now": NOON}
        session = open_session(record.database, record.keyring, name="the-reader", **given)
        invited = invite(
            record.database, record.keyring, account="the-reader", actor="operator", **given
        )
        token = session_of(record.database, session, NOON).form_token
        return {
            "step": step,
            "nonce": nonce,
            "session": session,
            "invitation": invited,
            "form": token,
        }

    many = [fresh() for _ in range(3)]
    for kind in many[0]:
        secrets = {one[kind] for one in many}
        assert len(secrets) == 3, kind
        assert all(re.fullmatch(r"[\w-]{22,}", one) for one in secrets), kind  # 128 bits as base64


def test_a_form_that_says_more_changes_no_more(site):
    sign_in(site)
    more = {
        "role": "admin",
        "tenant": "other",
        "account": "the-admin",
        "name": "the-admin",
        "disabled": "0",
    }
    new = "nine blue herons wade"
    changed = site.post("/account/password", password=PASSWORD, new=new, again=new, **more)
    assert changed.status_code == 303
    assert "the-pharmacist, pharmacist of mercy" in site.client.get("/account").text
    record, given = site.record, {"tenant": CLIENT, "password": PASSWORD}
    assert check_password(record.database, name="the-admin", **given)
    assert not check_password(record.database, name="the-pharmacist", **given)
    set_password(
        record.database, record.keyring, name="the-pharmacist", actor="operator", now=NOON, **given
    )
    token = invite(record.database, record.keyring, tenant=CLIENT, account="the-reader", actor="operator", now=site.now)  # fmt: skip
    form = {"token": token, "password": PASSWORD, "again": PASSWORD, "client": "other"} | more
    site.client = site.browser()
    assert site.client.post("/setup", data=form, headers=OURS).status_code == 303
    assert "the-reader, reader of mercy" in site.client.get("/account").text


def test_who_forgot_a_password_still_needs_the_code(site):
    app = enrolled(site, "lead")
    record = site.record
    token = invite(record.database, record.keyring, tenant=CLIENT, account="the-lead", actor="operator", now=site.now)  # fmt: skip
    form = {"token": token, "password": PASSWORD, "again": PASSWORD}
    assert site.client.post("/setup", data=form, headers=OURS).headers["location"] == "/login/code"
    assert site.client.get("/work").headers["location"] == "/login"
    site.now += timedelta(minutes=1)
    code = {"code": app.at(site.now)}
    assert site.client.post("/login/code", data=code, headers=OURS).headers["location"] == "/work"


def test_a_fresh_site_lets_nobody_in(tmp_path):
    site = Hospital(settings_in(tmp_path))
    try:
        open_set_up(site.record.database, NOON)
        with site.record.database.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(models.account)) == 0
        for name in ("admin", "root", "demo-pharmacist", "dekacard", ""):
            for password in ("", name, "admin", "password", PASSWORD):
                answer = site.client.post(
                    "/login", data={"name": name, "password": password}, headers=OURS
                )
                assert answer.status_code in {401, 429}
        assert site.client.get("/work").headers["location"] == "/login"
    finally:
        site.close()
