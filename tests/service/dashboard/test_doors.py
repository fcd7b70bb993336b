"""Nobody gets in who should not: every route, every role, every client; forms, sessions, passwords, headers."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from rules.errors import NotTrusted, RequestError
from service import identity, identity_passwords
from service.alerts import identity_tables, models
from service.alerts.access import RIGHTS, ROLES, disable_account, new_account
from service.app import create_app
from service.settings import Settings
from tests.service.alerts.stories import recommendation
from tests.service.dashboard.conftest import BASE, NOON, OURS, T, opened_site
from tests.service.dashboard.stores import new_store, postgres_server  # noqa: F401 - fixtures

# What somebody may reach before or without a right of their own: the doors, and one's own account. A route that is
# not listed here asks for a right; the walk below takes every route from the application itself.
OPEN = {
    ("GET", "/"): "anyone",
    ("GET", "/login"): "anyone",
    ("POST", "/login"): "anyone",
    ("GET", "/login/code"): "anyone",
    ("POST", "/login/code"): "anyone",
    ("GET", "/login/factor"): "anyone",
    ("POST", "/login/factor"): "anyone",
    ("GET", "/setup"): "anyone",
    ("POST", "/setup"): "anyone",
    ("POST", "/logout"): "signed-in",
    ("GET", "/awake"): "anyone",
    ("GET", "/account"): "signed-in",
    ("POST", "/account/sessions"): "signed-in",
    ("POST", "/account/password"): "signed-in",
    ("POST", "/account/factor"): "signed-in",
    ("POST", "/account/factor/confirm"): "signed-in",
    ("POST", "/account/codes"): "signed-in",
}
ELSEWHERE = (
    "/cds-services",
    "/api/v1",
    "/livez",
    "/readyz",
    "/openapi.json",
    "/static/",
    "/metrics",
)


@pytest.fixture(scope="module")
def application(new_store, tmp_path_factory):  # noqa: F811
    with opened_site(tmp_path_factory.mktemp("record"), new_store()) as made:
        yield made


def _served(app):
    """Method and path of every page that the application itself routes."""
    return {
        (method, route.path)
        for route in app.routes
        for method in getattr(route, "methods", None) or ()
        if method != "HEAD" and getattr(route, "path", "") and not route.path.startswith(ELSEWHERE)
    }


def _address(path):
    return re.sub(r"\{[^}:]+\}", "nobody", re.sub(r"\{[^}]+:(?:int|row)\}", "999999", path))


def _ask(site, method, path):
    if method == "GET":
        return site.get(_address(path))
    return site.post(_address(path), action="claim", version="1")


def test_every_route_states_its_right(site):
    needs = site.app.state.dashboard.needs
    assert _served(site.app) == set(needs)
    rights = set().union(*RIGHTS.values())
    assert {route: need for route, need in needs.items() if need not in rights} == OPEN


@pytest.mark.parametrize("role", ROLES)
def test_every_role_gets_only_its_own(site, role):
    for (method, path), need in site.app.state.dashboard.needs.items():
        answer = _ask(site.sign_in(role), method, path)
        refused = (method, path) not in OPEN and need not in RIGHTS[role]
        assert (answer.status_code == 403) == refused, (role, method, path)


def test_whoever_may_not_keeps_the_way_back_and_the_way_out(site):
    answer = site.sign_in("auditor").get("/work")
    assert answer.status_code == 403
    assert "Your role does not allow this" in answer.text
    for way in ('href="/"', 'action="/logout"', 'href="/audit"'):
        assert way in answer.text
    assert "Sign in" not in answer.text


def test_every_form_needs_the_token_of_its_session(site):
    for method, path in site.app.state.dashboard.needs:
        if method == "POST":
            asked = {"data": {"form_token": "another"}, "headers": OURS}
            answer = site.sign_in("lead").client.post(_address(path), **asked)
            if answer.status_code == 415:  # this one takes a file
                answer = site.client.post(_address(path), files={"file": ("a", b"{}")}, **asked)
            assert answer.status_code == 403, path


def test_without_a_session_pages_lead_to_the_door_and_forms_are_refused(site):
    site.client.cookies.clear()
    for (method, path), need in site.app.state.dashboard.needs.items():
        if need == "anyone":
            continue
        if method == "GET":
            answer = site.get(_address(path))
            assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        else:
            assert (
                site.client.post(_address(path), data={"x": "y"}, headers=OURS).status_code == 401
            )


def test_the_other_client_is_not_there(site):
    site.see(70, recommendation(), tenant="mercy", patient="theirs")
    (theirs,) = site.alerts("mercy")
    assert site.get(f"/a/{theirs.id}").status_code == 404
    assert site.post(f"/a/{theirs.id}/act", action="claim", version="1").status_code == 404
    assert site.get(f"/p/{theirs.patient}").status_code == 404
    assert site.alert(theirs.id, "mercy").assignee == ""
    assert site.sign_in("pharmacist", "mercy").get(f"/a/{theirs.id}").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8081"},
    ],
)
def test_a_form_of_another_origin_changes_nothing(site, alert, headers):
    answer = site.post(
        f"/a/{alert.id}/act", headers=headers, action="claim", version=str(alert.version)
    )
    assert answer.status_code == 403
    assert site.alert(alert.id).assignee == ""


def test_a_form_needs_the_token_of_its_own_session(site, alert):
    mine = site.form_token()
    site.sign_in("lead")
    for token in ("", "x", mine):
        answer = site.post(
            f"/a/{alert.id}/act", action="claim", version=str(alert.version), form_token=token
        )
        assert answer.status_code == 403
    assert site.alert(alert.id).assignee == ""
    assert (
        site.post(f"/a/{alert.id}/act", action="claim", version=str(alert.version)).status_code
        == 303
    )


def test_an_older_browser_is_known_by_its_origin(site, alert):
    answer = site.post(
        f"/a/{alert.id}/act", headers={"origin": BASE}, action="claim", version=str(alert.version)
    )
    assert answer.status_code == 303


def test_a_session_ends_with_idleness_with_time_with_sign_out_and_with_its_account(site):
    site.now = NOON + identity.IDLE
    assert site.get("/work").status_code == 303
    site.sign_in("pharmacist")
    begun = site.now
    while site.now < begun + identity.ABSOLUTE:
        assert site.get("/work").status_code == 200
        site.now += timedelta(minutes=10)
    assert site.now == begun + identity.ABSOLUTE  # and it was used ten minutes ago
    assert site.get("/work").status_code == 303
    site.sign_in("pharmacist")
    assert site.post("/logout").status_code == 303
    site.client.cookies.set("dekacard-dev", site.secret)
    assert site.get("/work").status_code == 303
    site.sign_in("reader", "gone")
    record = site.record
    disable_account(
        record.database,
        record.keyring,
        tenant="gone",
        name="reader-gone",
        actor="operator",
        now=site.now,
    )
    assert site.get("/work").status_code == 303


def test_a_browser_that_asks_by_itself_keeps_no_session_awake(site):
    for _ in range(3):
        site.now += timedelta(minutes=6)
        asked = site.get("/live?since=x").status_code
    assert asked == 303


def test_an_open_page_asks_whether_it_may_stay_and_keeps_no_session_awake(site):
    assert '<meta http-equiv="refresh" content="905; url=/awake">' in site.get("/handover").text
    for _ in range(2):
        site.now += timedelta(minutes=7)
        assert site.get("/awake").status_code == 204
    site.now += timedelta(minutes=1)
    answer = site.get("/awake")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "refresh" not in site.get("/login").text


def test_the_store_holds_no_secret_of_a_session(site):
    with site.record.database.reading() as connection:
        stored = str(connection.execute(select(identity_tables.session)).all())
    assert site.secret not in stored


def test_passwords_open_the_right_account_only(site):
    record = site.record
    given = {"tenant": "mercy", "actor": "operator", "now": NOON}
    new_account(record.database, record.keyring, name="ann", role="reader", **given)
    for poor in ("short", "x" * 257, "aaaaaaaaaaaaaaaa", " MERCY" + " " * 12):
        with pytest.raises(RequestError):
            identity_passwords.set_password(
                record.database, record.keyring, name="ann", password=poor, **given
            )
    identity_passwords.set_password(
        record.database, record.keyring, name="ann", password="seven grey geese fly", **given
    )

    def is_right(name, password, tenant="mercy"):
        return identity_passwords.check_password(
            record.database, tenant=tenant, name=name, password=password
        )

    assert is_right("ann", "seven grey geese fly")
    assert not is_right("ann", "seven grey geese flew")
    assert not is_right("ann", "seven grey geese fly", tenant=T)
    assert not is_right("bob", "seven grey geese fly")
    assert not is_right("ann", "")
    with record.database.reading() as connection:
        (held,) = connection.scalars(
            select(models.account.c.password_hash).where(models.account.c.name == "ann")
        )
    assert held.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    with pytest.raises(NotTrusted):
        identity.session_of(record.database, "nothing", NOON)


def test_a_new_password_ends_the_sessions_before_it(site):
    site.sign_in("reader", "mercy")
    record = site.record
    identity_passwords.set_password(
        record.database, record.keyring, tenant="mercy", name="reader-mercy", password="seven grey geese fly",
        actor="operator", now=NOON,
    )  # fmt: skip
    assert site.get("/work").status_code == 303


def test_the_demo_door_gives_a_pharmacist_and_a_confined_cookie(site):
    site.client.cookies.clear()
    assert "demo pharmacist" in site.get("/login").text
    answer = site.client.post("/login", data={"go": "in"}, headers=OURS)
    assert (answer.status_code, answer.headers["location"]) == (303, "/work")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "demo-pharmacist" in site.get("/work").text


def test_another_site_cannot_sign_anybody_in(site):
    site.client.cookies.clear()
    answer = site.client.post("/login", data={"go": "in"}, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/login", "/work", "/a/999999"])
def test_every_page_is_confined(site, path):
    answer = site.get(path)
    policy = answer.headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([^']+)' 'strict-dynamic';", policy)[1]
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.status_code == 200:
        scripts = re.findall(r"<script[^>]*>", answer.text)
        assert scripts
        assert all(f'nonce="{nonce}"' in script for script in scripts)
        assert not re.search(r"\sstyle=|\son[a-z]+=", answer.text)
    again = site.get(path).headers["content-security-policy"]
    assert nonce not in again


def test_assets_are_found_by_their_content_only(site):
    sheet = re.search(r'href="(/static/[^"]+dashboard.css)"', site.get("/work").text)[1]
    answer = site.get(sheet)
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    digest = sheet.split("/")[2]
    for path in ("vendor.lock.json", "../templating.py", "%2e%2e/templating.py", "dashboard.js"):
        assert site.get(f"/static/{digest}/{path}").status_code == 404
    assert site.get(sheet.replace(digest, "0" * 16)).status_code == 404


def test_hooks_keep_their_own_refusals_beside_the_dashboard(site):
    for answer in (site.get("/nothing"), site.get("/cds-services/vitamin-dk-patient-view")):
        assert answer.headers["content-type"].startswith("application/fhir+json")


def test_a_form_that_is_too_large_or_of_another_kind_is_refused(site, alert):
    path = f"/a/{alert.id}/act"
    assert site.post(path, action="comment", note="x" * 300_000, version="1").status_code == 413
    answer = site.client.post(path, json={"action": "claim"}, headers=OURS)
    assert answer.status_code == 415


def test_without_a_record_there_is_no_dashboard():
    assert not {path for _, path in _served(create_app(Settings(dev=True), clock=lambda: NOON))}
