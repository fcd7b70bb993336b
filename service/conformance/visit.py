"""A visit to a CDS service: discovery, every service in every prefetch state, refusals, feedback, browsers.

``visit(url)`` sends a few dozen small requests, one after the other, and returns a Report. It changes nothing on
the other side, except what a service records about calls and feedback of an invented patient.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2

from rules.errors import RequestError, Unavailable
from service.conformance.bodies import Samples
from service.conformance.exchange import Answer, Line
from service.conformance.findings import CHECKS, Finding, Notes
from service.conformance.manners import (
    check_browsers,
    check_feedback,
    check_refusals,
    check_states,
)
from service.conformance.services import check_discovery

BROWSER = "https://sandbox.cds-hooks.org"
_DISCOVERY = "/cds-services"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_OK = 200


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a visit found. ``services`` maps a service id to what its proper call got, in words."""

    url: str
    findings: tuple[Finding, ...]
    services: Mapping[str, str]
    requests: int
    slowest_ms: float

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that break the specification or a known client."""
        return tuple(one for one in self.findings if one.weight == "error")

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "url": self.url,
            "conforms": not self.errors,
            "requests": self.requests,
            "slowest_ms": round(self.slowest_ms, 1),
            "services": dict(self.services),
            "findings": [
                {
                    "check": one.check,
                    "weight": one.weight,
                    "requirement": CHECKS[one.check].source,
                    "where": one.where,
                    "says": one.says,
                }
                for one in self.findings
            ],
        }


def visit(
    url: str,
    *,
    token: Callable[[str], str] | None = None,
    origin: str = BROWSER,
    timeout: float = 30.0,
    verify: ssl.SSLContext | bool = True,
    transport: httpx2.BaseTransport | None = None,
) -> Report:
    """Visit the service at ``url`` (base address, or its ``/cds-services``).

    Args:
        url: where the service is.
        token: makes the JWT for the address of each request; without it none is sent.
        origin: the origin of a browser that wants to call.
        timeout: seconds to wait for each answer.
        verify: certificate authorities to believe.
        transport: another way to reach the service, such as an application in the same process.

    Raises:
        RequestError: ``url`` is no http(s) address.
        Unavailable: the service does not answer.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise RequestError(
            "give the base address of a CDS service, such as https://cds.example.org"
        )
    base = url.rstrip("/").removesuffix(_DISCOVERY)
    notes, samples = Notes(), Samples(today=datetime.now(UTC).date())
    with httpx2.Client(
        timeout=timeout, follow_redirects=False, trust_env=False, verify=verify, transport=transport
    ) as client:
        line = Line(client=client, base=base, notes=notes, token=token)
        try:
            services = _look_at_discovery(line)
            told = _look_at_services(line, services, samples, origin)
            _look_at_tls(client, parts.scheme, parts.hostname, base, notes)
        except httpx2.TransportError as error:
            raise Unavailable(f"{base} does not answer: {type(error).__name__}") from None
    return Report(
        url=base,
        findings=tuple(dict.fromkeys(notes.found)),
        services=told,
        requests=line.requests,
        slowest_ms=line.slowest * 1000,
    )


def _look_at_discovery(line: Line) -> list[Mapping[str, Any]]:
    answer = line.get(_DISCOVERY)
    if not answer.answered or not isinstance(answer.value, dict) or answer.repeats:
        line.notes.add("discovery-answers", _DISCOVERY, f"was answered with {answer.status}")
        return []
    line.notes.extend(check_discovery(answer.value), within=_DISCOVERY)
    if line.get(f"{_DISCOVERY}/").status != _OK:
        line.notes.add("discovery-slash", f"{_DISCOVERY}/", "is not answered with 200")
    if line.head(_DISCOVERY).status != _OK:
        line.notes.add("discovery-head", _DISCOVERY, "HEAD is not answered with 200")
    stated = answer.value.get("services")
    return [one for one in stated if _callable(one)] if isinstance(stated, list) else []


def _callable(service: object) -> bool:
    return isinstance(service, dict) and all(
        isinstance(service.get(name), str) and service[name] for name in ("id", "hook")
    )


def _look_at_services(
    line: Line, services: list[Mapping[str, Any]], samples: Samples, origin: str
) -> dict[str, str]:
    told: dict[str, str] = {}
    for service in services:
        if not samples.knows(service["hook"]):
            told[service["id"]] = f"not called: no sample of the hook {service['hook']!r}"
            continue
        told[service["id"]] = check_states(line, service, samples)
        if not told[service["id"]].startswith("401"):
            check_refusals(line, service, samples)
            check_feedback(line, service)
    if services:
        check_browsers(line, services, origin)
    return told


def _look_at_tls(client: httpx2.Client, scheme: str, host: str, base: str, notes: Notes) -> None:
    if scheme == "http":
        if host not in _LOOPBACK:
            notes.add("tls", base, "is plain http")
        return
    with client.stream("GET", base + _DISCOVERY) as answer:
        stream = answer.extensions.get("network_stream")
        layer = stream.get_extra_info("ssl_object") if stream is not None else None
    version = layer.version() if layer is not None else None
    if version not in {"TLSv1.2", "TLSv1.3", None}:
        notes.add("tls", base, f"speaks {version}")


__all__ = ["BROWSER", "Answer", "Report", "visit"]
