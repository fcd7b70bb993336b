"""From a review to CDS Hooks 2.0 cards: three in full, critical ones always, the rest named in one more."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from rules.assessment import Recommendation
from service.alerts.values import CardKind, IssuedCard
from service.cds_hooks.client_profile import CardStyle
from service.cds_hooks.detail import DetailWriter
from service.cds_hooks.models import Action, Card, Coding, Source, Suggestion
from service.cds_hooks.proposing import Propose
from service.cds_hooks.unit_families import Family
from service.cds_hooks.wording import escaped, short_summary

if TYPE_CHECKING:
    from rules.rulebook import Rulebook
    from service.gaps import GapNotice
    from service.review import Review

TOPIC_SYSTEM: Final = "https://dekacard.org/CodeSystem/topic"
# Topics of cards that belong to no rule; like those of rules they never change.
TOPICS: Final = {
    "also-found": "DKALSOFOUND",
    "gaps": "DKNOTREAD",
    "incomplete": "DKINCOMPLETE",
    "late": "DKLATE",
}
PUBLISHER: Final = "dekacard"
RULE_SYSTEM: Final = "https://dekacard.org/CodeSystem/rule"

NameCard = Callable[[str, str], str]


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What a card needs to know of the call it answers.

    ``name_card`` gives the uuid of a card from (rule, subject): the same problem in the same event keeps it,
    so that feedback finds its call. ``modes`` says how far each rule reaches (only ``live`` ones become
    cards), ``propose`` turns a proposed action into actions with FHIR drafts (none where the client cannot use it).
    ``already_shown`` holds (rule, subject) of what this user has just been shown and need not be shown again;
    ``units`` is the family of units in which the client's clinicians read results.
    """

    style: CardStyle
    name_card: NameCard
    modes: Mapping[str, str]
    propose: Propose
    already_shown: frozenset[tuple[str, str]] = frozenset()
    units: Family = "as-reported"


class CardWriter:
    """Writes cards in the words of one rulebook."""

    def __init__(self, rulebook: Rulebook, *, max_cards: int) -> None:
        self._rulebook = rulebook
        self._details = DetailWriter(rulebook)
        self._texts = rulebook.texts
        self._disclaimer = escaped(rulebook.texts["disclaimer"])
        self._max_cards = max_cards

    def write(self, review: Review, where: Circumstances) -> list[IssuedCard]:
        """The cards of one answer, most urgent first; gaps and failures come last, as cards of their own."""
        assessment = review.assessment
        spoken = [
            one
            for one in assessment.recommendations
            if where.modes.get(one.rule) == "live"
            and (one.rule, one.about) not in where.already_shown
        ]
        shown, folded = _fold(spoken, self._max_cards)
        profile = review.facts.context.profile
        cards = [self._recommendation(one, where, profile) for one in shown]
        if folded:
            cards.append(self._also_found(folded, where))
        if review.notices:
            cards.append(self._gaps(review.notices, where))
        unsaid = {failure.rule for failure in assessment.failures}
        # A rule in trial must not silence a live one: what it would have said is at least named.
        unsaid |= {
            one.rule
            for one in assessment.superseded
            if where.modes.get(one.rule) == "live" and where.modes.get(one.by) != "live"
        }
        if unsaid:
            cards.append(self.incomplete(sorted(unsaid), where.name_card))
        return cards

    def incomplete(self, rules: Sequence[str], name_card: NameCard) -> IssuedCard:
        """The card that says which rules were not evaluated; silence would read as "nothing found"."""
        words = self._texts["decision_support_incomplete"]
        summary = words["summary"].format(rule=", ".join(rules))
        return self._notice("incomplete", "failure", summary, [words["detail"], *rules], name_card)

    def late(self, sources: Sequence[str], name_card: NameCard) -> IssuedCard:
        """The card that says what the deadline of the call kept from being looked at."""
        words = self._texts["decision_support_late"]
        named = [self._rulebook.vocabulary.title(source) for source in sources]
        summary = words["summary"].format(sources=", ".join(named))
        return self._notice("late", "failure", summary, [words["detail"], *named], name_card)

    # One recommendation ----------------------------------------------------------------------------------------

    def _recommendation(
        self, one: Recommendation, where: Circumstances, profile: str
    ) -> IssuedCard:
        name = where.name_card(one.rule, one.about)
        offered = list(self._suggestions(one, where, name)) if where.style.suggestions else []
        suggestions = [choice for choice in offered if not isinstance(choice, str)]
        by_hand = [choice for choice in offered if isinstance(choice, str)]
        card: Card = {
            "uuid": name,
            "summary": short_summary(one.summary),
            "indicator": one.indicator,
            "detail": self._details.write(one, profile=profile, by_hand=by_hand, units=where.units),
            "source": self._source(one, where.style),
        }
        if suggestions:
            card["suggestions"] = suggestions
            card["selectionBehavior"] = where.style.selection_behavior
        if one.override_reasons:
            card["overrideReasons"] = [
                {"code": reason.code, "system": reason.system, "display": reason.display}
                for reason in one.override_reasons
            ]
        links = [
            {"label": citation.label, "url": citation.url, "type": "absolute"}
            for citation in one.citations
            if citation.url and where.style.allows_link(citation.url)
        ]
        if links:
            card["links"] = links  # type: ignore[typeddict-item]
        return IssuedCard(
            uuid=card["uuid"], body=card, indicator=one.indicator, subjects=((one.rule, one.about),)
        )

    def _source(self, one: Recommendation, style: CardStyle) -> Source:
        topic: Coding = {
            "code": one.topic_code, "system": TOPIC_SYSTEM, "display": f"{one.title} ({one.rule}, version {one.version})"
        }  # fmt: skip
        if style.topic_code == "rule-id":
            topic = {"code": one.rule, "system": RULE_SYSTEM, "display": topic["display"]}
        first = next(iter(one.citations), None)
        if first is None:
            return {"label": PUBLISHER, "topic": topic}
        source: Source = {"label": first.label, "topic": topic}
        if first.url:
            source["url"] = first.url
        return source

    def _suggestions(
        self, one: Recommendation, where: Circumstances, card: str
    ) -> Iterator[Suggestion | str]:
        """Choices; in words where a client of one action for each would let half of a choice be taken."""
        card_id = uuid.UUID(card)
        for proposal in one.suggestions:
            actions = where.propose(proposal)
            if not actions:
                continue
            if len(actions) == 1 or not where.style.one_action_per_suggestion:
                yield _suggestion(card_id, proposal.id, proposal.label, actions)
            elif all(action["type"] == "create" for action in actions):
                for place, action in enumerate(actions):
                    label = f"{proposal.label} ({_title(action, place, len(actions))})"
                    yield _suggestion(card_id, f"{proposal.id}/{place}", label, [action])
            else:
                yield proposal.description or proposal.label

    # Notices ---------------------------------------------------------------------------------------------------

    def _also_found(self, folded: Sequence[Recommendation], where: Circumstances) -> IssuedCard:
        titles = "; ".join(dict.fromkeys(one.title for one in folded))
        lines = [f"{one.indicator}: {one.summary} ({one.rule})" for one in folded]
        summary = self._texts["also_found"].format(titles=titles)
        issued = self._notice("also-found", "folded", summary, lines, where.name_card)
        issued.body["indicator"] = folded[0].indicator
        return msgspec.structs.replace(
            issued,
            indicator=folded[0].indicator,
            subjects=tuple((one.rule, one.about) for one in folded),
        )

    def _gaps(self, notices: Sequence[GapNotice], where: Circumstances) -> IssuedCard:
        lines = [
            f"{notice.detail} ({notice.gap.source})" if "/" in notice.gap.source else notice.detail
            for notice in notices
        ]
        return self._notice("gaps", "gap", notices[0].summary, lines, where.name_card)

    def _notice(
        self, name: str, kind: CardKind, summary: str, lines: Iterable[str], name_card: NameCard
    ) -> IssuedCard:
        listed = "\n".join(f"- {escaped(line)}" for line in dict.fromkeys(lines) if line)
        card: Card = {
            "uuid": name_card(f"notice:{name}", ""),
            "summary": short_summary(summary),
            "indicator": "info",
            "detail": f"{listed}\n\n*{self._disclaimer}*",
            "source": {
                "label": PUBLISHER,
                "topic": {"code": TOPICS[name], "system": TOPIC_SYSTEM, "display": name},
            },
        }
        return IssuedCard(uuid=card["uuid"], body=card, indicator="info", kind=kind)


def _fold(
    spoken: Sequence[Recommendation], limit: int
) -> tuple[list[Recommendation], list[Recommendation]]:
    """Critical ones are always shown; others fill up to the limit."""
    critical = [one for one in spoken if one.indicator == "critical"]
    others = [one for one in spoken if one.indicator != "critical"]
    room = max(limit - len(critical), 0)
    return critical + others[:room], others[room:]


def _title(action: Action, place: int, count: int) -> str:
    """What tells one of several drafts from the others: its code in words, else its place."""
    resource = action.get("resource")
    code = resource.get("code") if isinstance(resource, dict) else None
    concept = code.get("concept", code) if isinstance(code, dict) else {}
    return str(concept.get("text") or f"{place + 1} of {count}")


def _suggestion(card: uuid.UUID, name: str, label: str, actions: list[Action]) -> Suggestion:
    return {"label": label, "uuid": str(uuid.uuid5(card, name)), "actions": actions}
