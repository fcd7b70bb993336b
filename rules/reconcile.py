"""What to say when several rules fired: who yields to whom, what was answered before, in which order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rules.assessment import INDICATORS, HistoryEntry, Recommendation, Superseded, Suppressed

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.knowledge import CardModel

_CERTAINTIES = ("high", "moderate", "label", "low", "very-low")


def supersede(
    fired: Sequence[Recommendation],
    cards: Mapping[str, CardModel],
    evidence: Evidence,
    quiet: Collection[str] = (),
) -> tuple[list[Recommendation], list[Superseded]]:
    """Take out what yields to another rule that fired (about the same subject, unless the card says any).

    What fired is judged before anything is taken out, so the order of the rules never matters. A rule in
    ``quiet`` (tried in shadow, or switched off) never takes out one that speaks.
    """
    kept: list[Recommendation] = []
    gone: list[Superseded] = []
    for one in fired:
        speaking = fired if one.rule in quiet else [o for o in fired if o.rule not in quiet]
        stronger = _stronger(one, speaking, cards, evidence)
        if stronger is None:
            kept.append(one)
        else:
            gone.append(Superseded(rule=one.rule, by=stronger.rule, about=one.about))
    return kept, gone


def _stronger(
    one: Recommendation,
    others: Sequence[Recommendation],
    cards: Mapping[str, CardModel],
    evidence: Evidence,
) -> Recommendation | None:
    for choice in cards[one.rule].yields_to:
        if choice.when is not None and not holds(choice.when, one.about, evidence):
            continue
        for other in others:
            if other.rule == choice.rule and (not choice.same_subject or other.about == one.about):
                return other
    return None


def holds(finding: str, about: str, evidence: Evidence) -> bool:
    """Tell whether a finding exists about the same subject, or about the patient as a whole."""
    return any(made.about in {about, ""} for made in evidence.findings(finding))


def suppress(
    kept: Iterable[Recommendation],
    history: Sequence[HistoryEntry],
    *,
    as_of: datetime,
    user: str,
    evidence: Evidence,
    cards: Mapping[str, CardModel],
) -> tuple[list[Recommendation], list[Suppressed]]:
    """Leave out what was answered before and has not changed since.

    Information is remembered per patient, warnings and critical ones per user. Without history nothing is
    left out. A changed fingerprint (dose, drug, band, grade) always speaks again.
    """
    if not history:
        return list(kept), []
    spoken: list[Recommendation] = []
    silent: list[Suppressed] = []
    for one in kept:
        reason = _answered(
            one, history, as_of=as_of, user=user, evidence=evidence, card=cards[one.rule]
        )
        if reason is None:
            spoken.append(one)
        else:
            silent.append(Suppressed(rule=one.rule, reason=reason, about=one.about))
    return spoken, silent


def _answered(
    one: Recommendation,
    history: Sequence[HistoryEntry],
    *,
    as_of: datetime,
    user: str,
    evidence: Evidence,
    card: CardModel,
) -> str | None:
    window = evidence.parameter(f"suppression.{one.indicator}").value
    lasting = evidence.parameter("suppression.lasting-reasons").value
    repeat = evidence.parameter(card.repeat_after).value if card.repeat_after else None
    for entry in sorted(history, key=lambda held: held.when, reverse=True):
        if (entry.rule, entry.about, entry.fingerprint) != (one.rule, one.about, one.fingerprint):
            continue
        age = (as_of - entry.when).total_seconds() / 86_400
        if age < 0:
            continue
        if repeat is not None and age < repeat:
            return f"said on {entry.when.date().isoformat()}, repeated after {repeat} days"
        if entry.outcome == "shown" or (one.indicator != "info" and entry.user != user):
            continue
        if entry.outcome == "overridden" and entry.reason in lasting:
            return f"answered {entry.reason} on {entry.when.date().isoformat()}, and the data have not changed"
        if age < window:
            return f"{entry.outcome} on {entry.when.date().isoformat()}, silent for {window} days"
    return None


def rank(recommendations: Iterable[Recommendation]) -> tuple[Recommendation, ...]:
    """Critical before warning before info; then by certainty, rule and subject."""
    return tuple(
        sorted(
            recommendations,
            key=lambda one: (
                INDICATORS.index(one.indicator),
                _CERTAINTIES.index(one.certainty),
                one.rule,
                one.about,
            ),
        )
    )
