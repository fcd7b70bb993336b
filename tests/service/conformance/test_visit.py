"""A visit finds nothing wrong with a service that behaves, and every fault of one that does not."""

import json
import socket

import httpx2
import pytest
from typer.testing import CliRunner

from rules.errors import RequestError, Unavailable
from service.cli import Exit
from service.conformance import cli
from service.conformance.findings import CHECKS
from service.conformance.visit import visit
from service.record_cli import EXIT_DIFFERS, EXIT_TAMPERED
from tests.service.conformance.specimens import (
    BASE,
    DISCOVERY,
    ORIGIN,
    RESPONSE,
    GoodService,
    changed,
    outcome,
)


def checks_of(transport) -> set[str]:
    return {one.check for one in visit(BASE, transport=transport).findings}


def test_a_service_that_behaves_is_told_so():
    report = visit(f"{BASE}/cds-services/", transport=GoodService())
    assert report.findings == ()
    assert report.services == {
        "good-order-sign": "2 cards",
        "other": "not called: no sample of the hook 'zz-other'",
    }
    assert report.as_json()["conforms"] is True


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (
            "shadow",
            "0 cards: the rules of this client are in the mode 'shadow', which shows nothing",
        ),
        ("off", "0 cards: the rules of this client are in the mode 'off', which shows nothing"),
        ("live", "0 cards: does the client's profile accept drafts?"),
        (None, "0 cards"),
    ],
)
def test_a_client_in_trial_is_told_why_it_sees_nothing(mode, told):
    def silent(_):
        extension = {"org.dekacard.review": {"mode": mode}} if mode else {"org.example.x": 1}
        return httpx2.Response(200, json={"cards": [], "extension": extension})

    report = visit(BASE, transport=Wrapped(on_call(lambda _: True, silent)))
    said = report.services["good-order-sign"]
    assert said.startswith(told)
    assert said == told or mode == "live"


class Wrapped(GoodService):
    """A service of which one thing is changed by a function (request, usual answer) -> answer."""

    def __init__(self, change):
        self.change = change

    def handle_request(self, request):
        return self.change(request, super().handle_request(request))


def on_call(when, answer):
    """Answer differently where ``when(body)`` holds for a call."""

    def change(request, usual):
        body = _body(request)
        calls = request.method == "POST" and request.url.path.endswith("-sign")
        return answer(usual) if calls and isinstance(body, dict) and when(body) else usual

    return change


def on(method, ending, answer):
    """Answer differently to this method on paths that end so."""

    def change(request, usual):
        hit = request.method == method and request.url.path.endswith(ending)
        return answer(usual) if hit else usual

    return change


def on_bytes(content, answer):
    return lambda request, usual: answer(usual) if request.content == content else usual


def _body(request):
    try:
        return json.loads(request.content)
    except ValueError:
        return None


def status(code):
    return lambda _: httpx2.Response(code)


def value(document, **headers):
    return lambda _: httpx2.Response(200, json=document, headers=headers)


def text(content, kind="application/json"):
    return lambda _: httpx2.Response(200, content=content, headers={"content-type": kind})


def prefetched(kind):
    """Whether every prefetch value is of this kind."""

    def when(body):
        values = (body.get("prefetch") or {}).values()
        if kind == "absent":
            return "prefetch" not in body
        if kind == "null":
            return bool(values) and all(one is None for one in values)
        if kind == "empty":
            return (
                bool(values)
                and any(isinstance(v, dict) and v.get("total") == 0 for v in values)
                and None in values
            )
        return bool(values) and all(
            isinstance(v, dict) and v.get("resourceType") == kind for v in values
        )

    return when


def echo(request, usual):
    return (
        httpx2.Response(usual.status_code, content=request.content)
        if usual.status_code == 400
        else usual
    )


counter = iter(range(10**6))


def another_topic(usual):
    if usual.status_code != 200:
        return usual
    path = ("cards", 0, "source", "topic", "code")
    return httpx2.Response(200, json=changed(usual.json(), *path, to=f"T{next(counter)}"))


BROKEN = {
    "discovery-answers": on("GET", "/cds-services", status(404)),
    "discovery-services": on("GET", "/cds-services", value({"services": {}})),
    "discovery-slash": on("GET", "/cds-services/", status(307)),
    "discovery-head": on("HEAD", "/cds-services", status(405)),
    "service-id-twice": on("GET", "/cds-services", value({"services": DISCOVERY["services"] * 2})),
    "response-json": on_call(lambda b: True, text(b"cards")),
    "response-type": on_call(lambda b: True, text(json.dumps(RESPONSE), "text/html")),
    "cards-array": on_call(lambda b: True, value({})),
    "call-answers": on_call(lambda b: True, status(204)),
    "call-stable": on_call(lambda b: True, another_topic),
    "tolerates-unknown": on_call(lambda b: "extension" in b, lambda _: outcome(400)),
    "tolerates-instance": on_call(lambda b: b.get("hookInstance") == "NOT-A-UUID", lambda _: outcome(400)),
    "tolerates-type": lambda r, u: outcome(415) if "fhir" in r.headers.get("content-type", "") else u,
    "prefetch-null": on_call(prefetched("null"), lambda _: outcome(412)),
    "prefetch-empty": on_call(prefetched("empty"), lambda _: outcome(412)),
    "prefetch-outcome": on_call(prefetched("OperationOutcome"), value({"cards": []})),
    "prefetch-absent": on_call(prefetched("absent"), value({"cards": []})),
    "refuses-garbage": on_bytes(b'{"hook": ', value(RESPONSE)),
    "refuses-nan": on_bytes(b'{"hook": NaN}', value(RESPONSE)),
    "refuses-incomplete": on_call(lambda b: "context" not in b, value(RESPONSE)),
    "refuses-hook": on_call(lambda b: b.get("hook") == "zz-unknown", value(RESPONSE)),
    "refuses-unknown-id": on("POST", "zz-no-such-service", lambda _: outcome(400)),
    "refuses-get": on("GET", "-sign", value(RESPONSE)),
    "refuses-xml": lambda r, u: httpx2.Response(200) if r.content == b"<a/>" else u,
    "never-5xx": on_call(lambda b: "context" not in b, status(500)),
    "no-echo": echo,
    "error-outcome": lambda r, u: httpx2.Response(400, text="no") if u.status_code == 400 else u,
    "feedback-answers": on("POST", "/feedback", lambda _: outcome(422)),
    "feedback-tolerant": lambda r, u: outcome(422) if b"com.epic" in r.content else u,
    "feedback-absent": on("POST", "/feedback", lambda _: outcome(404)),
    "cors-preflight": on("OPTIONS", "/cds-services", status(405)),
    "cors-credentials": lambda r, u: httpx2.Response(
        u.status_code,
        content=u.content,
        headers={**u.headers, "access-control-allow-origin": "*", "access-control-allow-credentials": "true"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("check", BROKEN)
def test_a_fault_of_behaviour_is_found(check):
    assert check in checks_of(Wrapped(BROKEN[check]))


def test_a_fault_in_a_card_is_found_on_the_way():
    service = GoodService()
    service.response = changed(RESPONSE, "cards", 0, "indicator", to="hard-stop")
    found = [
        one for one in visit(BASE, transport=service).findings if one.check == "card-indicator"
    ]
    assert found[0].where == "/cds-services/good-order-sign, a proper call: $.cards[0].indicator"


def test_a_member_that_stands_twice_is_found():
    body = '{"cards": [], "cards": [], "extension": {"org.example.x": 1}}'
    assert "response-json" in checks_of(Wrapped(on_call(lambda b: True, text(body))))


def test_plain_http_is_found_outside_loopback():
    assert {
        one.check for one in visit("http://cds.example.org", transport=GoodService()).findings
    } == {"tls"}
    assert visit("http://127.0.0.1:8080", transport=GoodService()).findings == ()


def test_a_service_that_wants_a_token_gets_one_for_each_address():
    asked = []

    def change(request, usual):
        if request.method == "OPTIONS":
            return usual
        return (
            usual
            if request.headers.get("authorization") == f"Bearer for {request.url}"
            else status(401)(usual)
        )

    def token(url):
        asked.append(url)
        return f"for {url}"

    assert visit(BASE, transport=Wrapped(change), token=token).findings == ()
    assert f"{BASE}/cds-services/good-order-sign/feedback" in asked
    report = visit(BASE, transport=Wrapped(change))
    assert {one.check for one in report.findings} == {"discovery-answers"}


def test_a_wrong_address_and_a_silent_service_are_told_apart():
    with pytest.raises(RequestError):
        visit("cds.example.org")

    class Dead(httpx2.BaseTransport):
        def handle_request(self, request):
            raise httpx2.ConnectError("no")

    with pytest.raises(Unavailable):
        visit(BASE, transport=Dead())


def test_every_check_is_proven_by_a_fault():
    from tests.service.conformance.test_shapes import FAULTS_OF_DISCOVERY, FAULTS_OF_RESPONSE

    proven = set(BROKEN) | {"tls", "service-id-twice"}
    proven |= {check for check, _ in FAULTS_OF_DISCOVERY} | {
        check for check, _ in FAULTS_OF_RESPONSE
    }
    assert set(CHECKS) - proven == set()
    assert proven - set(CHECKS) == set()


@pytest.fixture
def command(monkeypatch):
    """The command, with a service of the test's choice at the other end."""

    def run(transport, *arguments):
        def instead(url, **options):
            return visit(url, **{**options, "transport": transport})

        monkeypatch.setattr("service.conformance.visit.visit", instead)
        return CliRunner().invoke(cli.app, [BASE, *arguments])

    return run


def test_the_command_prints_a_verdict_and_exits_by_it(command):
    good = command(GoodService())
    assert (good.exit_code, "conforms" in good.output) == (0, True)
    bad = command(Wrapped(BROKEN["never-5xx"]))
    assert bad.exit_code == cli.EXIT_FINDINGS
    assert "does not conform" in bad.output
    warned = Wrapped(BROKEN["feedback-absent"])
    assert command(warned).exit_code == 0
    assert command(warned, "--strict").exit_code == cli.EXIT_FINDINGS


def test_the_command_prints_json(command):
    report = json.loads(command(Wrapped(BROKEN["feedback-absent"]), "--json").output)
    assert [one["check"] for one in report["findings"]] == ["feedback-absent"]
    assert report["findings"][0]["requirement"] == "C60"


def test_silence_at_the_other_end_has_a_number_of_its_own():
    with socket.socket() as taken:  # bound but not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert CliRunner().invoke(cli.app, [address]).exit_code == cli.EXIT_UNREACHABLE
    others = {int(code) for code in Exit} | {EXIT_TAMPERED, EXIT_DIFFERS}
    assert cli.EXIT_UNREACHABLE not in others


def test_a_key_without_an_issuer_is_wrong_usage(command):
    assert command(GoodService(), "--key", "x.json").exit_code == 2
    assert command(GoodService(), "--key", "missing.json", "--issuer", ORIGIN).exit_code == 2


def test_a_service_that_lets_only_its_discovery_be_read_is_not_called_further():
    asked = []

    def change(request, usual):
        if request.method == "POST" and request.url.path.endswith("-sign"):
            asked.append(request.content)
            return outcome(401)
        return usual

    report = visit(BASE, transport=Wrapped(change))
    assert report.services["good-order-sign"].startswith("401: wants a token")
    assert len(asked) == 1
    assert report.findings == ()


def test_a_service_that_wants_more_data_is_told_so_and_not_blamed_for_it():
    report = visit(BASE, transport=Wrapped(on_call(lambda b: "hook" in b, lambda _: outcome(412))))
    assert report.services["good-order-sign"] == "412: wants more data"
    assert {"call-answers", "prefetch-outcome", "prefetch-absent"}.isdisjoint(
        one.check for one in report.findings
    )


def test_a_service_without_prefetch_is_not_asked_about_it():
    bare = changed(DISCOVERY, "services", 0, "prefetch", drop=True)
    report = visit(BASE, transport=Wrapped(on("GET", "/cds-services", value(bare))))
    assert report.services["good-order-sign"] == "412: wants more data"
    assert not [one for one in report.findings if one.check.startswith("prefetch")]


def test_a_failure_instead_of_an_answer_without_prefetch_is_found():
    assert "prefetch-absent" in checks_of(
        Wrapped(on_call(prefetched("absent"), lambda _: outcome(422)))
    )


def test_a_browser_that_may_not_send_the_token_is_found():
    headers = {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-headers": "content-type",
    }
    found = visit(
        BASE,
        transport=Wrapped(on("OPTIONS", "-sign", lambda _: httpx2.Response(204, headers=headers))),
    ).findings
    assert [(one.check, one.says) for one in found] == [
        ("cors-preflight", "authorization and content-type are not allowed")
    ]  # fmt: skip
