"""One review as one JSON object, complete and in plain terms: what ``dekacard explain --json`` prints.

The form is published as ``docs/reference/explain.schema.json``; a test holds schema, example and this together.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING, Any

from rules.facts import Context, Fact, Finding
from rules.wording import Wording
from service.cds_hooks.detail import DetailWriter, data_below

if TYPE_CHECKING:
    from rules.assessment import Recommendation
    from rules.rulebook import Rulebook
    from service.cds_hooks.proposing import Propose
    from service.review import Review


class Explainer:
    """Explains reviews made under one rulebook."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._words = Wording(rulebook)
        self._details = DetailWriter(rulebook)

    def explain(self, review: Review, propose: Propose) -> dict[str, Any]:
        """Everything a review says; ``recommendations`` is complete, no limit on cards applies."""
        assessment = review.assessment
        patient = review.facts.patient
        provenance = assessment.provenance
        return {
            "as_of": provenance.as_of.isoformat(),
            "patient": _known(
                {"id": patient.id, "age_years": patient.age_years, "sex": patient.sex}
            ),
            "recommendations": [
                self._recommendation(one, provenance.profile, propose)
                for one in assessment.recommendations
            ],
            "superseded": [
                {"rule": one.rule, "by": one.by, "about": one.about}
                for one in assessment.superseded
            ],
            "suppressed": [
                {"rule": one.rule, "reason": one.reason, "about": one.about}
                for one in assessment.suppressed
            ],
            "findings": [self._finding(one) for one in assessment.findings],
            "gaps": [
                {"source": gap.source, "path": gap.path, "code": gap.code, "says": gap.says}
                for gap in review.gaps
            ],
            "notices": [
                {"summary": notice.summary, "detail": notice.detail, "source": notice.gap.source}
                for notice in review.notices
            ],
            "failures": [
                {"rule": one.rule, "version": one.version, "error": one.error}
                for one in assessment.failures
            ],
            "counts": dict(sorted(review.counts.items())),
            "provenance": {
                "today": provenance.today.isoformat(),
                "profile": provenance.profile,
                "verbosity": provenance.verbosity,
                "engine": provenance.engine,
                "software": provenance.software,
                "packs": provenance.packs,
                **({"local_codes": provenance.local_codes} if provenance.local_codes else {}),
            },
        }

    def _recommendation(
        self, one: Recommendation, profile: str, propose: Propose
    ) -> dict[str, Any]:
        return {
            "rule": one.rule,
            "version": one.version,
            "status": one.status,
            "about": one.about,
            "indicator": one.indicator,
            "certainty": one.certainty,
            "summary": one.summary,
            "detail": self._details.write(one, profile=profile),
            "because": [self._fact(fact) for fact in data_below(one.because)],
            "chain": [self._finding(finding) for finding in one.chain],
            "parameters": [
                _known(
                    {
                        "name": used.name,
                        "title": used.title,
                        "value": used.value,
                        "unit": used.unit,
                        "since": used.since.isoformat(),
                        "cite": used.cite,
                        "basis": used.basis or None,
                        "says": self._details.say_parameter(used),
                    }
                )
                for used in one.parameters
            ],
            "citations": [
                _known(
                    {"key": c.key, "label": c.label, "url": c.url or None, "verified": c.verified}
                )
                for c in one.citations
            ],
            "suggestions": [
                {
                    "id": proposal.id,
                    "label": proposal.label,
                    "description": proposal.description,
                    "actions": propose(proposal),
                }
                for proposal in one.suggestions
            ],
            "override_reasons": [
                {"code": reason.code, "system": reason.system, "display": reason.display}
                for reason in one.override_reasons
            ],
            "missing": list(one.missing),
        }

    def _fact(self, fact: Fact) -> dict[str, Any]:
        return {
            "fact": kind_of(fact),
            "says": self._words.say(fact),
            "source": list(fact.source),
        }

    def _finding(self, finding: Finding) -> dict[str, Any]:
        return {
            "finding": finding.name,
            "about": finding.about,
            "says": self._words.say(finding),
            "values": {
                name: value.isoformat() if isinstance(value, date) else value
                for name, value in finding.values.items()
            },
            "from": _names(finding.because),
            "source": list(finding.source),
        }


def kind_of(fact: Fact) -> str:
    """The kind of a fact in kebab-case (``medication-use``)."""
    name = type(fact).__name__
    return "".join(f"-{sign.lower()}" if sign.isupper() else sign for sign in name).lstrip("-")


def _names(reasons: Iterable[Fact | Finding]) -> list[str]:
    """What a finding was made from: other findings by name, facts by their references."""
    names: list[str] = []
    for reason in reasons:
        if isinstance(reason, Finding):
            names.append(f"finding {reason.name}")
        elif not isinstance(reason, Context):
            names.extend(reason.source)
    return list(dict.fromkeys(names))


def _known(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
