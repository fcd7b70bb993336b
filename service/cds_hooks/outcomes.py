"""Errors as FHIR: one OperationOutcome for every refusal, which never repeats what the caller sent."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi.responses import Response

from rules.errors import RequestError

FHIR_JSON = "application/fhir+json"


class TooOften(RequestError):
    """A client called more often than its profile allows; ``retry_after`` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(
            "This client calls more often than was agreed; this call was not evaluated.",
            status=429,
            code="throttled",
        )


def outcome(text: str, *, code: str = "invalid", diagnostics: str = "") -> dict[str, Any]:
    """An OperationOutcome with one issue; ``code`` is of the FHIR value set issue-type."""
    issue: dict[str, Any] = {"severity": "error", "code": code, "details": {"text": text}}
    if diagnostics:
        issue["diagnostics"] = diagnostics
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def refusal(
    status: int,
    text: str,
    *,
    code: str = "invalid",
    diagnostics: str = "",
    headers: dict[str, str] | None = None,
) -> Response:
    """An HTTP answer that says what is wrong, as ``application/fhir+json``."""
    body = orjson.dumps(outcome(text, code=code, diagnostics=diagnostics))
    return Response(body, status_code=status, media_type=FHIR_JSON, headers=headers)
