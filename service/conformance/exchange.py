"""One request and its answer, with what holds for every answer: no 5xx, no echo, refusals as OperationOutcome."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from service.conformance.findings import Notes

CANARY = "Zz-Canary-Quince"
TOKEN_CANARY = "canary-token-4471"  # noqa: S105 - meant to be found
_OK = 200
_CLIENT_ERROR = 400
_UNAUTHORISED = 401
_SERVER_ERROR = 500
_NOT_OUR_FAULT = {501, 503}  # "not offered" and "busy" are honest answers


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back. ``value`` is the parsed JSON, None if it is none; ``repeats`` tells of repeated members."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    value: Any = None
    repeats: bool = False

    @property
    def refused(self) -> bool:
        """Whether the status is 4xx."""
        return _CLIENT_ERROR <= self.status < _SERVER_ERROR

    @property
    def answered(self) -> bool:
        """Whether the status is 200."""
        return self.status == _OK


@dataclass(kw_only=True)
class Line:
    """The line to one service; ``token`` makes the JWT for an address, None sends none."""

    client: httpx2.Client
    base: str
    notes: Notes
    token: Callable[[str], str] | None = None
    requests: int = 0
    slowest: float = 0.0

    def get(self, path: str, **headers: str) -> Answer:
        """GET, following nothing."""
        return self._send("GET", path, None, headers, f"GET {path}")

    def head(self, path: str) -> Answer:
        """HEAD."""
        return self._send("HEAD", path, None, {}, f"HEAD {path}")

    def preflight(self, path: str, origin: str) -> Answer:
        """What a browser asks before it posts."""
        headers = {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }
        return self._send("OPTIONS", path, None, headers, f"OPTIONS {path}")

    def post(self, path: str, body: Any, what: str, *, kind: str = "application/json") -> Answer:
        """POST a JSON value, or bytes as they are; ``what`` names the attempt in findings."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._send("POST", path, content, {"content-type": kind}, f"{path}, {what}")

    def _send(
        self, method: str, path: str, content: bytes | None, headers: dict[str, str], what: str
    ) -> Answer:
        url = self.base + path
        headers = {"accept": "application/json"} | headers
        if self.token is not None and method != "OPTIONS":
            headers["authorization"] = f"Bearer {self.token(url)}"
        begun = time.perf_counter()
        answer = self.client.request(method, url, content=content, headers=headers)
        self.requests += 1
        self.slowest = max(self.slowest, time.perf_counter() - begun)
        value, repeats = _read(answer.content)
        read = Answer(
            status=answer.status_code,
            headers=dict(answer.headers),
            body=answer.content,
            value=value,
            repeats=repeats,
        )
        self._look_at(read, what)
        return read

    def _look_at(self, answer: Answer, what: str) -> None:
        if answer.status >= _SERVER_ERROR and answer.status not in _NOT_OUR_FAULT:
            self.notes.add("never-5xx", what, f"was answered with {answer.status}")
        # A card may name the patient; a refusal may not, and a token stands nowhere.
        told = answer.body.decode("utf-8", "replace")
        if TOKEN_CANARY in told or (not answer.answered and CANARY in told):
            self.notes.add("no-echo", what, f"the answer ({answer.status}) repeats what was sent")
        bare = (
            answer.status == _UNAUTHORISED or not answer.body
        )  # a bare 401 says nothing, on purpose
        told_in_fhir = (
            isinstance(answer.value, dict)
            and answer.value.get("resourceType") == "OperationOutcome"
        )
        if answer.refused and not bare and not told_in_fhir:
            self.notes.add("error-outcome", what, f"{answer.status} without an OperationOutcome")


def _read(body: bytes) -> tuple[Any, bool]:
    repeats = False

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeats
        found = dict(members)
        repeats = repeats or len(found) != len(members)
        return found

    def refuse(name: str) -> float:
        raise ValueError(name)

    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=pairs, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None, False
    return value, repeats
