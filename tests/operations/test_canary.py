"""Names, tokens and free text of a patient, sent through every door, turn up in no log, metric, address or error."""

import http.client
import json
import re
import subprocess
import sys
import urllib.parse
from contextlib import closing

import pytest

from tests.operations.conftest import VIEW, until

NAME, TEXT, TOKEN, WORD = "Zebulonia", "Quixotryn", "tok-Xylophagus-secret", "Wombatirix"
CANARIES = (NAME, TEXT, TOKEN, WORD)


def planted(body):
    """The example with a canary in each place where a record holds a name or free text."""
    sent = json.loads(body)
    prefetch = sent["prefetch"]
    prefetch["patient"] |= {
        "name": [{"family": NAME, "given": [NAME], "text": NAME}],
        "address": [{"line": [f"{NAME} Road 1"]}], "telecom": [{"value": f"{NAME}@example.org"}],
        "text": {"status": "generated", "div": f"<div>{NAME}</div>"},
    }  # fmt: skip
    for value in prefetch.values():
        for entry in (value or {}).get("entry", []):
            resource = entry["resource"]
            resource["note"] = [{"text": f"{TEXT} told the nurse"}]
            resource["text"] = {"status": "generated", "div": f"<div>{TEXT}</div>"}
            if "medicationCodeableConcept" in resource:
                resource["medicationCodeableConcept"]["text"] = f"{TEXT} brand"
            for dosage in resource.get("dosage", []):
                dosage["text"] = f"{TEXT} one spoonful"
    unreadable = {
        "resourceType": "MedicationStatement", "id": "m-9", "status": "active",
        "subject": {"reference": f"Patient/{sent['context']['patientId']}"},
        "medicationCodeableConcept": {"text": f"{TEXT} drops of grandmother {NAME}"},
        "effectivePeriod": {"start": NAME},
    }  # fmt: skip
    prefetch["medicationStatements"]["entry"].append({"resource": unreadable})
    sent["fhirServer"] = "https://127.0.0.1:1/fhir"
    sent["fhirAuthorization"] = {
        "access_token": TOKEN, "token_type": "Bearer", "expires_in": 300, "scope": "user/*.read", "subject": "s",
    }  # fmt: skip
    return sent


def send(service, method, path, body=b"", **headers):
    """Status, headers and body of an answer, whatever it is."""
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)) as connection:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()


def forms(call):
    """Bodies that are refused, each with a canary where the reader stumbles."""
    yield b'{"hook": "' + NAME.encode()
    yield json.dumps({**call, "hook": NAME}).encode()
    yield json.dumps({**call, "context": {"patientId": [NAME]}}).encode()
    yield json.dumps({**call, "hookInstance": {NAME: TEXT}}).encode()
    yield json.dumps({**call, "prefetch": NAME}).encode()
    yield json.dumps(call).replace('"hook":', f'"{NAME}": 1, "{NAME}": 2, "hook":').encode()
    yield json.dumps({NAME: TEXT}).encode()


@pytest.fixture
def service(start):
    return start(DEKACARD_LOG_LEVEL="debug")


def test_nothing_of_a_patient_leaves_by_the_side_doors(service, call_body, tmp_path):
    call = planted(call_body)
    seen: list[str] = []
    typed = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}

    status, _, answer = send(service, "POST", VIEW, json.dumps(call).encode(), **typed)
    assert status == 200
    assert json.loads(answer)["cards"]
    assert (
        TEXT in answer
    )  # the card may quote the record to the clinician: so the canary was really read
    for body in forms(call):
        status, headers, answer = send(service, "POST", VIEW, body, **typed)
        assert status == 400, answer
        seen += [answer, str(headers)]
    feedback = {"card": "x", "outcome": "overridden", "overrideReason": {"userComment": WORD}}
    status, headers, answer = send(
        service, "POST", f"{VIEW}/feedback", json.dumps({"feedback": [feedback]}).encode(), **typed
    )
    assert status == 200
    seen += [answer, str(headers)]

    cookie = _cookie(service)
    until(lambda: service.figure("dekacard_alerts_open") >= 1, service.log)
    pages = ["/work", f"/work?q={NAME}", f"/patients/{NAME}", f"/alerts/{NAME}", f"/{NAME}", "/rules", f"/p/{NAME}", f"/a/{NAME}", f"/work?patient={NAME}", f"/rules/{NAME}"]  # fmt: skip
    for path in pages:
        status, headers, page = send(service, "GET", path, Cookie=cookie, Accept="text/html")
        seen += [str({k: v for k, v in headers.items() if k != "set-cookie"})]
        seen += re.findall(r'(?:href|action|src)="([^"]*)"', page)
        if status >= 400:
            seen.append(page)
    form = urllib.parse.urlencode({"note": WORD, "form_token": TOKEN})
    same = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    for path in (f"/alerts/{NAME}/note", "/a/1/act", f"/a/{NAME}/act", "/work/act", "/login"):
        status, headers, page = send(service, "POST", path, form.encode(), Cookie=cookie, **same)
        headers.pop("set-cookie", None)
        seen += [str(headers), *([page] if status >= 400 else [])]
    for path in (f"/api/v1/alerts/{NAME}", f"/api/v1/alerts?patient={NAME}", "/api/v1/alerts"):
        status, headers, answer = send(service, "GET", path, **typed)
        assert status >= 400
        seen += [answer, str(headers)]

    status, _, metrics = send(service, "GET", "/metrics")
    assert "dekacard_rule_fired_total" in metrics
    service.stop()
    log = service.log()
    assert '"event":"call"' in log
    for canary in CANARIES:
        assert canary not in metrics
        assert canary not in log
        for one in seen:
            assert canary not in one, one[:400]


def _cookie(service):
    same = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    status, headers, _ = send(service, "POST", "/login", b"", **same)
    assert status == 303
    return headers["set-cookie"].partition(";")[0]


def test_batch_tells_numbers_of_lines_and_never_what_stands_in_them(call_body, tmp_path):
    call = planted(call_body)
    entries = [
        entry
        for value in call["prefetch"].values()
        for entry in ((value or {}).get("entry", []) if "entry" in (value or {}) else [])
    ]
    entries.append({"resource": call["prefetch"]["patient"]})
    inputs = tmp_path / "in"
    inputs.mkdir()
    (inputs / "one.json").write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}))  # fmt: skip
    (inputs / "broken.json").write_text('{"resourceType": "Bundle", "entry": [{"' + NAME)
    (inputs / "lines.ndjson").write_text(f'{{"resourceType": "Patient", "{NAME}": NaN}}\n{TEXT}\n')
    run = subprocess.run(
        [
            sys.executable, "-m", "service.cli", "review", str(inputs), "--out", str(tmp_path / "out"),
            "--as-of", "2026-11-22T12:00:00Z",
        ],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    told = run.stdout + run.stderr
    assert "reviewed" in told.lower(), told
    account = (tmp_path / "out" / "run.json").read_text()
    rejects = (tmp_path / "out" / "rejects.ndjson").read_text()
    assert rejects.strip()
    for canary in CANARIES:
        assert canary not in told
        assert canary not in account
        assert canary not in rejects
