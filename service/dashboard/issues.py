"""An alert with what became of it as a FHIR R4 DetectedIssue, and many of them as a Bundle; all validated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from service.alerts.lifecycle import OPEN
from service.alerts.past_answers import instant

if TYPE_CHECKING:
    from sqlalchemy import Row

    from rules.assessment import Recommendation

_SEVERITY: Final = {"critical": "high", "warning": "moderate", "info": "low"}


def issue_of(row: Row[Any], reference: str, told: Recommendation | None) -> dict[str, Any]:
    """One alert; ``told`` is what its rule said, if that is still kept, else its summary has to do.

    Raises:
        EngineError: it cannot be expressed as valid FHIR.
    """
    from fhir_adapter.proposals import detected_issue
    from fhir_adapter.resources import checked

    at = instant(row.first_seen)
    if told is not None:
        issue = detected_issue(told, patient_id=reference, as_of=at, identity=f"alert-{row.id}")
    else:
        issue = {
            "resourceType": "DetectedIssue", "id": f"alert-{row.id}", "status": "preliminary",
            "code": {"text": row.title or row.rule}, "severity": _SEVERITY[row.indicator],
            "identifiedDateTime": at.isoformat(), "detail": row.summary or row.title or row.rule,
        }  # fmt: skip
        if reference:
            issue["patient"] = {"reference": f"Patient/{reference}"}
    if row.state not in OPEN:
        issue["status"] = "final"
        issue["mitigation"] = [
            {
                "action": {"text": _closed(row)},
                "date": instant(row.closed or row.changed).isoformat(),
            }
        ]
    return checked(issue, "R4")


def bundle_of(issues: Sequence[dict[str, Any]], at: datetime) -> dict[str, Any]:
    """A collection of them; raises EngineError."""
    from fhir_adapter.resources import checked

    bundle: dict[str, Any] = {
        "resourceType": "Bundle", "type": "collection", "timestamp": at.isoformat(),
    }  # fmt: skip
    if issues:
        bundle["entry"] = [{"resource": issue} for issue in issues]
    return checked(bundle, "R4")


def _closed(row: Row[Any]) -> str:
    words = row.state.replace("-", " ")
    return f"{words}: {row.close_reason.replace('-', ' ')}" if row.close_reason else words
