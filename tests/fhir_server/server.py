"""A FHIR R4 server for tests: real HTTP on loopback, a few searches, paging, and faults on demand.

with FhirServer(resources=[...], token="secret") as server:
    server.faults["Observation"] = Slow(seconds=5)
    server.base  # http://127.0.0.1:PORT/fhir
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

JSON = "application/fhir+json; charset=utf-8"


@dataclass(frozen=True)
class Slow:
    """Answers nothing for so long (the server's stop ends the wait)."""

    seconds: float


@dataclass(frozen=True)
class Dripping:
    """Sends headers, then one byte now and then, so that no read ever times out."""

    pause: float = 0.05


@dataclass(frozen=True)
class Answers:
    """Answers with this status and body, whatever was asked."""

    status: int = 200
    body: bytes = b"{}"
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Truncated:
    """Announces more bytes than it sends, then closes."""


@dataclass(frozen=True)
class Huge:
    """Sends so many bytes of a Bundle."""

    size: int


@dataclass(frozen=True)
class NextLink:
    """Gives the right answer with a next link of the test's choice."""

    url: str


Fault = Slow | Dripping | Answers | Truncated | Huge | NextLink


def failing(status: int) -> Answers:
    """An OperationOutcome with that status."""
    return Answers(status, json.dumps(outcome("error", f"status {status}")).encode())


def redirecting(to: str) -> Answers:
    """A redirect."""
    return Answers(302, b"", headers=(("Location", to),))


def outcome(severity: str, text: str) -> dict:
    """An OperationOutcome of one issue."""
    issue = {"severity": severity, "code": "processing", "diagnostics": text}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


@dataclass
class FhirServer:
    """The server; ``faults`` are keyed by resource type, ``seen`` lists what arrived."""

    resources: list[dict] = field(default_factory=list)
    token: str | None = None
    page_size: int = 50
    faults: dict[str, Fault] = field(default_factory=dict)
    offered: frozenset[str] | None = None
    documents: dict[str, bytes] = field(default_factory=dict)
    cache_control: str = ""
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    prefix: str = "/fhir"

    def __enter__(self) -> Self:
        self.stopping = threading.Event()
        handler = type("Handler", (_Handler,), {"house": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def base(self) -> str:
        return self.origin + self.prefix

    def asked(self, resource: str) -> list[Seen]:
        """What arrived for a resource type."""
        return [
            one
            for one in self.seen
            if one.path.removeprefix(self.prefix + "/").startswith(resource)
        ]


class _Handler(BaseHTTPRequestHandler):
    house: FhirServer
    protocol_version = "HTTP/1.1"
    timeout = 10

    def setup(self) -> None:
        super().setup()
        self.house.connections += 1

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        headers = {k.lower(): v for k, v in self.headers.items()}
        self.house.seen.append(Seen(parts.path, query, headers))
        if parts.path in self.house.documents:
            extra = (
                (("Cache-Control", self.house.cache_control),) if self.house.cache_control else ()
            )
            self._send(200, self.house.documents[parts.path], "application/json", extra)
            return
        resource = parts.path.removeprefix(self.house.prefix + "/").partition("/")[0]
        fault = self.house.faults.get(resource)
        if fault is not None and not isinstance(fault, NextLink):
            self._misbehave(fault)
        elif (
            self.house.token is not None
            and headers.get("authorization") != f"Bearer {self.house.token}"
        ):
            self._answer(401, outcome("error", "the token has expired"))
        elif self.house.offered is not None and resource not in self.house.offered:
            self._answer(404, outcome("error", f"unknown resource type {resource}"))
        elif parts.path.count("/") > self.house.prefix.count("/") + 1:
            self._read(resource, parts.path.rpartition("/")[2])
        else:
            self._search(resource, query, fault)

    def _read(self, resource: str, identity: str) -> None:
        for one in self.house.resources:
            if one["resourceType"] == resource and one.get("id") == identity:
                self._answer(200, one)
                return
        self._answer(404, outcome("error", "not found"))

    def _search(self, resource: str, query: dict[str, list[str]], fault: NextLink | None) -> None:
        wanted = [r for r in self.house.resources if r["resourceType"] == resource]
        if "patient" in query:
            subject = f"Patient/{query['patient'][0]}"
            wanted = [
                r for r in wanted if (r.get("subject") or r.get("patient"))["reference"] == subject
            ]
        start = int(query.get("_offset", ["0"])[0])
        page = wanted[start : start + self.house.page_size]
        bundle: dict = {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": len(wanted),
            "link": [],
        }
        bundle["entry"] = [{"resource": r, "search": {"mode": "match"}} for r in page]
        if fault is not None:
            bundle["link"] = [{"relation": "next", "url": fault.url}]
        elif start + len(page) < len(wanted):
            patient = f"patient={query['patient'][0]}&" if "patient" in query else ""
            url = f"{self.house.base}/{resource}?{patient}_offset={start + len(page)}"
            bundle["link"] = [{"relation": "next", "url": url}]
        self._answer(200, bundle)

    def _misbehave(self, fault: Fault) -> None:
        match fault:
            case Slow(seconds):
                self.house.stopping.wait(seconds)
                self.close_connection = True
            case Answers(status, body, content_type, headers):
                self._send(status, body, content_type, headers)
            case Truncated():
                self.send_response(200)
                self.send_header("Content-Type", JSON)
                self.send_header("Content-Length", "5000")
                self.end_headers()
                self.wfile.write(b'{"resourceType": "Bundle", "entry": [')
                self.close_connection = True
            case Dripping(pause):
                self._drip(pause)
            case Huge(size):
                filler = json.dumps({"resourceType": "Bundle", "x": "a" * size}).encode()
                self._send(200, filler, JSON)

    def _drip(self, pause: float) -> None:
        self.send_response(200)
        self.send_header("Content-Type", JSON)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        try:
            while not self.house.stopping.wait(pause):
                self.wfile.write(b" ")
                self.wfile.flush()
        except OSError:
            pass
        self.close_connection = True

    def _answer(self, status: int, resource: dict) -> None:
        self._send(status, json.dumps(resource).encode(), JSON)

    def _send(
        self, status: int, body: bytes, content_type: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the caller hung up: that is often the point of the test
            self.close_connection = True
