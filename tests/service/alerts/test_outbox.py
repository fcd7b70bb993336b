"""Announcements: unclaimed critical alerts, once per alert and receiver, retried, without patient data."""

import hashlib
import hmac
import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import msgspec
import pytest
from sqlalchemy import select

from service.alerts import models
from service.alerts.drainer import Drainer
from service.alerts.lifecycle import Request
from service.alerts.outbox import deliver, http_post
from service.alerts.store import Store
from service.alerts.values import Receiver
from tests.service.alerts.stories import ABOUT, NOON, RULES, call, recommendation, reviewed

T = "st-elsewhere"
RECEIVERS = (
    Receiver(
        name="pager", tenant=T, url="https://pager.example/a", secret="s3cret", after_minutes=15
    ),
    Receiver(name="chat", tenant=T, url="https://chat.example/b", after_minutes=0),
    Receiver(name="other", tenant="mercy", url="https://mercy.example/c", after_minutes=0),
)


class Post:
    """A receiver that answers what it is told to, and remembers what came."""

    def __init__(self, *answers):
        self.answers, self.came = list(answers), []

    def __call__(self, url, body, headers):
        self.came.append((url, json.loads(body), dict(headers), body))
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def critical(database, keyring, options, recorder):
    drainer = Drainer(database, keyring, msgspec.structs.replace(options, receivers=RECEIVERS))

    def see(number=1, indicator="critical", minutes=0, **more):
        recorder.record(
            call(number, patient="MRN-canary", minutes=minutes, **more), reviewed(recommendation(indicator=indicator)),
            may_speak=RULES,
        )  # fmt: skip
        drainer.drain()

    yield see
    drainer.stop()


@pytest.fixture
def receiver():
    """A real receiver on this machine that answers what it is told to, and remembers what came."""
    answers, came = [500, 503], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append((self.path, dict(self.headers), body))
            status = answers.pop(0) if answers else 204
            self.send_response(status)
            if status == 307:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/in"
        yield SimpleNamespace(url=url, answers=answers, came=came)
        server.shutdown()


def states(database):
    with database.reading() as connection:
        rows = connection.execute(select(models.outbox).order_by(models.outbox.c.id)).all()
    return {row.receiver: row.state for row in rows}


def test_each_receiver_hears_once_of_a_critical_alert_and_nothing_of_the_patient(
    database, critical
):
    post = Post()
    for number in range(3):
        critical(number, minutes=number)
    assert deliver(database, RECEIVERS, post, NOON) == 1
    assert deliver(database, RECEIVERS, post, NOON + timedelta(minutes=20)) == 1
    assert deliver(database, RECEIVERS, post, NOON + timedelta(hours=20)) == 0
    assert [url for url, *_ in post.came] == ["https://chat.example/b", "https://pager.example/a"]
    said = str(post.came)
    assert "canary" not in said
    assert ABOUT not in said
    _, _, headers, body = post.came[1]
    assert (
        headers["X-Dekacard-Signature"]
        == f"sha256={hmac.digest(b's3cret', body, hashlib.sha256).hex()}"
    )
    assert states(database) == {"pager": "sent", "chat": "sent"}


def test_a_failed_delivery_is_tried_again_under_the_same_name(database, critical):
    critical()
    post = Post(503, OSError("no route"), 200)
    for minutes in range(0, 60, 5):
        deliver(database, RECEIVERS[1:], post, NOON + timedelta(minutes=minutes))
    names = {headers["Idempotency-Key"] for url, _, headers, _ in post.came if "chat" in url}
    assert len([1 for url, *_ in post.came if "chat" in url]) == 3
    assert len(names) == 1
    assert states(database)["chat"] == "sent"


def test_what_is_claimed_or_closed_in_time_is_not_announced(database, keyring, critical):
    critical()
    Store(database, keyring).change(T, 1, 1, Request(action="claim", actor="user/ann", at=NOON))
    post = Post()
    deliver(database, RECEIVERS, post, NOON + timedelta(hours=1))
    assert post.came == []
    assert set(states(database).values()) == {"not-needed"}


def test_what_is_released_again_is_announced_after_the_pause_of_its_receiver(
    database, keyring, critical
):
    critical()
    store, post, hour = Store(database, keyring), Post(), timedelta(hours=1)
    store.change(T, 1, 1, Request(action="claim", actor="user/ann", at=NOON))
    assert deliver(database, RECEIVERS, post, NOON + hour) == 0
    released = Request(action="release", actor="user/ann", at=NOON + hour)
    store.change(T, 1, 2, released)
    assert deliver(database, RECEIVERS, post, NOON + hour) == 1
    assert states(database) == {"pager": "waiting", "chat": "sent"}
    assert deliver(database, RECEIVERS, post, NOON + hour + timedelta(minutes=14)) == 0
    assert deliver(database, RECEIVERS, post, NOON + hour + timedelta(minutes=15)) == 1
    assert states(database) == {"pager": "sent", "chat": "sent"}


def test_what_leaves_its_trial_is_announced(database, critical):
    critical(1, mode="shadow")
    assert states(database) == {}
    critical(2, minutes=5, mode="live")
    assert states(database) == {"pager": "waiting", "chat": "waiting"}


def test_warnings_and_trials_are_not_announced_and_an_escalation_is(database, critical):
    critical(1, indicator="warning")
    critical(2, mode="shadow", minutes=1)
    assert states(database) == {}


def test_an_escalation_is_announced(database, critical):
    critical(1, indicator="warning")
    critical(2, minutes=1)
    assert states(database) == {"pager": "waiting", "chat": "waiting"}


def test_a_delivery_that_was_cut_off_by_a_crash_is_taken_up_again_after_its_lease(
    database, critical
):
    critical()

    class Crash(BaseException):
        pass

    def die(*_):
        raise Crash

    with pytest.raises(Crash):
        deliver(database, RECEIVERS[1:], die, NOON)
    post = Post()
    assert deliver(database, RECEIVERS[1:], post, NOON + timedelta(seconds=30)) == 0
    assert deliver(database, RECEIVERS[1:2], post, NOON + timedelta(seconds=90)) == 1


def test_a_round_without_work_writes_nothing(database, critical, monkeypatch):
    critical()
    deliver(database, RECEIVERS, lambda *_: 200, NOON + timedelta(days=1))

    def write(_job):
        pytest.fail("a round without work waited for the writer")

    monkeypatch.setattr(database, "write", write)
    assert deliver(database, RECEIVERS, lambda *_: 200, NOON + timedelta(days=2)) == 0


def test_a_receiver_that_fails_twice_hears_once_more_over_http_under_the_same_name(
    database, critical, receiver
):
    pager = msgspec.structs.replace(RECEIVERS[1], url=receiver.url, secret="s3cret")
    critical()
    for seconds, delivered in ((0, 0), (20, 0), (31, 0), (60, 0), (92, 1), (4000, 0)):
        assert (
            deliver(database, (pager,), http_post, NOON + timedelta(seconds=seconds)) == delivered
        )
    assert states(database)["chat"] == "sent"
    assert [path for path, *_ in receiver.came] == ["/in"] * 3
    assert len({headers["Idempotency-Key"] for _, headers, _ in receiver.came}) == 1
    for _, headers, body in receiver.came:
        mark = hmac.digest(b"s3cret", body, hashlib.sha256).hex()
        assert headers["X-Dekacard-Signature"] == f"sha256={mark}"


def test_a_redirect_is_not_followed_and_no_answer_is_tried_again(database, critical, receiver):
    receiver.answers[:] = [307]
    pager = msgspec.structs.replace(RECEIVERS[1], url=receiver.url)
    critical()
    assert deliver(database, (pager,), http_post, NOON) == 0
    nobody = msgspec.structs.replace(pager, url="http://127.0.0.1:1/in")
    assert deliver(database, (nobody,), http_post, NOON + timedelta(seconds=31)) == 0
    assert states(database)["chat"] == "waiting"
    assert [path for path, *_ in receiver.came] == ["/in"]
