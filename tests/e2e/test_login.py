"""The doors in a real browser: set-up, second factor, an OpenID provider, one's account; also without JavaScript."""

import json
import re
import socket
import threading
import time
from datetime import UTC, datetime

import pyotp
import pytest
import uvicorn
import yaml

from service.alerts.access import new_account
from service.app import create_app
from service.identity_invitations import open_set_up
from service.identity_passwords import set_password
from tests.e2e.accessibility import AXE, TAGS
from tests.e2e.conftest import COMPLAINTS
from tests.service.dashboard.openid_provider import OpenIdProvider, entry
from tests.service.dashboard.production import CLIENT, PASSWORD, settings_in

HOSTILE = "<img src=x onerror=alert(1)>"


class Hospital:
    """A served site with its address and its OpenID provider."""

    def __init__(self, place):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        back = f"{self.base}/oidc/hospital/back"
        self.provider = OpenIdProvider(redirect_uri=back)
        told = entry(self.provider, place, redirect_uri=back)
        (place / "oidc.yaml").write_text(yaml.safe_dump([told]), encoding="utf-8")
        self.app = create_app(
            settings_in(place, oidc=place / "oidc.yaml"), clock=lambda: datetime.now(UTC)
        )
        self.record = self.app.state.recorder
        config = uvicorn.Config(self.app, log_level="error", access_log=False, ws="none")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [self.listening]}, daemon=True
        )
        self.thread.start()

    def account(self, name, role):
        given = {"tenant": CLIENT, "name": name, "actor": "operator", "now": datetime.now(UTC)}
        new_account(self.record.database, self.record.keyring, role=role, **given)
        set_password(self.record.database, self.record.keyring, password=PASSWORD, **given)

    def close(self):
        self.server.should_exit = True
        self.thread.join(timeout=15)
        self.provider.close()
        self.listening.close()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    made = Hospital(tmp_path_factory.mktemp("hospital"))
    made.token = open_set_up(made.record.database, datetime.now(UTC))
    yield made
    made.close()


@pytest.fixture
def visitor(hospital, browser):
    """Opens a browser before the door; afterwards it may not have complained, nor asked anywhere else."""
    opened = []

    def come(**options):
        context = browser.new_context(base_url=hospital.base, **options)
        context.set_default_timeout(15_000)
        context.add_init_script(COMPLAINTS)
        page = context.new_page()
        told = {"page": page, "context": context, "problems": []}
        told["script"] = options.get("java_script_enabled", True)
        page.on("pageerror", lambda error: told["problems"].append(str(error)))
        page.on("dialog", lambda dialog: told["problems"].append(f"dialog {dialog.message}"))
        ours = (hospital.base, hospital.provider.issuer, "data:")
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(ours) else told["problems"].append(request.url)
            ),
        )
        opened.append(told)
        return page

    yield come
    for told in opened:
        complaints = told["page"].evaluate("window.complaints") if told["script"] else []
        told["context"].close()
        assert (complaints, told["problems"]) == ([], [])


def sign_in(page, name, password=PASSWORD):
    page.goto("/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def set_factor(page):
    """Set a second factor up with what the page shows, and keep nothing but the app."""
    page.locator("summary").click()
    app = pyotp.TOTP(page.locator("code.secret").inner_text())
    page.get_by_label("Six digits").fill(app.now())
    page.get_by_role("button", name="Confirm").click()
    assert page.locator(".codes li").count() == 10
    page.get_by_role("link", name="I have kept them").click()
    return app


def next_code(app):
    """A code that was not used yet: that of the next step, which is taken already."""
    return app.at(int(time.time()) + 30)


def look(page, name):
    """No violation, nothing to scroll sideways on a telephone, and nothing too small to hit."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})"
        ".then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html).slice(0, 3)]))",
        TAGS,
    )
    assert not found, name + json.dumps(found, indent=1)
    wide = page.viewport_size
    page.set_viewport_size({"width": 320, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320, name
    small = page.evaluate(
        """() => [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary")]
        .filter(one => one.checkVisibility() && !one.closest(".visually-hidden, .skip") && !one.matches(".visually-hidden, .skip"))
        .filter(one => { const box = one.getBoundingClientRect(); return box.width && box.height < 24; })
        .map(one => one.outerHTML.slice(0, 120))"""
    )
    assert not small, (name, small)
    page.set_viewport_size(wide)


def test_a_hospital_starts_with_the_token_and_its_first_administrator_invites_a_pharmacist(
    hospital, visitor
):
    page = visitor()
    page.goto("/login")
    page.get_by_role("link", name="Set this installation up").click()
    page.get_by_label("One-time token").fill(hospital.token)
    page.get_by_label("Your name").fill("root")
    page.get_by_label("Password, 15").fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()
    page.wait_for_url("**/login/factor")
    assert page.locator("svg.qr").bounding_box()["width"] > 150
    app = set_factor(page)
    page.wait_for_url("**/accounts")
    page.get_by_label("Name", exact=True).fill("pia </b>")
    page.locator("#new ~ form select").select_option("pharmacist")
    page.get_by_role("button", name="Make the account").click()
    page.get_by_text("a name has").first.wait_for()  # a slash is no part of a name
    page.get_by_label("Name", exact=True).fill(f"pia {HOSTILE}")
    page.locator("#new ~ form select").select_option("pharmacist")
    page.get_by_role("button", name="Make the account").click()
    token = page.locator("code.secret").inner_text()
    theirs = visitor(java_script_enabled=False)
    theirs.goto("/setup")
    theirs.get_by_label("One-time token").fill(token)
    theirs.get_by_label("Password, 15").fill(PASSWORD)
    theirs.get_by_label("The same password again").fill(PASSWORD)
    theirs.get_by_role("button", name="Set the password").click()
    theirs.wait_for_url("**/work")
    assert f"pia {HOSTILE}" in theirs.locator(".who-name").inner_text()
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url("**/login")
    sign_in(page, "root")
    page.wait_for_url("**/login/code")
    page.get_by_label("Six digits").fill("000000")
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("This code is not right").first.wait_for()
    page.get_by_label("Six digits").fill(next_code(app))
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/accounts")


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_the_openid_provider_signs_somebody_in(hospital, visitor, script):
    hospital.provider.honest()
    page = visitor(java_script_enabled=script)
    page.goto("/login")
    page.get_by_role("link", name="Sign in with Hospital account").click()
    page.wait_for_url("**/work")
    assert "nora" in page.locator(".who-name").inner_text()
    (cookie,) = page.context.cookies(hospital.base)
    assert (cookie["name"], cookie["httpOnly"], cookie["secure"]) == ("__Host-dekacard", True, True)
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url("**/login")
    page.goto("/work")
    page.wait_for_url("**/login")


def test_a_lying_provider_signs_nobody_in(hospital, visitor):
    hospital.provider.honest()
    hospital.provider.changes = {"nonce": "another"}
    page = visitor()
    page.goto("/login")
    page.get_by_role("link", name="Sign in with Hospital account").click()
    page.get_by_text("Please sign in again").first.wait_for()
    page.goto("/work")
    page.wait_for_url("**/login")
    hospital.provider.honest()


def test_one_ends_a_session_elsewhere_and_changes_the_password(hospital, visitor):
    hospital.account("lea", "pharmacist")
    first, second = visitor(), visitor(user_agent=f"Ward {HOSTILE}")
    sign_in(second, "lea")
    second.wait_for_url("**/work")
    sign_in(first, "lea")
    first.wait_for_url("**/work")
    first.locator("a.who-name").click()
    first.wait_for_url("**/account")
    assert HOSTILE in first.locator(".browser").all_inner_texts()[1]
    first.get_by_role("button", name=re.compile("^End the session")).click()
    first.get_by_text("The sessions were ended").first.wait_for()
    second.goto("/work")
    second.wait_for_url("**/login")
    first.get_by_label("Password until now").fill(PASSWORD)
    first.get_by_label("New password, 15").fill("nine blue herons wade")
    first.get_by_label("The new password again").fill("nine blue herons wade")
    first.get_by_role("button", name="Change the password").click()
    first.get_by_text("The password was changed").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_door_is_accessible_and_fits_a_telephone(hospital, visitor, scheme):
    name = f"max-{scheme}"
    hospital.account(name, "admin")
    page = visitor(color_scheme=scheme)
    for path in ("/login", "/setup"):
        page.goto(path)
        look(page, path)
    sign_in(page, name, "wrong password")
    look(page, "a refused sign-in")
    sign_in(page, name)
    page.wait_for_url("**/login/factor")
    look(page, "second factor")
    page.locator("summary").click()
    app = pyotp.TOTP(page.locator("code.secret").inner_text())
    page.get_by_label("Six digits").fill(app.now())
    page.get_by_role("button", name="Confirm").click()
    look(page, "recovery codes")
    for path in ("/accounts", "/account"):
        page.goto(path)
        look(page, path)
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    page.wait_for_url("**/login")
    sign_in(page, name)
    page.wait_for_url("**/login/code")
    look(page, "code")
