"""Hostile input over real HTTP: refused without repeating it, and the next call is answered as before."""

import http.client
import json
import socket
import subprocess
import sys

import pytest

from tests.operations.conftest import VIEW
from tests.service.test_front_door import REFUSED

CANARY = "Birchall-Canary"
NUMBERS = {
    "NaN": "NaN", "Infinity": "Infinity", "1e999": "1e999", "an extreme exponent": "1E+999999999",
    "5,000 digits": "9" * 5000, "a long fraction": "0." + "1" * 400,
}  # fmt: skip


@pytest.fixture
def control(service, call_body):
    """The answer to a good call, before; asserted to be the same after."""
    before = cards(service, call_body)
    yield before
    assert cards(service, call_body) == before != []


@pytest.fixture
def call_body(root):
    return (root / "examples" / "01-warfarin-new-mk7-coded.json").read_bytes()


def cards(service, body):
    status, answer = service.post(VIEW, body)
    assert status == 200
    return [(card["summary"], card["indicator"]) for card in json.loads(answer)["cards"]]


def ask(service, method, path, body=None, **headers):
    line = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    try:
        line.request(method, path, body, headers)
        answer = line.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        line.close()


def refused(answer, status=400):
    code, body = answer
    assert code == status, body
    told = json.loads(body)
    assert told["resourceType"] == "OperationOutcome"
    assert CANARY.encode() not in body
    return told


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_strict_json_is_refused_at_every_address(service, body):
    for path in (VIEW, VIEW + "/feedback"):
        refused(service.post(path, body))


@pytest.mark.usefixtures("control")
@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS.keys())
def test_a_number_that_is_none_never_reaches_a_rule(service, call_body, number):
    body = call_body.replace(b'"frequency": 1', b'"frequency": ' + number.encode(), 1)
    assert body != call_body
    refused(service.post(VIEW, body))


@pytest.mark.usefixtures("control")
@pytest.mark.parametrize(
    "twin", ['"status": "entered-in-error", "status": "active"', '"id": "a", "id": "b"']
)
def test_a_member_that_stands_twice_is_refused(service, call_body, twin):
    body = call_body.replace(b'"status": "active"', twin.encode(), 1)
    assert body != call_body
    refused(service.post(VIEW, body))


@pytest.mark.usefixtures("control")
def test_a_text_where_a_number_is_due_fires_nothing_it_should_not(service, call_body):
    """The engine alone would hold "150" > 100 to be true."""
    whole = json.loads(call_body)
    statement = whole["prefetch"]["medicationStatements"]["entry"][0]["resource"]
    statement["dosage"][0]["doseAndRate"] = [{"doseQuantity": {"value": "many", "unit": "ug"}}]
    status, answer = service.post(VIEW, json.dumps(whole).encode())
    assert status == 200
    assert b"many" not in answer


@pytest.mark.usefixtures("control")
def test_twenty_thousand_members_and_a_long_text_are_read_and_leave_nothing_behind(
    service, call_body
):
    whole = json.loads(call_body)
    resource = whole["prefetch"]["medicationStatements"]["entry"][0]["resource"]
    resource |= {f"member{number}": number for number in range(20_000)}
    resource["note"] = [{"text": "a" * 500_000}]
    status, _ = service.post(VIEW, json.dumps(whole).encode())
    assert status == 200


@pytest.mark.usefixtures("control")
def test_a_body_beyond_the_limit_is_refused_before_it_is_read(service):
    """Nothing of the body is ever sent: its announced length is enough."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as line:
        head = f"POST {VIEW} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        line.sendall(f"{head}Content-Length: {4 * 1024 * 1024 + 1}\r\n\r\n".encode())
        assert b" 413 " in line.recv(65536).partition(b"\r\n")[0]


@pytest.mark.usefixtures("control")
@pytest.mark.parametrize(
    ("path", "limit"), [(VIEW, 4 * 1024 * 1024), ("/api/v1/alerts/1/actions", 64 * 1024)]
)
def test_a_body_without_a_length_is_refused_as_soon_as_it_is_too_long(service, path, limit):
    """It never ends: who reads it to its end, or asks first who sends it, does not answer."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as line:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        line.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        line.sendall(b"%x\r\n%b\r\n" % (limit + 1, b"[" * (limit + 1)))
        assert b" 413 " in line.recv(65536).partition(b"\r\n")[0]


@pytest.mark.usefixtures("control")
@pytest.mark.parametrize(
    "kind", ["application/xml", "application/fhir+xml", "text/xml", "application/soap+xml"]
)
def test_xml_is_not_read_by_anything(service, kind):
    bomb = b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
    status, _, body = ask(service, "POST", VIEW, bomb, **{"content-type": kind})
    assert status == 415
    assert b"root:" not in body
    status, _, _ = ask(service, "POST", VIEW, bomb, **{"content-type": "application/json"})
    assert status == 400


def test_the_card_path_loads_no_reader_of_xml(root):
    program = (
        "import sys, service.app, fhir_adapter.reader, rules.engine\n"
        "print([m for m in ('lxml', 'xml.etree.ElementTree', 'xml.sax', 'defusedxml') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert "lxml" not in done.stdout


@pytest.mark.usefixtures("control")
@pytest.mark.parametrize(
    "method", ["TRACE", "PUT", "DELETE", "PATCH", "CONNECT", "PROPFIND", "GET"]
)
def test_methods_that_nobody_offers_are_refused(service, method):
    status, _, body = ask(service, method, VIEW)
    assert status in {400, 404, 405}
    assert b"Host:" not in body, "TRACE must not echo"


def test_every_answer_names_its_type(service, call_body):
    told = {"content-type": "application/json"}
    asked = [("POST", VIEW, call_body), ("POST", VIEW, b"{"), ("GET", "/cds-services", None), ("GET", "/livez", None),
             ("GET", "/nowhere", None), ("GET", "/openapi.json", None), ("GET", "/metrics", None)]  # fmt: skip
    for method, path, body in asked:
        _, headers, answer = ask(service, method, path, body, **told)
        kind = headers.get("content-type", "")
        assert kind, path
        if kind.startswith(("application/json", "application/fhir+json")):
            json.loads(answer)
        elif kind.startswith("text/"):
            assert "charset=utf-8" in kind.lower(), path


def test_the_server_does_not_say_what_it_runs(service):
    _, headers, _ = ask(service, "GET", "/livez")
    assert not {"server", "x-powered-by"} & {name.lower() for name in headers}


@pytest.mark.usefixtures("control")
@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 50",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: -1",
        b"Content-Length: 5x",
        b"Transfer-Encoding: xchunked",
    ],
)
def test_a_request_of_two_lengths_is_refused(service, head):
    """No second request may hide in the body of the first (the answer to it would go to somebody else)."""
    hidden = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    text = (
        b"POST " + VIEW.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        + head + b"\r\n\r\n0\r\n\r\n" + hidden
    )  # fmt: skip
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as line:
        line.sendall(text)
        line.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := line.recv(65536):
            answer += chunk
    assert b"alive" not in answer, "the hidden request was answered"
    assert b" 200 " not in answer.partition(b"\r\n")[0]


PATHS = [
    "/static/../../../../etc/passwd", "/static/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "//etc/passwd",
    "/cds-services/..%2f..%2fetc%2fpasswd", "/cds-services/%00", "/static/vendor/..%5c..%5csettings.py",
    "/static/service/settings.py",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_address_reaches_a_file(service, path):
    status, _, body = ask(service, "GET", path)
    assert status in {302, 303, 400, 404, 405}
    assert b"root:" not in body
    assert b"Settings" not in body


STATEMENTS = [
    "' OR '1'='1", "'; DROP TABLE alert; --", '" UNION SELECT * FROM keyring --', "1) OR (1=1", "%' OR 1=1 --", "\\'; --",
]  # fmt: skip


@pytest.mark.parametrize("said", STATEMENTS)
def test_statements_of_a_database_in_a_filter_stay_words(site, alert, said):
    before = len(site.alerts(size=200))
    for name in (
        "view",
        "severity",
        "q",
        "rule",
        "order",
        "sort",
        "after",
        "owner",
        "by",
        "state",
        "indicator",
        "cursor",
    ):
        answer = site.client.get("/work", params={name: said})
        assert answer.status_code in {200, 302, 303, 400, 404, 422}, (name, answer.status_code)
    answer = site.post(f"/a/{alert.id}/acknowledge", version=said, note=said)
    assert answer.status_code in {303, 400, 404, 405, 409, 422}
    assert len(site.alerts(size=200)) == before
