"""Too many calls: 429 for a client beyond its agreement, 503 when too many wait; both say when to come again."""

import http.client
import json
import re
import threading
import time
from contextlib import closing
from datetime import UTC, datetime

import pytest
import yaml
from fastapi.testclient import TestClient

from rules.errors import RequestError
from service.app import create_app
from service.cds_hooks.call_rate import CallRate
from service.cds_hooks.client_profile import ClientProfile
from service.cds_hooks.minting import make_key, mint_token
from service.cds_hooks.outcomes import TooOften
from service.settings import Settings
from tests.operations.conftest import VIEW, until

BASE = "https://cds.example.org"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def profile(name, limit):
    return ClientProfile(
        id=name, title=name, rules={"mode": "live", "accept_draft": True}, calls_per_minute=limit
    )


class TestCallRate:
    def test_the_limit_holds_for_each_client_and_ends_with_its_minute(self):
        now = [1000.0]
        rate = CallRate(lambda: now[0])
        for _ in range(3):
            rate.take(profile("one", 3), "hook")
        with pytest.raises(TooOften) as refused:
            rate.take(profile("one", 3), "hook")
        assert refused.value.retry_after == 60
        assert refused.value.status == 429
        rate.take(profile("two", 3), "hook")  # somebody else's calls are not counted
        now[0] += 59.5
        with pytest.raises(TooOften) as refused:
            rate.take(profile("one", 3), "hook")
        assert refused.value.retry_after == 1
        now[0] += 0.5
        rate.take(profile("one", 3), "hook")

    def test_hooks_feedback_and_discovery_are_counted_apart(self):
        rate = CallRate(lambda: 1000.0)
        for kind in ("hook", "feedback", "discovery"):
            rate.take(profile("one", 1), kind)
            with pytest.raises(TooOften):
                rate.take(profile("one", 1), kind)

    def test_the_minute_ends_also_when_the_date_is_put_right_meanwhile(self, monkeypatch):
        """A machine that starts with a wrong date and corrects it would else refuse a client until that date."""
        began, passed = time.monotonic(), [0.0]
        monkeypatch.setattr(time, "time", lambda: 4_000_000_000.0)
        monkeypatch.setattr(time, "monotonic", lambda: began + passed[0])
        rate = CallRate()
        rate.take(profile("one", 1), "hook")
        monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
        with pytest.raises(TooOften):
            rate.take(profile("one", 1), "hook")
        passed[0] = 60.0
        rate.take(profile("one", 1), "hook")

    def test_it_is_told_as_a_refusal_of_ours(self):
        assert isinstance(TooOften(5), RequestError)


@pytest.fixture
def hospital(tmp_path):
    """A service with one client that may call twice a minute, and the client's key."""
    key = make_key("ES384", "k")
    written = {
        "id": "st-elsewhere", "title": "St Elsewhere", "calls_per_minute": 2,
        "rules": {"mode": "live", "accept_draft": True}, "origins": ["https://ehr.example.org"],
        "trust": {"issuers": ["https://ehr.example.org"], "jwks": key.public_set(), "audience_base": BASE},
    }  # fmt: skip
    folder = tmp_path / "clients"
    folder.mkdir()
    (folder / "one.yaml").write_text(yaml.safe_dump(written))
    settings = Settings(
        clients=folder, engine="compiled", jti_store=f"sqlite:///{tmp_path}/used.sqlite",
        store_url=f"sqlite:///{tmp_path}/record.sqlite", spool_dir=tmp_path / "spool", keyring=tmp_path / "keys",
    )  # fmt: skip
    from service.alerts.record import open_record
    from service.bootstrap import record_options

    open_record(record_options(settings), create_keys=True, upgrade=True).close()
    with TestClient(create_app(settings, clock=lambda: NOON), base_url=BASE) as client:
        yield client, key


def test_a_client_that_calls_too_often_is_told_when_to_come_again(hospital, call_body, caplog):
    client, key = hospital

    def call(path=VIEW, content=call_body):
        token = mint_token(
            key, issuer="https://ehr.example.org", audience=f"{BASE}{path}", now=NOON.timestamp()
        )
        headers = {
            "authorization": f"Bearer {token}", "content-type": "application/json",
            "origin": "https://ehr.example.org",
        }  # fmt: skip
        return client.post(path, content=content, headers=headers)

    assert [call().status_code for _ in range(2)] == [200, 200]
    refused = call()
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["access-control-allow-origin"] == "https://ehr.example.org"
    assert refused.json()["issue"][0]["code"] == "throttled"
    assert "429 to client st-elsewhere: hook beyond its limit" in caplog.text
    # What clinicians answered is sent once: hooks do not use up its budget
    answer = {"card": "x", "outcome": "accepted", "outcomeTimestamp": "2026-11-22T12:00:00Z"}
    feedback = json.dumps({"feedback": [answer]})
    assert call(f"{VIEW}/feedback", feedback).status_code == 200
    # A caller that is not believed uses up nobody's calls
    assert client.post(VIEW, content=call_body).status_code == 401
    metrics = client.get("/metrics").text
    assert 'dekacard_calls_limited_total{client="st-elsewhere"} 1.0' in metrics
    assert re.search(r'jwt_rejected_total\{reason="token-missing"\} 1\.0', metrics)


def test_when_too_many_wait_the_next_is_told_to_come_again(start, call_body):
    service = start(DEKACARD_MAX_OPEN_CALLS="1")
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)) as slow:
        slow.putrequest("POST", VIEW)
        slow.putheader("Content-Type", "application/json")
        slow.putheader("Content-Length", str(len(call_body)))
        slow.endheaders()
        slow.send(call_body[:100])
        until(
            lambda: service.figure("dekacard_calls_open") >= 2, service.log
        )  # with the one that asks
        with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)) as other:
            other.request("POST", VIEW, call_body, {"Content-Type": "application/json", "Origin": "https://x.example"})  # fmt: skip
            answer = other.getresponse()
            assert answer.status == 503
            assert answer.getheader("retry-after") == "1"
            assert answer.getheader("access-control-allow-origin")
            assert json.loads(answer.read())["issue"][0]["code"] == "transient"
        # What clinicians answered is sent once, and never turned away for the sake of hooks
        said = {"card": "x", "outcome": "accepted", "outcomeTimestamp": "2026-11-22T12:00:00Z"}
        assert service.post(f"{VIEW}/feedback", json.dumps({"feedback": [said]}).encode())[0] == 200
        assert "503 to a call of patient-view: too many wait" in service.log()
        until(lambda: '"reason":"too-many-open"' in service.log(), service.log)
        assert service.get("/livez")[0] == 200  # whoever watches is never turned away
        slow.send(call_body[100:])
        first = slow.getresponse()
        assert first.status == 200
        assert json.loads(first.read())["cards"]
    assert service.figure("dekacard_calls_shed_total") == 1


def test_a_burst_is_answered_or_told_to_come_again_and_never_lost(start, call_body):
    service = start(DEKACARD_MAX_OPEN_CALLS="4")
    statuses = []

    def call():
        statuses.append(service.post(VIEW, call_body)[0])

    callers = [threading.Thread(target=call) for _ in range(40)]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    assert len(statuses) == 40
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 1
    shed = statuses.count(503)
    until(lambda: service.figure("dekacard_calls_shed_total") == shed, service.log)
