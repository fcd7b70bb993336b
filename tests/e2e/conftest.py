"""A served dashboard with an invented year, and real headless Chromium before it.

Every test ends with a look at what the browser complained about: a policy that was breached, a script that broke, a
request to anywhere else.
"""

import json
import shutil
import socket
import threading
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import sync_playwright
from sqlalchemy import select

from service.alerts import models
from service.alerts.access import accounts, new_account
from service.alerts.batch_jobs import jobs
from service.alerts.worklist import Filter
from service.app import create_app
from service.dashboard.demo_screens import furnish
from service.dashboard.demo_year import live_year
from service.identity import open_session
from service.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
T = "developer"
EXAMPLE = Path(__file__).parents[2] / "examples" / "01-warfarin-new-mk7-coded.json"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
COMPLAINTS = """
window.complaints = [];
addEventListener("securitypolicyviolation", (e) => window.complaints.push(e.violatedDirective + " " + e.blockedURI));
addEventListener("error", (e) => window.complaints.push(String(e.message)));
"""


class Served:
    """A running dashboard and what tests want to know of its record."""

    def __init__(self, app, base):
        self.app, self.base = app, base
        self.record = app.state.recorder

    def alerts(self, **wanted):
        wanted = {"view": "all-open", "size": 200, **wanted}
        return self.record.store().page(Filter(tenant=T, **wanted), NOON).rows

    def fresh(self, **wanted):
        """An open alert that nobody has touched."""
        return next(one for one in self.alerts(**wanted) if one.state == "new" and not one.assignee)

    def alert(self, number):
        return self.record.store().alert(T, number)

    def call_hook(self, patient, edit=lambda text: text):
        """Let an EHR call the hook about a patient whom nobody knows yet."""
        text = EXAMPLE.read_text(encoding="utf-8").replace("ex-01", patient)
        body = json.loads(edit(text))
        body["hookInstance"] = f"e2e-{patient}"
        request = urllib.request.Request(
            f"{self.base}/cds-services/vitamin-dk-patient-view",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 200
        until = time.monotonic() + 20
        table = models.evaluation
        while time.monotonic() < until:
            with self.record.database.reading() as connection:
                found = connection.execute(
                    select(table.c.patient).where(table.c.hook_instance == body["hookInstance"])
                ).scalar()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError("the call did not reach the store")


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    place = tmp_path_factory.mktemp("record")
    settings = Settings(
        dev=True,
        store_url=f"sqlite:///{place}/r.db",
        spool_dir=place / "spool",
        keyring=place / "keys.json",
        runs_dir=place / "runs",
    )
    app = create_app(settings, clock=lambda: NOON)
    live_year(app.state.recorder, app.state.engine, NOON)
    furnish(app, NOON)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_level="error", access_log=False, ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield Served(app, f"http://127.0.0.1:{listening.getsockname()[1]}")
    server.should_exit = True
    thread.join(timeout=15)
    listening.close()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        found = next((path for name in NAMES if (path := shutil.which(name))), None)
        opened = playwright.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"],
        )
        yield opened
        opened.close()


@pytest.fixture
def people(served, browser):
    """Opens the dashboard as somebody; afterwards nobody's browser may have complained."""
    opened = []

    def sign_in(**options):
        script = options.get("java_script_enabled", True)
        context = browser.new_context(base_url=served.base, **options)
        context.set_default_timeout(15_000)
        context.add_init_script(COMPLAINTS)
        page = context.new_page()
        told = {"page": page, "context": context, "script": script, "problems": [], "elsewhere": []}
        page.on("pageerror", lambda error: told["problems"].append(str(error)))
        page.on("dialog", lambda dialog: told["problems"].append(f"dialog {dialog.message}"))
        page.on(
            "console",
            lambda line: (
                told["problems"].append(line.text)
                if "Content Security Policy" in line.text
                else None
            ),
        )
        page.on(
            "request",
            lambda request: (
                told["elsewhere"].append(request.url)
                if not request.url.startswith((served.base, "data:"))
                else None
            ),
        )
        opened.append(told)
        page.goto("/login")
        page.get_by_role("button", name="Go in as the demo pharmacist").click()
        page.wait_for_url("**/work")
        return page

    yield sign_in
    for told in opened:
        complaints = told["page"].evaluate("window.complaints") if told["script"] else []
        told["context"].close()
        assert (complaints, told["problems"], told["elsewhere"]) == ([], [], [])


def holds(page, expression, seconds=15):
    """Wait until an expression holds on the page.

    Not by ``wait_for_function``: what it finds false at first it evaluates again inside the page, where the policy
    of the page forbids that, so that a slow machine gets a complaint instead of an answer.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if page.evaluate(f"Boolean({expression})"):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never held: {expression}")


def become(served, page, role, name=""):
    """Sit before the same browser as somebody of another role."""
    record, name = served.record, name or f"e2e-{role}"
    given = {"tenant": T, "name": name, "now": NOON}
    if name not in {one["name"] for one in accounts(record.database, T)}:
        new_account(record.database, record.keyring, role=role, actor="operator", **given)
    secret = open_session(record.database, record.keyring, **given)
    page.goto(
        "about:blank"
    )  # an open list would notice that its session went, and leave for the door
    page.context.clear_cookies()
    page.context.add_cookies([{"name": "dekacard-dev", "value": secret, "url": served.base}])
    return page


@pytest.fixture(scope="session")
def finished(served):
    """The demo's batch run, once it is done."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        done = [one for one in jobs(served.record.database, T) if one.state == "done"]
        if done:
            return done[-1]
        time.sleep(0.2)
    raise AssertionError("the run of the demo did not end")
