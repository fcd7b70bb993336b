"""What the rules answer: recommendations with their reasons, and everything that could not be evaluated."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

import msgspec

from rules.facts import Fact, Finding, ParameterUse

Indicator = Literal["info", "warning", "critical"]
INDICATORS: tuple[Indicator, ...] = ("critical", "warning", "info")


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Data that could not be read, or could not be had; a value, never an exception.

    ``source`` is the FHIR reference (or the name of the unread source), ``path`` the element, ``code`` a
    stable reason, ``says`` the sentence for people. ``concerns`` names what it could have mattered to
    (ingredient classes, measures, sources): a gap becomes a card only if that could change the answer.
    """

    source: str
    path: str = ""
    code: str = ""
    says: str = ""
    concerns: tuple[str, ...] = ()


class RuleFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A rule or derivation that broke; the others are still answered."""

    rule: str
    version: str
    error: str


class ProposedAction(msgspec.Struct, frozen=True, kw_only=True):
    """Something the reader may do with one click; becomes a FHIR draft in ``fhir_adapter.proposals``.

    ``kind`` is ``order-test``, ``prescribe``, ``delete-draft``, ``replace-draft``, ``task`` or ``link``.
    ``data`` holds what the kind needs, from the action's entry in the pack (codes, doses, days).
    """

    id: str
    kind: str
    label: str
    description: str
    group: str = ""
    data: dict[str, Any] = {}
    targets: tuple[str, ...] = ()


class OverrideReason(msgspec.Struct, frozen=True, kw_only=True):
    """A coded reason to decline a card; ``system`` is the code system's canonical URL."""

    code: str
    system: str
    display: str


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """A source that a card leans on."""

    key: str
    label: str
    url: str = ""
    verified: bool = False


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing worth saying about one subject of one patient.

    ``why``, ``options`` and ``limits`` are the card's own words with the patient's values filled in;
    ``because`` the facts and findings that matched the rule, ``chain`` every finding in between,
    ``parameters`` every number consulted. ``fingerprint`` changes when what was dismissed has changed.
    """

    rule: str
    version: str
    pack: str
    topic_code: str
    title: str
    status: str
    about: str
    indicator: Indicator
    certainty: str
    summary: str
    why: str
    options: tuple[str, ...] = ()
    limits: str = ""
    because: tuple[Fact | Finding, ...] = ()
    chain: tuple[Finding, ...] = ()
    parameters: tuple[ParameterUse, ...] = ()
    citations: tuple[Citation, ...] = ()
    suggestions: tuple[ProposedAction, ...] = ()
    override_reasons: tuple[OverrideReason, ...] = ()
    missing: tuple[str, ...] = ()
    fingerprint: str = ""
    review_due: date | None = None
    reviewed: str | None = None

    @property
    def source(self) -> tuple[str, ...]:
        """FHIR references of everything the recommendation rests on."""
        seen: dict[str, None] = {}
        for reason in self.because:
            seen.update(dict.fromkeys(reason.source))
        return tuple(seen)


class Superseded(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that fired but gave way to a stronger one about the same problem."""

    rule: str
    by: str
    about: str = ""


class Suppressed(msgspec.Struct, frozen=True, kw_only=True):
    """A recommendation that was answered before and has not changed since."""

    rule: str
    reason: str
    about: str = ""


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier answer to a recommendation of this patient (from feedback, or from having been shown)."""

    rule: str
    about: str
    fingerprint: str
    outcome: Literal["accepted", "overridden", "shown"]
    reason: str = ""
    when: datetime
    user: str = ""


class Provenance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Under which knowledge, for which moment and by which engine the answer was made.

    ``local_codes`` are the code maps of the hospital by which the record was read.
    """

    as_of: datetime
    today: date
    profile: str
    verbosity: str
    packs: dict[str, str]
    engine: str
    software: str
    local_codes: dict[str, str] = {}


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one evaluation of the rules says about one patient; ``recommendations`` is complete."""

    recommendations: tuple[Recommendation, ...]
    superseded: tuple[Superseded, ...]
    suppressed: tuple[Suppressed, ...]
    findings: tuple[Finding, ...]
    failures: tuple[RuleFailure, ...]
    provenance: Provenance
