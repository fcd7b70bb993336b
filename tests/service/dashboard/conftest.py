"""A dashboard over a real record, on a temporary SQLite file where a test does not say otherwise; whoever signs in holds a real session."""

import contextlib
import time
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from service.alerts import models
from service.alerts.access import accounts, new_account
from service.alerts.worklist import Filter
from service.app import create_app
from service.identity import open_session, session_of
from service.settings import Settings
from tests.service.alerts.stories import RULES, call, recommendation, reviewed

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BASE = "http://127.0.0.1:8080"
OURS = {"sec-fetch-site": "same-origin"}
T = "developer"


class Site:
    """The dashboard, as somebody sees it."""

    def __init__(self, app):
        self.app = app
        self.now = NOON
        self.client = TestClient(app, base_url=BASE, follow_redirects=False)
        self.record = app.state.recorder

    def sign_in(self, role, tenant=T):
        """Become somebody of this role."""
        name = f"{role}-{tenant}"
        given = {"tenant": tenant, "name": name, "now": self.now}
        if name not in {one["name"] for one in accounts(self.record.database, tenant)}:
            new_account(
                self.record.database, self.record.keyring, role=role, actor="operator", **given
            )
        self.secret = open_session(self.record.database, self.record.keyring, **given)
        self.client.cookies.clear()
        self.client.cookies.set("dekacard-dev", self.secret)
        return self

    def get(self, path):
        return self.client.get(path)

    def post(self, path, headers=OURS, **fields):
        fields.setdefault("form_token", self.form_token())
        return self.client.post(path, data=fields, headers=headers)

    def form_token(self):
        return session_of(self.record.database, self.secret, self.now).form_token

    def alerts(self, tenant=T, **wanted):
        return (
            self.record.store()
            .page(Filter(tenant=tenant, view="everything", **wanted), self.now)
            .rows
        )

    def alert(self, number, tenant=T):
        return self.record.store().alert(tenant, number)

    def see(self, number, *recommendations, tenant=T, patient="p1", **more):
        """Let a review of a hook reach the store."""
        made = call(number, tenant=tenant, patient=patient)
        self.record.record(made, reviewed(*recommendations, **more), may_speak=RULES)
        self.wait_for(models.evaluation, models.evaluation.c.id == made.id)

    def wait_for(self, table, *where, seconds=20):
        """Rows of a table, as soon as the record's own thread has written some."""
        until = time.monotonic() + seconds
        while True:
            with self.record.database.reading() as connection:
                rows = connection.execute(select(table).where(*where)).all()
            if rows:
                return rows
            assert time.monotonic() < until, f"nothing came into {table.name}"
            time.sleep(0.02)


@contextlib.contextmanager
def opened_site(place, store_url):
    """A dashboard in development mode over this store."""
    made = {}

    def clock():
        # The keeper asks before the site is there
        return made["site"].now if made else NOON

    settings = Settings(
        dev=True,
        store_url=store_url,
        spool_dir=place / "spool",
        keyring=place / "keys.json",
        runs_dir=place / "runs",
    )
    app = create_app(settings, clock=clock)
    made["site"] = Site(app)
    try:
        yield made["site"]
    finally:
        app.state.recorder.close()


@pytest.fixture(scope="module")
def application(tmp_path_factory):
    place = tmp_path_factory.mktemp("record")
    with opened_site(place, f"sqlite:///{place}/r.db") as made:
        yield made


@pytest.fixture
def site(application):
    application.now = NOON
    return application.sign_in("pharmacist")


_count = iter(range(1, 10_000))


@pytest.fixture
def alert(site):
    """A fresh warning of a patient of this test's own."""
    number = next(_count)
    site.see(number, recommendation(), patient=f"pt-{number}")
    return max(site.alerts(size=200), key=lambda row: row.id)
