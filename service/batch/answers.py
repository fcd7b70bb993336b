"""The review of one patient as it is written out: rows, DetectedIssues, gaps and failures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from fhir_adapter.proposals import detected_issue
from service.batch.values import ShardReport

if TYPE_CHECKING:
    from rules.assessment import Recommendation
    from rules.rulebook import Rulebook
    from service.review import Review

MEASURED: Final = ("vitamin-d-intake",)  # what the summary of a run counts, whatever rules ask for


class Answers:
    """Turns reviews into what a run writes down."""

    def __init__(self, rulebook: Rulebook, as_of: datetime) -> None:
        self._rulebook = rulebook
        self._as_of = as_of

    def answer(
        self, patient: str, done: Review, unread: Mapping[str, str], report: ShardReport
    ) -> dict[str, Any] | None:
        """Everything said about one patient; sources that nobody of the run has are told once, not here."""
        assessment = done.assessment
        for one in assessment.recommendations:
            report.firings[one.rule] = report.firings.get(one.rule, 0) + 1
            report.indicators[one.indicator] = report.indicators.get(one.indicator, 0) + 1
        gaps = [gap for gap in done.gaps if not (gap.code == "not-read" and gap.source in unread)]
        for gap in gaps:
            report.gaps[gap.code] = report.gaps.get(gap.code, 0) + 1
        report.failures += len(assessment.failures)
        self._measure(done, report)
        if not (assessment.recommendations or gaps or assessment.failures):
            return None
        carded = set(done.gap_cards)
        return {
            "patient": patient,
            "rows": [self._row(patient, one) for one in assessment.recommendations],
            "issues": [
                detected_issue(
                    one,
                    patient_id=patient,
                    as_of=self._as_of,
                    identity=identity_of(patient, one.rule, one.about),
                )
                for one in assessment.recommendations
            ],
            "gaps": [
                {
                    "patient": patient,
                    "source": gap.source,
                    "path": gap.path,
                    "code": gap.code,
                    "says": gap.says,
                    "matters": gap in carded,
                }
                for gap in gaps
            ],
            "failures": [
                {"patient": patient, "rule": one.rule, "version": one.version, "error": one.error}
                for one in assessment.failures
            ],
        }

    def _row(self, patient: str, one: Recommendation) -> dict[str, Any]:
        return {
            "patient": patient,
            "rule": one.rule,
            "about": one.about,
            "indicator": one.indicator,
            "summary": one.summary,
            "certainty": one.certainty,
            "status": one.status,
            "version": one.version,
            "pack": one.pack,
            "sources": list(one.source),
            "missing": list(one.missing),
            "evidence": one.fingerprint,
        }

    def _measure(self, done: Review, report: ShardReport) -> None:
        """Distributions for the summary page, in whole numbers so that the order of adding never shows."""
        for lab in done.facts.labs:
            if lab.taken is not None:
                days = (done.assessment.provenance.today - lab.taken).days
                _tally(report, f"age:{lab.measure}", str(max(0, days) // 30))
        for finding in done.assessment.findings:
            if finding.name in MEASURED and "daily" in finding.values:
                daily = finding.values["daily"]
                if isinstance(daily, int | float) and daily > 0:
                    _tally(report, "intake:vitamin-d", str(int(daily // 500)))


def _tally(report: ShardReport, name: str, value: str) -> None:
    counts = report.measures.setdefault(name, {})
    counts[value] = counts.get(value, 0) + 1


def identity_of(patient: str, rule: str, about: str) -> str:
    """A stable id for what is said about one patient: the same in every run, of no meaning outside."""
    return hashlib.sha256(f"{patient}\n{rule}\n{about}".encode()).hexdigest()[:32]
