"""The JSON interface: tokens by role, one client sees its own, conflicts show the newer alert."""

from datetime import timedelta

import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from sqlalchemy import select

from rules.errors import NotTrusted, RequestError
from service.alerts import models
from service.alerts.access import (
    RIGHTS,
    ROLES,
    accounts,
    disable_account,
    mint_token,
    new_account,
    revoke_token,
)
from service.alerts.api import api_router
from service.alerts.drainer import Drainer
from service.alerts.record import Record
from service.alerts.runs import begin_run, end_run
from service.knowledge_swap import Swap
from tests.service.alerts.stories import NOON, RULE, RULES, call, recommendation, reviewed
from tests.service.test_front_door import REFUSED

T = "st-elsewhere"
ROUTES = {
    ("GET", "/api/v1/alerts"): "see-alerts",
    ("GET", "/api/v1/alerts/{number}"): "see-alerts",
    ("GET", "/api/v1/alerts/{number}/events"): "see-alerts",
    ("POST", "/api/v1/alerts/{number}/actions"): "triage",
    ("GET", "/api/v1/rules"): "see-rules",
    ("GET", "/api/v1/runs"): "see-runs",
    ("GET", "/api/v1/mode-changes"): "see-rules",
    ("POST", "/api/v1/packs/reload"): "reload-packs",
    ("POST", "/api/v1/rules/{rule}/mode"): "change-modes",
    ("POST", "/api/v1/mode-changes/{number}/decision"): "change-modes",
}


class World:
    """A record with a client that can be asked as somebody."""

    def __init__(self, record):
        self.record, self.now = record, NOON + timedelta(hours=1)
        self.app = FastAPI()
        self.app.include_router(
            api_router(
                record,
                clock=lambda: self.now,
                rules=lambda: [RULE, "never-fires"],
                reload=self.reload,
            )
        )
        self.app.add_exception_handler(NotTrusted, lambda _, error: JSONResponse({}, error.status))
        self.app.add_exception_handler(
            RequestError, lambda _, error: JSONResponse({"error": str(error)}, error.status)
        )
        self.client = TestClient(self.app)
        self.tokens = {}

    async def reload(self):
        return Swap(accepted=True, knowledge="abc")

    def token(self, role, tenant=T):
        if (role, tenant) not in self.tokens:
            given = {"tenant": tenant, "actor": "operator", "now": NOON}
            new_account(self.record.database, self.record.keyring, name=role, role=role, **given)
            self.tokens[role, tenant] = mint_token(
                self.record.database, self.record.keyring, account=role, **given
            )
        return self.tokens[role, tenant]

    def ask(self, method, path, role="pharmacist", tenant=T, **more):
        return self.client.request(
            method, path, headers={"Authorization": f"Bearer {self.token(role, tenant)}"}, **more
        )

    def drain(self):
        drainer = Drainer(self.record.database, self.record.keyring, self.record.options)
        drainer.drain()
        drainer.stop()


@pytest.fixture
def world(options, keyring, database):
    record = Record(options, keyring)
    made = World(record)
    record.record(call(1), reviewed(recommendation()), may_speak=RULES)
    record.record(call(1, tenant="mercy"), reviewed(recommendation()), may_speak=RULES)
    made.drain()
    yield made
    record.close()


def only(world, tenant=T):
    return world.ask("GET", "/api/v1/alerts", tenant=tenant).json()["alerts"][0]


def test_every_route_asks_for_its_right_and_every_role_gets_only_its_own(world):
    served = {
        (method, route.path)
        for route in world.app.routes
        for method in getattr(route, "methods", ())
        if route.path.startswith("/api/")
    }
    served = served or {
        (m.upper(), path) for path, ways in world.app.openapi()["paths"].items() for m in ways
    }
    assert served == set(ROUTES), "a new route states its right here"
    for (method, path), right in ROUTES.items():
        for role in ROLES:
            body = {"action": "comment", "version": 1, "note": "x"}
            answer = world.ask(
                method,
                path.replace("{number}", "999999"),
                role,
                json=body if method == "POST" else None,
            )
            assert (answer.status_code == 403) == (right not in RIGHTS[role]), (path, role)
        assert (
            world.client.request(
                method, path.replace("{number}", "1"), json={"action": "comment", "version": 1}
            ).status_code
            == 401
        )


def test_a_moment_without_a_time_zone_is_refused_and_changes_nothing(world):
    alert = only(world)
    path = f"/api/v1/alerts/{alert['id']}/actions"
    wish = {"action": "snooze", "version": alert["version"], "until": "2026-11-23T12:00:00"}
    refused = world.ask("POST", path, json=wish)
    assert (refused.status_code, refused.json()) == (422, {"error": "'until' needs a time zone."})
    assert only(world)["version"] == alert["version"]
    assert world.ask("POST", path, json=wish | {"until": "2026-11-23T12:00:00Z"}).is_success


def test_where_packs_cannot_be_exchanged_there_is_no_such_route(world):
    bare = FastAPI()
    bare.include_router(api_router(world.record, clock=lambda: world.now, rules=lambda: [RULE]))
    paths = bare.openapi()["paths"]
    assert "/api/v1/packs/reload" not in paths
    assert "/api/v1/alerts" in paths


def test_an_alert_is_read_acted_on_and_a_second_edit_shows_the_newer(world):
    alert = only(world)
    path = f"/api/v1/alerts/{alert['id']}/actions"
    done = world.ask("POST", path, json={"action": "acknowledge", "version": alert["version"]})
    assert (done.status_code, done.json()["state"]) == (200, "acknowledged")
    late = world.ask("POST", path, "lead", json={"action": "resolve", "version": alert["version"]})
    assert late.status_code == 409
    assert (late.json()["newer"]["state"], late.json()["newer"]["version"]) == ("acknowledged", 2)
    events = world.ask("GET", f"/api/v1/alerts/{alert['id']}/events").json()
    assert [one["action"] for one in events] == ["opened", "acknowledge"]
    assert events[1]["actor"] == "user/pharmacist"
    wrong = world.ask("POST", path, json={"action": "override", "version": 2})
    assert wrong.status_code == 422


def test_the_other_client_is_not_there(world):
    theirs = only(world, "mercy")
    ours = only(world)
    assert theirs["id"] != ours["id"]
    for method, path, body in (
        ("GET", f"/api/v1/alerts/{theirs['id']}", None),
        ("GET", f"/api/v1/alerts/{theirs['id']}/events", None),
        ("POST", f"/api/v1/alerts/{theirs['id']}/actions", {"action": "acknowledge", "version": 1}),
    ):
        assert world.ask(method, path, json=body).status_code == 404


POSTS = [path for method, path in ROUTES if method == "POST" and "reload" not in path]


def test_what_is_no_strict_json_is_refused_whoever_sends_it(world):
    """The framework alone takes NaN, and the last of two members; and it asks who sends a body after reading it."""
    told = {"content-type": "application/json"}
    known = told | {"Authorization": f"Bearer {world.token('lead')}"}
    bodies = {"too large": b" " * 65_536 + b"1", **REFUSED}
    for path in POSTS:
        address = path.replace("{number}", "1")
        for what, body in bodies.items():
            status = 413 if len(body) > 65_536 else 400
            for headers in (told, known):
                answer = world.client.post(address, content=body, headers=headers)
                assert answer.status_code == status, (path, what)
        answer = world.client.post(address, content=b"<a/>", headers={"content-type": "text/xml"})
        assert answer.status_code == 415


def test_views_are_in_the_audit_trail(world):
    alert = only(world)
    world.ask("GET", f"/api/v1/alerts/{alert['id']}")
    world.ask("GET", f"/api/v1/alerts/{alert['id']}/events")
    world.ask("GET", f"/api/v1/alerts?view=everything&patient={alert['patient']}")
    world.drain()
    with world.record.database.reading() as connection:
        rows = connection.execute(select(models.audit).where(models.audit.c.tenant == T)).all()
    told = [(row.action, row.object, row.actor) for row in rows]
    assert ("list", "alerts/todo", "user/pharmacist") in told
    assert ("view", f"alert/{alert['id']}", "user/pharmacist") in told
    looked = {
        row.object
        for row in rows
        if (row.actor, row.patient) == ("user/pharmacist", alert["patient"])
    }
    assert looked == {f"alert/{alert['id']}", f"alert/{alert['id']}/events", "alerts/everything"}, (
        "who asks about a patient finds every look at that patient"
    )


def test_a_token_ends_with_its_time_its_revocation_and_its_account(world):
    record, given = world.record, {"tenant": T, "actor": "operator", "now": NOON}
    path = "/api/v1/rules"
    assert world.ask("GET", path, "auditor").status_code == 200
    world.now = NOON + timedelta(days=91)
    assert world.ask("GET", path, "auditor").status_code == 401
    world.now = NOON
    (held,) = [one for one in accounts(record.database, T) if one["name"] == "auditor"]
    revoke_token(record.database, record.keyring, token=held["tokens"][0]["id"], **given)
    assert world.ask("GET", path, "auditor").status_code == 401
    assert world.ask("GET", path, "reader").status_code == 200
    disable_account(record.database, record.keyring, name="reader", **given)
    assert world.ask("GET", path, "reader").status_code == 401
    with record.database.reading() as connection:
        stored = str(connection.execute(select(models.token)).all())
    assert not any(secret in stored for secret in world.tokens.values())


def test_rules_and_runs_are_told(world):
    database = world.record.database
    begin_run(database, tenant=T, run="r1", source="export", digest="d", knowledge="k", at=NOON)
    end_run(
        database,
        tenant=T,
        run="r1",
        state="done",
        counts={"patients": 3},
        at=NOON + timedelta(minutes=5),
    )
    (run,) = world.ask("GET", "/api/v1/runs").json()
    assert (run["state"], run["counts"], run["started"]) == (
        "done",
        {"patients": 3},
        "2026-11-22T12:00:00Z",
    )
    rules = {one["rule"]: one for one in world.ask("GET", "/api/v1/rules?days=1").json()}
    assert (rules[RULE]["fired"], rules["never-fires"]["silent"]) == (1, True)


def test_accounts_have_a_role_and_a_name_once(world):
    given = {"tenant": T, "actor": "operator", "now": NOON}
    with pytest.raises(RequestError, match="no role"):
        new_account(world.record.database, world.record.keyring, name="x", role="god", **given)
    world.token("lead")
    with pytest.raises(RequestError, match="exists"):
        new_account(world.record.database, world.record.keyring, name="lead", role="lead", **given)
    with pytest.raises(RequestError, match="no such account"):
        mint_token(world.record.database, world.record.keyring, account="nobody", **given)


def test_a_mode_is_changed_by_two_people_who_may(world):
    asked = world.ask(
        "POST",
        f"/api/v1/rules/{RULE}/mode",
        "lead",
        json={"mode": "live", "reason": "60 firings read"},
    )
    assert (asked.status_code, asked.json()["state"], asked.json()["before"]) == (
        200,
        "asked",
        "shadow",
    )
    path = f"/api/v1/mode-changes/{asked.json()['id']}/decision"
    assert world.ask("POST", path, "lead", json={"approve": True}).status_code == 403
    given = {"tenant": T, "actor": "operator", "now": NOON}
    new_account(world.record.database, world.record.keyring, name="second", role="lead", **given)
    other = mint_token(world.record.database, world.record.keyring, account="second", **given)
    made = world.client.post(
        path, json={"approve": True}, headers={"Authorization": f"Bearer {other}"}
    )
    assert (made.json()["state"], made.json()["decided_by"]) == ("made", "user/second")
    again = world.ask(
        "POST", f"/api/v1/rules/{RULE}/mode", "lead", json={"mode": "off", "reason": "too many"}
    )
    assert again.json()["before"] == "live"
    assert len(world.ask("GET", "/api/v1/mode-changes").json()) == 2
    none = world.ask(
        "POST",
        "/api/v1/rules/no-such-rule/mode",
        "lead",
        json={"mode": "off", "reason": "too many"},
    )
    assert none.status_code == 404


def test_an_alert_says_until_when_it_may_be_put_off(world):
    """What a client offers its people is what would be accepted: each answer names the latest time."""
    critical = reviewed(recommendation(indicator="critical"))
    world.record.record(call(801, patient="p801"), critical, may_speak=RULES)
    world.drain()
    number = max(one["id"] for one in world.ask("GET", "/api/v1/alerts").json()["alerts"])

    def at_most():
        return world.ask("GET", f"/api/v1/alerts/{number}").json()["snooze_at_most"]

    def snooze(until):
        version = world.ask("GET", f"/api/v1/alerts/{number}").json()["version"]
        wanted = {"action": "snooze", "version": version, "until": until}
        return world.ask("POST", f"/api/v1/alerts/{number}/actions", json=wanted)

    begun = world.now
    first = at_most()
    assert first == _text(begun + timedelta(hours=24))
    assert snooze(_text(begun + timedelta(hours=2))).json()["snooze_at_most"] == first
    world.now = begun + timedelta(hours=20)
    assert at_most() == first
    assert snooze(_text(begun + timedelta(hours=25))).status_code == 422
    assert snooze(first).status_code == 200
    world.now = begun + timedelta(hours=24)
    assert at_most() is None
    listed = world.ask("GET", "/api/v1/alerts").json()["alerts"]
    assert {one["id"]: one["snooze_at_most"] for one in listed}[number] is None


def _text(instant):
    return instant.isoformat().replace("+00:00", "Z")
