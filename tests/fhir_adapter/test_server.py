"""What the EHR did not send is fetched from its own server only, and every failure stays visible."""

import asyncio
import gzip
import json

import pytest

from fhir_adapter import server
from fhir_adapter.server import REASONS, fetch, fetch_now, open_client
from fhir_adapter.server_address import (
    AddressRefused,
    check_configured_base,
    check_query,
    follow,
    match_base,
    take_apart,
)
from tests.fhir_server.server import (
    Answers,
    Dripping,
    FhirServer,
    Huge,
    NextLink,
    Slow,
    Truncated,
    failing,
    outcome,
    redirecting,
)

TOKEN = "canary-token-7391"
QUERIES = {
    "patient": "Patient/p1",
    "inr": "Observation?patient=p1&code=http://loinc.org|6301-6",
    "medicationRequests": "MedicationRequest?patient=p1",
}


def ehr_data(observations=3) -> list[dict]:
    subject = {"reference": "Patient/p1"}
    found = [{"resourceType": "Patient", "id": "p1"}]
    found += [
        {"resourceType": "Observation", "id": f"o{n}", "subject": subject}
        for n in range(observations)
    ]
    return [*found, {"resourceType": "MedicationRequest", "id": "m1", "subject": subject}]


@pytest.fixture
def ehr():
    with FhirServer(resources=ehr_data(), token=TOKEN) as running:
        yield running


def ask(ehr, queries=None, *, deadline=2.0, token=TOKEN, base=None, allowed=None):
    return fetch_now(
        queries or QUERIES,
        base=base or ehr.base,
        token=token,
        allowed_bases=allowed or [ehr.base],
        deadline=deadline,
    )


def ids(result) -> list[str]:
    return [entry["resource"]["id"] for entry in result.value["entry"]]


@pytest.mark.requirement("C29", "C35")
def test_missing_keys_are_fetched_with_the_token_of_the_call(ehr):
    results = ask(ehr)
    assert {key: result.state for key, result in results.items()} == dict.fromkeys(QUERIES, "read")
    assert results["patient"].value["id"] == "p1"
    assert ids(results["inr"]) == ["o0", "o1", "o2"]
    for seen in ehr.seen:
        assert seen.headers["authorization"] == f"Bearer {TOKEN}"
        assert "application/fhir+json" in seen.headers["accept"]


@pytest.mark.requirement("C37")
def test_an_open_server_is_asked_without_a_token(ehr):
    ehr.token = None
    assert ask(ehr, token=None)["inr"].state == "read"
    assert all("authorization" not in seen.headers for seen in ehr.seen)


def test_nothing_found_is_read_and_empty(ehr):
    result = ask(ehr, {"conditions": "Condition?patient=p1"})["conditions"]
    assert (result.state, result.value["entry"]) == ("read", [])


def test_every_page_is_read(ehr):
    ehr.resources, ehr.page_size = ehr_data(observations=7), 3
    result = ask(ehr)["inr"]
    assert (result.state, result.pages, len(ids(result))) == ("read", 3, 7)
    assert "link" not in result.value


# What the server does -> the state and the reason of the key it does it to. The other keys are read all the same.
FAULTS = {
    "answers late": (Slow(30), "failed", "deadline"),
    "drips": (Dripping(), "failed", "deadline"),
    "500": (failing(500), "failed", "status"),
    "401": (failing(401), "failed", "token-refused"),
    "403": (failing(403), "failed", "not-allowed"),
    "404": (failing(404), "failed", "not-offered"),
    "204": (Answers(204, b""), "failed", "status"),
    "truncated": (Truncated(), "failed", "unreachable"),
    "html": (Answers(200, b"<html>log in</html>", "text/html"), "failed", "not-json"),
    "NaN": (Answers(200, b'{"resourceType":"Bundle","x":NaN}'), "failed", "not-json"),
    "a list": (Answers(200, b"[]"), "failed", "not-json"),
    "nothing": (Answers(200, b""), "failed", "not-json"),
    "nested without end": (Answers(200, b"[" * 100_000), "failed", "not-json"),
    "another type": (Answers(200, b'{"resourceType":"Patient","id":"p1"}'), "failed", "wrong-type"),
    "no type": (Answers(200, b'{"id":"p1"}'), "failed", "wrong-type"),
    "entries that are no list": (
        Answers(200, b'{"resourceType":"Bundle","entry":{"a":1}}'),
        "failed",
        "wrong-type",
    ),
    "an outcome": (Answers(200, json.dumps(outcome("error", "x")).encode()), "failed", "outcome"),
    "larger than a page may be": (Huge(6 * 1024 * 1024), "failed", "too-large"),
    "a bomb": (
        Answers(200, gzip.compress(b" " * 30_000_000), headers=(("Content-Encoding", "gzip"),)),
        "failed",
        "too-large",
    ),
    "broken compression": (
        Answers(200, b"not gzip", headers=(("Content-Encoding", "gzip"),)),
        "failed",
        "unreachable",
    ),
    "an entry that was refused": (
        Answers(200, b'{"resourceType":"Bundle","entry":[{"response":{"status":"401"}}]}'),
        "partial",
        "wrong-type",
    ),
    "an outcome that grades nothing": (
        Answers(200, b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"OperationOutcome"}}]}'),
        "partial",
        "outcome",
    ),
    "fewer than it counts": (Answers(200, b'{"resourceType":"Bundle","total":3}'), "partial", "short"),
    "a next link elsewhere": (NextLink("https://evil.example/fhir/Observation?page=2"), "partial", "next-refused"),
    "a next link to itself": (NextLink("?patient=p1&code=http://loinc.org|6301-6"), "partial", "paging-loop"),
}  # fmt: skip


@pytest.mark.requirement("C29", "C31")
@pytest.mark.parametrize("what", FAULTS)
def test_a_failure_is_a_state_of_its_own_and_hurts_no_other_key(what, ehr):
    fault, state, reason = FAULTS[what]
    ehr.faults["Observation"] = fault
    deadline = 0.6 if reason == "deadline" else 5.0
    results = ask(ehr, deadline=deadline)
    assert (results["inr"].state, results["inr"].reason) == (state, reason)
    assert (results["inr"].value is None) == (state == "failed")
    assert results["patient"].state == results["medicationRequests"].state == "read"


@pytest.mark.requirement("C33", "C38")
def test_a_redirect_and_a_foreign_next_link_never_see_the_token(ehr):
    with FhirServer(resources=ehr_data()) as stranger:
        ehr.faults["Observation"] = redirecting(f"{stranger.base}/Observation")
        ehr.faults["MedicationRequest"] = NextLink(f"{stranger.base}/MedicationRequest?page=2")
        results = ask(ehr)
        assert results["inr"].reason == "redirect"
        assert (results["medicationRequests"].state, results["medicationRequests"].reason) == (
            "partial",
            "next-refused",
        )
        assert ids(results["medicationRequests"]) == ["m1"]
        assert stranger.seen == []


@pytest.mark.requirement("C38")
def test_a_server_that_no_profile_lists_is_never_called(ehr):
    results = ask(ehr, allowed=["https://ehr.example.org/fhir"])
    assert {result.reason for result in results.values()} == {"base-refused"}
    assert ehr.seen == []


def test_an_error_among_the_entries_makes_the_answer_incomplete(ehr):
    entry = {"resource": outcome("error", "timeout in the archive"), "search": {"mode": "outcome"}}
    body = {"resourceType": "Bundle", "entry": [entry]}
    ehr.faults["Observation"] = Answers(200, json.dumps(body).encode())
    assert ask(ehr)["inr"].reason == "outcome"
    entry["resource"] = outcome("warning", "4101: no results")
    ehr.faults["Observation"] = Answers(200, json.dumps(body).encode())
    assert ask(ehr)["inr"].state == "read"


def test_endless_pages_end(ehr):
    ehr.resources, ehr.page_size = ehr_data(observations=server.MOST_PAGES + 1), 1
    result = ask(ehr, deadline=10)["inr"]
    assert (result.state, result.reason, len(ids(result))) == (
        "partial",
        "too-many-pages",
        server.MOST_PAGES,
    )


def test_pages_read_before_the_deadline_are_kept(ehr, monkeypatch):
    ehr.resources, ehr.page_size = ehr_data(observations=4), 2
    taken = server._Query._take

    def then_slow(self, page):
        ehr.faults["Observation"] = Slow(30)
        return taken(self, page)

    monkeypatch.setattr(server._Query, "_take", then_slow)
    result = ask(ehr, {"inr": QUERIES["inr"]}, deadline=0.8)["inr"]
    assert (result.state, result.reason, ids(result)) == ("partial", "deadline", ["o0", "o1"])


@pytest.mark.requirement("C34")
@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a b", "ü", "a\x00"])
def test_a_token_that_would_break_a_header_is_not_sent(ehr, token):
    assert ask(ehr, token=token)["inr"].reason == "token-unusable"
    assert ehr.seen == []


def test_an_expired_token_is_named(ehr):
    assert ask(ehr, token="old")["inr"].reason == "token-refused"


def test_connections_are_kept_between_calls(ehr):
    async def twice():
        async with open_client() as client:
            for _ in range(5):
                await fetch(
                    {"patient": "Patient/p1"},
                    base=ehr.base,
                    token=TOKEN,
                    allowed_bases=[ehr.base],
                    deadline=2,
                    client=client,
                )

    asyncio.run(twice())
    assert (len(ehr.seen), ehr.connections) == (5, 1)


def test_proxies_of_the_environment_are_not_used(ehr, monkeypatch):
    with FhirServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        monkeypatch.setenv("ALL_PROXY", proxy.origin)
        assert ask(ehr)["patient"].state == "read"
        assert proxy.seen == []


def test_a_server_that_is_gone_is_a_failure():
    with FhirServer() as gone:
        base = gone.base
    result = fetch_now(QUERIES, base=base, token=None, allowed_bases=[base], deadline=2)["inr"]
    assert (result.state, result.reason) == ("failed", "unreachable")


def test_every_reason_is_met():
    met = {reason for _, _, reason in FAULTS.values()}
    rest = {"base-refused", "query-refused", "token-unusable", "redirect", "too-many-pages"}
    assert met | rest == set(REASONS)


BASE = "https://ehr.example.org/fhir/r4"
# None of these is the configured base, however much it looks like it.
NOT_THE_BASE = [
    "",
    "ehr.example.org/fhir/r4",
    "//ehr.example.org/fhir/r4",
    "http://ehr.example.org/fhir/r4",
    "ftp://ehr.example.org/fhir/r4",
    "file:///fhir/r4",
    "javascript://ehr.example.org/fhir/r4",
    "https:ehr.example.org/fhir/r4",
    "https:/ehr.example.org/fhir/r4",
    "https:///ehr.example.org/fhir/r4",
    "https://ehr.example.org",
    "https://ehr.example.org/",
    "https://ehr.example.org/fhir",
    "https://ehr.example.org/fhir/r4/Patient",
    "https://ehr.example.org/fhir/r4x",
    "https://ehr.example.org/fhir/R4",
    "https://ehr.example.org/fhir//r4",
    "https://ehr.example.org//fhir/r4",
    "https://ehr.example.org/fhir/./r4",
    "https://ehr.example.org/fhir/x/../r4",
    "https://ehr.example.org/fhir/r4/..",
    "https://ehr.example.org/fhir/%2e%2e/r4",
    "https://ehr.example.org/fhir%2fr4",
    "https://ehr.example.org/fhir%5cr4",
    "https://ehr.example.org\\fhir\\r4",
    "https://ehr.example.org/fhir/r4?x=1",
    "https://ehr.example.org/fhir/r4?",
    "https://ehr.example.org/fhir/r4#x",
    "https://ehr.example.org/fhir/r4;x",
    "https://ehr.example.org/fhir/r4%00",
    "https://ehr.example.org/fhir/r4\n",
    " https://ehr.example.org/fhir/r4",
    "https://ehr.example.org/fhir/r4 ",
    "https://ehr.example.org\t/fhir/r4",
    "https://ehr.example.org.attacker.example/fhir/r4",
    "https://ehr.example.organic/fhir/r4",
    "https://xehr.example.org/fhir/r4",
    "https://attacker.example/fhir/r4",
    "https://attacker.example/https://ehr.example.org/fhir/r4",
    "https://attacker.example?https://ehr.example.org/fhir/r4",
    "https://attacker.example#@ehr.example.org/fhir/r4",
    "https://ehr.example.org@attacker.example/fhir/r4",
    "https://user@ehr.example.org/fhir/r4",
    "https://user:pass@ehr.example.org/fhir/r4",
    "https://@ehr.example.org/fhir/r4",
    "https://ehr.example.org:pass@attacker.example/fhir/r4",
    "https://ehr.example.org\\@attacker.example/fhir/r4",
    "https://ehr.example.org%40attacker.example/fhir/r4",
    "https://ehr.example.org%2eattacker.example/fhir/r4",
    "https://ehr.example.org%00.attacker.example/fhir/r4",
    "https://ehr.example.org./fhir/r4",
    "https://.ehr.example.org/fhir/r4",
    "https://ehr..example.org/fhir/r4",
    "https://ehr.example.org:8443/fhir/r4",
    "https://ehr.example.org:80/fhir/r4",
    "https://ehr.example.org:0/fhir/r4",
    "https://ehr.example.org:443443/fhir/r4",
    "https://ehr.example.org:/fhir/r4",
    "https://ehr.example.org:\uff14\uff14\uff13/fhir/r4",
    "https://ehr\u3002example\u3002org/fhir/r4",
    "https://\u0435hr.example.org/fhir/r4",
    "https://ehr.example.org,attacker.example/fhir/r4",
    "https://[::ffff:127.0.0.1]/fhir/r4",
    "https://127.0.0.1/fhir/r4",
    "https://2130706433/fhir/r4",
    "https://0x7f000001/fhir/r4",
    "https://169.254.169.254/latest/meta-data",
]


@pytest.mark.requirement("C38")
@pytest.mark.parametrize("sent", NOT_THE_BASE)
def test_what_only_looks_like_the_base_is_refused(sent):
    assert match_base(sent, [BASE]) is None


@pytest.mark.parametrize(
    "sent",
    [BASE, BASE + "/", "HTTPS://EHR.Example.ORG/fhir/r4", "https://ehr.example.org:443/fhir/r4"],
)
def test_the_same_base_in_other_letters_is_called_as_the_profile_wrote_it(sent):
    assert match_base(sent, ["https://other.example/fhir", BASE]) == BASE


ASKED = f"{BASE}/Observation?patient=p1"
STAYS = {
    f"{BASE}?_getpages=1&_offset=20": f"{BASE}?_getpages=1&_offset=20",
    f"{BASE}/Observation?page=2": f"{BASE}/Observation?page=2",
    "?page=2": f"{BASE}/Observation?page=2",
    "Observation?page=2": f"{BASE}/Observation?page=2",
    "/fhir/r4/Observation?page=2": f"{BASE}/Observation?page=2",
    "//ehr.example.org/fhir/r4/Observation?page=2": f"{BASE}/Observation?page=2",
}
LEAVES = [
    "https://attacker.example/fhir/r4/Observation?page=2",
    "https://ehr.example.org.attacker.example/fhir/r4/Observation",
    "https://ehr.example.org@attacker.example/fhir/r4/Observation",
    "//attacker.example/fhir/r4/Observation",
    "\\\\attacker.example/fhir/r4",
    "/\\attacker.example/fhir/r4",
    "https:\\\\attacker.example",
    "http://ehr.example.org/fhir/r4/Observation?page=2",
    "https://ehr.example.org:8443/fhir/r4/Observation",
    "https://ehr.example.org/fhir/r4x/Observation",
    "https://ehr.example.org/other/Observation",
    "../r5/Observation?page=2",
    "../../admin",
    "/fhir/r4/../../admin",
    "/fhir/r4/%2e%2e/admin",
    "/fhir/r4/..%2fadmin",
    "/fhir/r4/%252e%252e/admin",
    "https://ehr.example.org/fhir/r4/Observation#page",
    "javascript:alert(1)",
    "data:application/json,{}",
    "file:///etc/passwd",
    " https://attacker.example/",
    "https://ehr.example.org/fhir/r4/Observation?page=2\r\nHost: attacker.example",
    "",
]


@pytest.mark.requirement("C33")
@pytest.mark.parametrize("link", STAYS)
def test_a_next_link_on_the_server_is_followed(link):
    assert follow(link, asked=ASKED, base=BASE) == STAYS[link]


@pytest.mark.requirement("C33")
@pytest.mark.parametrize("link", [link for link in LEAVES if link])
def test_a_next_link_that_leaves_is_refused(link):
    with pytest.raises(AddressRefused):
        follow(link, asked=ASKED, base=BASE)


@pytest.mark.parametrize(
    "query",
    [
        "https://attacker.example/Patient/1", "//attacker.example/Patient", "/Patient/1", "../Patient/1",
        "Patient/../../admin", "Patient/%2e%2e", "Patient/{{context.patientId}}", "Patient", "Patient/",
        "Patient/1/_history", "Patient/$everything", "patient?x=1", "Observation?patient=a b", "Patient/1#x",
        "Patient/1?_format=json", "Patient/1/$everything", "?patient=1", "Patient/1\r\nX: y", "Observation?patient=\u00e9", "",
    ],
)  # fmt: skip
def test_only_a_plain_read_or_search_is_asked(query, ehr):
    assert ask(ehr, {"x": query})["x"].reason == "query-refused"
    assert ehr.seen == []
    with pytest.raises(AddressRefused):
        check_query(query)


@pytest.mark.parametrize(
    "base",
    [
        "http://ehr.example.org/fhir", "https://169.254.169.254/", "https://[fe80::1]/", "https://0.0.0.0/fhir",
        "https://metadata.google.internal/", "https://[fd00:ec2::254]/", "https://100.100.100.200/",
        "https://[::ffff:169.254.169.254]/", "https://ehr.example.org/fhir?x=1", "https://127.1/", "ehr.example.org",
    ],
)  # fmt: skip
def test_a_profile_cannot_list_an_address_that_leads_inside(base):
    with pytest.raises(AddressRefused):
        check_configured_base(base)


def test_loopback_may_be_plain_http():
    assert check_configured_base("http://127.0.0.1:8090/fhir/") == "http://127.0.0.1:8090/fhir"
    assert take_apart("http://[::1]:8090/fhir").origin == ("http", "[::1]", 8090)


@pytest.mark.requirement("C31")
def test_a_connection_that_times_out_by_itself_is_missing_data_too(ehr):
    """The client gives up before the deadline of the call: the same state, and never an exception."""
    ehr.faults["Observation"] = Slow(30)

    async def run():
        async with open_client() as client:
            client.timeout = 0.2
            return await fetch(
                QUERIES,
                base=ehr.base,
                token=TOKEN,
                allowed_bases=[ehr.base],
                deadline=20,
                client=client,
            )

    found = asyncio.run(run())
    assert (found["inr"].state, found["inr"].reason) == ("failed", "deadline")
    assert found["patient"].state == "read"
