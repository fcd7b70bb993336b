"""What a run's folder tells: how far it is, what came out, what was rejected, what differs from an earlier run."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Final

import msgspec

from rules.errors import RequestError
from service.batch.comparing import RECOMMENDATIONS, Difference
from service.batch.run import WORK
from service.batch.workshop import Blueprint, report_file, scanned_file

REJECTS: Final = "rejects.ndjson"
DOWNLOADS: Final = {
    "recommendations.csv": "text/csv; charset=utf-8",
    "DetectedIssue.ndjson": "application/fhir+ndjson",
    "gaps.ndjson": "application/x-ndjson",
    "rejects.ndjson": "application/x-ndjson",
    "run.json": "application/json",
}
_EXAMPLES: Final = 5
_URGENCIES: Final = ("critical", "warning", "info")
_KINDS: Final = ("new", "severity", "changed", "cleared", "same")


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is: parts done of parts to do in its present step; ``share`` is in hundredths of the whole."""

    step: str
    done: int
    total: int
    share: int


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could not be used, by file and line."""

    file: str = ""
    line: int = 0
    code: str = ""
    says: str = ""


class Rejects(msgspec.Struct, frozen=True, kw_only=True):
    """A page of rejects and where the next one begins (0 at the end)."""

    rows: list[Reject]
    after: int = 0


class RuleDifference(msgspec.Struct, frozen=True, kw_only=True):
    """What differs for one rule: how many patients by kind of change, some of them by reference."""

    rule: str
    counts: dict[str, int]
    examples: dict[str, list[str]]


def progress_of(out: Path) -> Progress:
    """How far a running or interrupted run is, from the parts that lie finished in its folder."""
    work = out / WORK
    try:
        plan = msgspec.json.decode((work / "plan.json").read_bytes(), type=Blueprint)
    except (OSError, msgspec.MsgspecError):
        if (out / "run.json").is_file():
            return Progress(step="writing the results", done=0, total=0, share=100)
        return Progress(step="looking at the input", done=0, total=0, share=0)
    names = {one.name for one in work.iterdir()}
    scanned = sum(scanned_file(work, task.number).name in names for task in plan.tasks)
    reviewed = sum(report_file(work, shard).name in names for shard in range(plan.shards))
    parts = len(plan.tasks) + plan.shards
    share = 100 * (scanned + reviewed) // max(1, parts)
    if scanned < len(plan.tasks):
        return Progress(step="reading", done=scanned, total=len(plan.tasks), share=share)
    if reviewed < plan.shards:
        return Progress(step="reviewing", done=reviewed, total=plan.shards, share=share)
    return Progress(step="writing the results", done=plan.shards, total=plan.shards, share=share)


def account_of(out: Path) -> dict[str, Any] | None:
    """``run.json`` of a finished run; None before that."""
    try:
        told = msgspec.json.decode((out / "run.json").read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
    return told if isinstance(told, dict) else None


def urgencies_of(out: Path) -> dict[str, dict[str, int]]:
    """How many findings of each rule had which urgency in this run, the most urgent first."""
    counts: dict[tuple[str, str], int] = {}
    try:
        with (out / RECOMMENDATIONS).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                key = row["rule"], row["indicator"]
                counts[key] = counts.get(key, 0) + 1
    except OSError:
        return {}
    found: dict[str, dict[str, int]] = {}
    for indicator in _URGENCIES:
        for (rule, known), count in counts.items():
            if known == indicator:
                found.setdefault(rule, {})[indicator] = count
    return found


def rejects_of(out: Path, after: int = 0, limit: int = 50) -> Rejects:
    """A page of rejects; ``after`` is the byte at which the page before ended."""
    rows: list[Reject] = []
    try:
        with (out / REJECTS).open("rb") as file:
            file.seek(after)
            for line in file:
                if len(rows) == limit:
                    return Rejects(rows=rows, after=after)
                rows.append(msgspec.json.decode(line, type=Reject))
                after += len(line)
    except (OSError, msgspec.MsgspecError):
        return Rejects(rows=rows)
    return Rejects(rows=rows)


def differences(before: Path, after: Path) -> list[RuleDifference]:
    """What differs between two finished runs, by rule; raises RequestError when one is not finished."""
    for folder in (before, after):
        if not (folder / RECOMMENDATIONS).is_file():
            raise RequestError("One of the two runs has no results to compare.", status=422)
    difference = Difference(before, after)
    for _ in difference.changes():
        pass
    return [
        RuleDifference(
            rule=rule,
            counts={kind: len(found.get(kind, ())) for kind in _KINDS},
            examples={
                kind: [one.removeprefix("'") for one in found.get(kind, ())[:_EXAMPLES]]
                for kind in _KINDS
                if kind != "same" and found.get(kind)
            },
        )
        for rule, found in sorted(difference.rules.items())
    ]
