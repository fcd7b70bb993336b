"""From a match to a recommendation: the card's words, its indicator, its suggestions, its reasons."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rules.assessment import Citation, OverrideReason, ProposedAction, Recommendation
from rules.authoring import Outcome, Rule
from rules.conditions import Binding, ParameterRef
from rules.facts import Context, Fact, Finding, LabOrder, MedicationUse, ParameterUse
from rules.reconcile import holds
from rules.wording import Wording

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.knowledge import ActionModel, CardModel
    from rules.rulebook import Rulebook


@dataclass(frozen=True, slots=True)
class Conclusion:
    """One match of one rule, and what its function made of it."""

    rule: Rule
    outcome: Outcome
    bindings: Mapping[str, Fact | Finding]

    @property
    def about(self) -> str:
        """The subject, ``""`` for the patient as a whole."""
        subject = self.outcome.subject
        return subject.about if isinstance(subject, Finding) else ""


class Concluder:
    """Turns conclusions into recommendations in the words of the packs."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook
        self._wording = Wording(rulebook)
        self._consults = {name: _consulted(rule) for name, rule in rulebook.rules.items()}
        self._cited = {
            key: Citation(key=key, label=held.label, url=held.address, verified=held.verified)
            for key, held in rulebook.citations.items()
        }
        self._reasons = {
            name: tuple(self._reason(code) for code in card.override_reasons)
            for name, card in rulebook.cards.items()
        }

    def consults(self, rule: Rule) -> frozenset[str]:
        """Names of the parameters in the conditions of a rule."""
        return self._consults[rule.name]

    def speaks(self, name: str, context: Context) -> bool:
        """Tell whether a rule may speak at this hook and verbosity."""
        card = self._rulebook.cards.get(name)
        if card is None:
            return True
        if card.education and context.verbosity != "education":
            return False
        return not card.hooks or context.hook in card.hooks

    def infer(self, conclusions: Iterable[Conclusion], evidence: Evidence) -> Iterator[Finding]:
        """Findings that rules give to later rules: one for each match, none about whom an earlier stratum found it."""
        for conclusion in conclusions:
            for name in conclusion.rule.infers:
                if not any(made.about == conclusion.about for made in evidence.findings(name)):
                    yield evidence.finding(
                        name, conclusion.about, because=conclusion.outcome.because
                    )

    def group(self, conclusions: Iterable[Conclusion]) -> list[list[Conclusion]]:
        """Matches of one rule about one subject belong together."""
        groups: dict[tuple[str, str], list[Conclusion]] = {}
        for conclusion in conclusions:
            if not conclusion.rule.silent:
                groups.setdefault((conclusion.rule.name, conclusion.about), []).append(conclusion)
        return list(groups.values())

    def recommend(self, group: Sequence[Conclusion], evidence: Evidence) -> Recommendation:
        """One recommendation for all matches of a rule about one subject; the first match gives the words."""
        first = group[0]
        name, about = first.rule.name, first.about
        card = self._rulebook.cards[name]
        pack = self._rulebook.pack_of[name]
        because = _unique(reason for one in group for reason in one.outcome.because)
        chain = _unique(_findings_below(because))
        bindings = first.bindings
        indicator = next(
            line.is_
            for line in card.indicator
            if line.when is None or holds(line.when, about, evidence)
        )
        weighed = [
            made
            for line in card.indicator
            if line.when
            for made in evidence.findings(line.when)
            if made.about in {about, ""}
        ]
        parameters = self._parameters(first.rule, [*chain, *_findings_below(weighed)], evidence)
        return Recommendation(
            rule=name,
            version=card.version,
            pack=pack.head.id,
            topic_code=card.topic_code,
            title=card.title,
            status=pack.head.status if card.reviewed is None else "reviewed",
            about=about,
            indicator=indicator,
            certainty=card.certainty,
            summary=self._wording.sentence(card.summary, bindings),
            why=self._wording.sentence(card.why, bindings),
            options=tuple(self._wording.fill(option, bindings) for option in card.options),
            limits=self._wording.fill(card.limits, bindings),
            because=because,
            chain=tuple(chain),
            parameters=parameters,
            citations=self._citations(card, parameters),
            suggestions=tuple(self._suggestions(card, about, because, bindings, evidence)),
            override_reasons=self._reasons[name],
            missing=tuple(dict.fromkeys(words for finding in chain for words in finding.missing)),
            fingerprint=self._fingerprint(card, about, bindings),
            review_due=card.review_due,
            reviewed=card.reviewed,
        )

    # Parts -----------------------------------------------------------------------------------------------------

    def _parameters(
        self, rule: Rule, findings: Iterable[Finding], evidence: Evidence
    ) -> tuple[ParameterUse, ...]:
        used = {name: evidence.parameter(name) for name in self.consults(rule)}
        for finding in findings:
            used.update((one.name, one) for one in finding.parameters)
        return tuple(used[name] for name in sorted(used))

    def _citations(
        self, card: CardModel, parameters: Sequence[ParameterUse]
    ) -> tuple[Citation, ...]:
        keys = dict.fromkeys((*card.cites, *(one.cite for one in parameters if one.cite)))
        return tuple(self._cited[key] for key in keys)

    def _suggestions(
        self,
        card: CardModel,
        about: str,
        because: Sequence[Fact | Finding],
        bindings: Mapping[str, Fact | Finding],
        evidence: Evidence,
    ) -> Iterator[ProposedAction]:
        drafts = tuple(dict.fromkeys(_drafts_below(because, about)))
        for choice in card.suggests:
            if choice.when is not None and not holds(choice.when, about, evidence):
                continue
            action = self._rulebook.actions[choice.action]
            changes_draft = action.kind in {"delete-draft", "replace-draft"}
            if changes_draft and not drafts:
                continue  # only what is still a draft may be changed; the rest is a task for a person
            yield ProposedAction(
                id=choice.action,
                kind=action.kind,
                label=self._wording.fill(action.label, bindings),
                description=self._wording.fill(action.description, bindings),
                group=action.group,
                data=self._resolve(action, evidence),
                targets=drafts if changes_draft else (),
            )

    def _resolve(self, action: ActionModel, evidence: Evidence) -> dict[str, Any]:
        """Replace ``{parameter: name}`` in an action by the value in force."""
        return {
            key: _resolved(value, evidence) for key, value in (action.model_extra or {}).items()
        }

    def _reason(self, code: str) -> OverrideReason:
        held = self._rulebook.override_reasons[code]
        return OverrideReason(code=code, system=held.system, display=held.display)

    def _fingerprint(
        self, card: CardModel, about: str, bindings: Mapping[str, Fact | Finding]
    ) -> str:
        parts = [card.topic_code, about]
        for place in card.changes_with:
            alias, _, field = place.partition(".")
            bound = bindings[alias]
            value = bound.values.get(field) if isinstance(bound, Finding) else getattr(bound, field)
            parts.append(f"{place}={value}")
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _resolved(value: Any, evidence: Evidence) -> Any:
    if isinstance(value, dict):
        if set(value) == {"parameter"}:
            return evidence.parameter(value["parameter"]).value
        return {key: _resolved(one, evidence) for key, one in value.items()}
    if isinstance(value, list):
        return [_resolved(one, evidence) for one in value]
    return value


def _consulted(rule: Rule) -> frozenset[str]:
    return frozenset(
        test.right.name
        for part in rule.condition
        for test in part.pattern.tests
        if isinstance(test.right, ParameterRef)
    )


def bound_aliases(rule: Rule) -> tuple[str, ...]:
    """The names a rule gives to what it matches, in order."""
    return tuple(part.alias for part in rule.condition if isinstance(part, Binding))


def _findings_below(reasons: Iterable[Fact | Finding]) -> Iterator[Finding]:
    for reason in reasons:
        if isinstance(reason, Finding):
            yield reason
            yield from _findings_below(reason.because)


def _drafts_below(reasons: Iterable[Fact | Finding], about: str) -> Iterator[str]:
    """Drafts that a suggestion may touch: those of the subject. Of a pair, the other partner is not the one to change."""
    for reason in reasons:
        if isinstance(reason, Finding):
            if not about or reason.about in {"", about}:
                yield from _drafts_below(reason.because, about)
        elif isinstance(reason, MedicationUse) and reason.taking == "draft":
            yield reason.record
        elif isinstance(reason, LabOrder) and reason.state == "draft":
            yield from reason.source[:1]


def _unique(reasons: Iterable[Any]) -> tuple[Any, ...]:
    """Without repeats, in order; the same fact or finding is always the same object here."""
    return tuple({id(reason): reason for reason in reasons}.values())
