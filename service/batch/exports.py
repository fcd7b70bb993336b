"""What exporters write beside the data: the log of an export, and the errors that the server reported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from fhir_adapter.elements import mapping, mappings, text
from fhir_adapter.ndjson import Unreadable, chunks_of
from service.batch.values import Reject

LOG: Final = "log.ndjson"
_LARGEST_LOG: Final = 16 * 1024 * 1024
_ERRORS: Final = frozenset({"fatal", "error"})


def export_moment(folder: Path) -> str:
    """The ``transactionTime`` that the log of an export quotes; empty where there is none."""
    log, latest = folder / LOG, ""
    try:
        if not log.is_file() or log.stat().st_size > _LARGEST_LOG:
            return ""
        for line in log.read_bytes().splitlines():
            detail = mapping(_read(line).get("eventDetail"))
            latest = max(latest, text(detail.get("transactionTime")))
    except OSError:
        return ""
    return latest


def reported_errors(path: Path, name: str) -> Iterator[Reject]:
    """One reject for a file of OperationOutcomes with errors in it: nobody knows whose records are missing."""
    errors = 0
    try:
        for chunk in chunks_of(path):
            for line in chunk.data.split(b"\n"):
                issues = mappings(_read(line).get("issue"))
                errors += any(text(one.get("severity")) in _ERRORS for one in issues)
    except (Unreadable, OSError):
        errors += 1
    if errors:
        says = f"The exporter reported errors ({errors}): records may be missing."
        yield Reject(file=name, line=0, code="export-errors", says=says)


def _read(line: bytes) -> dict[str, Any]:
    try:
        return mapping(orjson.loads(line))
    except orjson.JSONDecodeError:
        return {}
