"""How a service behaves: every prefetch state, what it must tolerate, what it must refuse, feedback and browsers."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from service.conformance.bodies import Samples, empty_bundle, failed_fetch
from service.conformance.exchange import TOKEN_CANARY, Answer, Line
from service.conformance.findings import Notes
from service.conformance.responses import check_response

_OK, _NO_CONTENT, _UNAUTHORISED, _NOT_FOUND, _NOT_ALLOWED, _NO_DATA = 200, 204, 401, 404, 405, 412
_REDIRECTS = range(300, 400)


def path_of(service: Mapping[str, Any]) -> str:
    """The path of a service."""
    return f"/cds-services/{service['id']}"


def check_answer(answer: Answer, what: str, samples: Samples, notes: Notes) -> None:
    """Check an answer of 200: its type and everything in it."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        notes.add("response-type", what, f"is labelled {kind!r}")
    if answer.value is None or answer.repeats:
        notes.add("response-json", what, "is no JSON, or a member stands twice")
        return
    notes.extend(check_response(answer.value, draft_orders=samples.draft_references), within=what)


def check_states(line: Line, service: Mapping[str, Any], samples: Samples) -> str:
    """Call a service properly and in every prefetch state; the result in words: how many cards, or which status."""
    path, notes = path_of(service), line.notes
    body = samples.call(service)
    answer = line.post(path, body, "a proper call")
    if answer.status == _UNAUTHORISED:
        return "401: wants a token that was not given or not accepted"
    if answer.status not in {_OK, _NO_DATA}:
        notes.add("call-answers", path, f"a proper call was answered with {answer.status}")
        return f"{answer.status}"
    if answer.answered:
        check_answer(answer, f"{path}, a proper call", samples, notes)
        _check_repetition(line, path, body, answer)
    _check_tolerance(line, path, body, answer.status)
    if isinstance(service.get("prefetch"), dict) and service["prefetch"]:
        _check_prefetch(line, service, samples)
    if not answer.answered:
        return "412: wants more data"
    return f"{len(_cards(answer))} cards{_why_none(answer)}"


def _check_repetition(line: Line, path: str, body: dict[str, Any], first: Answer) -> None:
    again = line.post(path, body | {"hookInstance": str(uuid.uuid4())}, "the same call again")
    if again.answered and _topics(first) != _topics(again):
        line.notes.add("call-stable", path, "topics differ between two equal calls")


def _check_tolerance(line: Line, path: str, body: dict[str, Any], status: int) -> None:
    strange = copy.deepcopy(body)
    strange["zzUnknown"] = {"a": [None, 1]}
    strange["context"]["zzUnknown"] = ["x"]
    strange["extension"] = {"org.example.unknown": {"b": 1}}
    strange.setdefault("prefetch", {})["zzUnknown"] = None
    for check, sent, kind, what in (
        ("tolerates-unknown", strange, "application/json", "unknown members"),
        ("tolerates-instance", body | {"hookInstance": "NOT-A-UUID"}, "application/json", "a hookInstance that is no UUID"),
        ("tolerates-type", body, "application/fhir+json", "type application/fhir+json"),
    ):  # fmt: skip
        answer = line.post(path, sent, what, kind=kind)
        if answer.status != status:
            line.notes.add(
                check, path, f"{what} was answered with {answer.status} instead of {status}"
            )


def _check_prefetch(line: Line, service: Mapping[str, Any], samples: Samples) -> None:
    path, notes = path_of(service), line.notes
    for check, value, what in (
        ("prefetch-null", lambda _: None, "null for every prefetch key"),
        ("prefetch-empty", empty_bundle, "nothing found for every prefetch key"),
    ):
        answer = line.post(path, samples.with_prefetch(service, value), what)
        if not answer.answered:
            notes.add(check, path, f"{what} was answered with {answer.status}")
        else:
            check_answer(answer, f"{path}, {what}", samples, notes)
    absent = {k: v for k, v in samples.call(service).items() if k != "prefetch"}
    for check, body, what in (
        (
            "prefetch-outcome",
            samples.with_prefetch(service, failed_fetch),
            "an OperationOutcome for every key",
        ),
        ("prefetch-absent", absent, "no prefetch"),
    ):
        answer = line.post(path, body, what)
        if answer.answered:
            check_answer(answer, f"{path}, {what}", samples, notes)
        if answer.status not in {_OK, _NO_DATA}:
            notes.add(check, path, f"{what} was answered with {answer.status}")
        elif answer.answered and not _cards(answer) and "extension" not in (answer.value or {}):
            notes.add(
                check, path, f"{what} was answered with 'cards': [] and no word about missing data"
            )


def check_refusals(line: Line, service: Mapping[str, Any], samples: Samples) -> None:
    """Send what must be refused."""
    path, notes = path_of(service), line.notes
    body = samples.call(service)
    body["fhirServer"] = "https://nowhere.invalid/fhir"
    body["fhirAuthorization"] = {
        "access_token": TOKEN_CANARY, "token_type": "Bearer", "expires_in": 300, "scope": "x", "subject": "y",
    }  # fmt: skip
    incomplete = {k: v for k, v in body.items() if k != "context"}
    attempts: list[tuple[str, Any, str]] = [
        ("refuses-garbage", b'{"hook": ', "half a document"),
        ("refuses-garbage", b"", "nothing"),
        ("refuses-garbage", b"[]", "an array"),
        ("refuses-garbage", b"\xff\xfe", "bytes that are no UTF-8"),
        ("refuses-nan", b'{"hook": NaN}', "NaN"),
        ("refuses-incomplete", incomplete, "a call without context"),
        (
            "refuses-incomplete",
            {k: v for k, v in body.items() if k != "hook"},
            "a call without hook",
        ),
        (
            "refuses-incomplete",
            {k: v for k, v in body.items() if k != "hookInstance"},
            "a call without hookInstance",
        ),
        ("refuses-incomplete", body | {"context": []}, "a context that is an array"),
        ("refuses-hook", body | {"hook": "zz-unknown"}, "another hook"),
    ]
    for check, content, what in attempts:
        answer = line.post(path, content, what)
        if not answer.refused:
            notes.add(check, path, f"{what} was answered with {answer.status}")
    if not line.post(path, b"<a/>", "XML", kind="application/xml").refused:
        notes.add("refuses-xml", path, "XML was not refused")
    unknown = line.post("/cds-services/zz-no-such-service", body, "an unknown service")
    if unknown.status not in {_NOT_FOUND, _UNAUTHORISED}:
        notes.add(
            "refuses-unknown-id",
            "/cds-services/zz-no-such-service",
            f"was answered with {unknown.status}",
        )
    if line.get(path).status not in {_NOT_ALLOWED, _UNAUTHORISED, _NOT_FOUND}:
        notes.add("refuses-get", path, "GET was not refused with 405")


def check_feedback(line: Line, service: Mapping[str, Any]) -> None:
    """Send feedback on cards that were never given, as clients do: batched, twice, and in Epic's shapes."""
    path, notes = f"{path_of(service)}/feedback", line.notes
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    accepted = {
        "card": str(uuid.uuid4()), "outcome": "accepted", "outcomeTimestamp": stamp,
        "acceptedSuggestions": [{"id": str(uuid.uuid4())}],
    }  # fmt: skip
    overridden = {"card": str(uuid.uuid4()), "outcome": "overridden", "outcomeTimestamp": stamp}
    reason = {
        "reason": {"code": "x", "system": "https://example.org/reasons"},
        "userComment": "seen",
    }
    batch = {"feedback": [accepted, overridden | {"overrideReason": reason}]}
    first = line.post(path, batch, "a batch of feedback")
    if first.status == _NOT_FOUND:
        notes.add("feedback-absent", path, "there is no such address")
        return
    for answer, what in (
        (first, "a batch"),
        (line.post(path, batch, "the same batch"), "the same batch"),
    ):
        if answer.status not in {_OK, _NO_CONTENT}:
            notes.add("feedback-answers", path, f"{what} was answered with {answer.status}")
    epic = [
        overridden | {"overrideReasons": [reason]},
        overridden | {"extension": {"com.epic.cdshooks.feedback.overrideReason.free-text": "x"}},
        overridden | {"outcome": "zz-unknown"},
    ]
    if line.post(path, {"feedback": epic}, "feedback in other shapes").status not in {
        _OK,
        _NO_CONTENT,
    }:
        notes.add("feedback-tolerant", path, "feedback in other shapes was refused")


def check_browsers(line: Line, services: list[Mapping[str, Any]], origin: str) -> None:
    """Ask as a browser would, before its first call."""
    paths = ["/cds-services", *(path_of(one) for one in services)]
    for path in [*paths, *(f"{one}/feedback" for one in paths[1:])]:
        answer = line.preflight(path, origin)
        allowed = answer.headers.get("access-control-allow-origin", "")
        headers = answer.headers.get("access-control-allow-headers", "").lower()
        if answer.status >= _REDIRECTS.start or allowed not in {"*", origin}:
            line.notes.add("cors-preflight", path, f"{origin} may not call")
        elif "*" not in headers and not ("authorization" in headers and "content-type" in headers):
            line.notes.add("cors-preflight", path, "authorization and content-type are not allowed")
        if allowed == "*" and answer.headers.get("access-control-allow-credentials", "") == "true":
            line.notes.add("cors-credentials", path, "'*' with credentials")


def _why_none(answer: Answer) -> str:
    """Why a service of ours shows nothing to this caller, as far as its answer tells; others are not guessed about."""
    told = answer.value.get("extension") if isinstance(answer.value, dict) else None
    report = told.get("org.dekacard.review") if isinstance(told, dict) else None
    mode = report.get("mode") if isinstance(report, dict) else None
    if _cards(answer) or not isinstance(mode, str):
        return ""
    if mode == "live":
        return ": does the client's profile accept drafts? Rules that no clinician has signed show nothing without"
    return f": the rules of this client are in the mode {mode!r}, which shows nothing"


def _cards(answer: Answer) -> list[Any]:
    cards = answer.value.get("cards") if isinstance(answer.value, dict) else None
    return cards if isinstance(cards, list) else []


def _topics(answer: Answer) -> list[str]:
    def topic(card: Any) -> str:
        try:
            return f"{card['source']['topic']['system']}|{card['source']['topic']['code']}"
        except (KeyError, TypeError):
            return ""

    return sorted(topic(card) for card in _cards(answer))
