"""Which rules can never speak with what one client sends, found by playing each rule's own stories without the rest.

A story in which a rule speaks is played again without the facts of every source that the client does not prefetch.
If no story of the rule makes it speak then, it is out of reach, and the sources that would bring it back are named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from rules.engine import Engine
from rules.facts import FactSet, Patient
from rules.vignettes import read_expectation, stories_of
from service.cds_hooks.discovery import SOURCES

if TYPE_CHECKING:
    from rules.rulebook import Rulebook
    from rules.stories import Story
    from rules.vocabulary import Vocabulary
    from service.cds_hooks.client_profile import ClientProfile

_NOT_SENT = "the client did not send it"
_LISTS: Mapping[Literal["statement", "request"], str] = {
    "statement": "medication-statements",
    "request": "medication-requests",
}
_KEY_OF = {source: key for key, source in SOURCES.items()}


@dataclass(frozen=True, kw_only=True)
class Silent:
    """A rule that cannot speak. ``missing`` are prefetch keys; ``hooks`` those it speaks at, if that is the reason.

    ``untold`` is set when no story tells of the rule speaking, so that nothing can be said about it.
    """

    rule: str
    missing: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    untold: bool = False

    def __str__(self) -> str:
        if self.untold:
            return f"{self.rule}: no story tells when it speaks"
        if self.hooks:
            return f"{self.rule}: speaks at {', '.join(self.hooks)} only, which this client does not call"
        return f"{self.rule}: needs {', '.join(self.missing)}, which this client does not send"


def unsent_sources(profile: ClientProfile) -> frozenset[str]:
    """Sources that the profile's prefetch does not bring; none if it lists no prefetch and so follows discovery."""
    if not profile.prefetch:
        return frozenset()
    return frozenset(source for key, source in SOURCES.items() if key not in profile.prefetch)


def silent_rules(profile: ClientProfile, rulebook: Rulebook) -> tuple[Silent, ...]:
    """Rules of ``rulebook`` that can never speak for this client, by prefetch alone; sorted by id."""
    unsent = unsent_sources(profile)
    told = _stories_by_rule(rulebook)
    engine = Engine(rulebook, matcher="compiled")
    found: list[Silent] = []
    try:
        for rule, card in sorted(rulebook.cards.items()):
            if profile.hooks and card.hooks and not set(card.hooks) & set(profile.hooks):
                found.append(Silent(rule=rule, hooks=tuple(card.hooks)))
            elif rule not in told:
                found.append(Silent(rule=rule, untold=True))
            elif not _speaks(engine, rule, told[rule], unsent):
                found.append(Silent(rule=rule, missing=_remedy(engine, rule, told[rule], unsent)))
    finally:
        engine.close()
    return tuple(found)


def _stories_by_rule(rulebook: Rulebook) -> dict[str, list[Story]]:
    told: dict[str, list[Story]] = {}
    for story in stories_of(rulebook, [pack.folder for pack in rulebook.packs]):
        for line in () if story.history else story.expect:
            told.setdefault(read_expectation(line, story.where).rule, []).append(story)
    return told


def _remedy(
    engine: Engine, rule: str, stories: list[Story], unsent: frozenset[str]
) -> tuple[str, ...]:
    """The keys of which any one is enough, else all those that are not sent."""
    enough = [one for one in sorted(unsent) if _speaks(engine, rule, stories, unsent - {one})]
    if not enough:
        needed = [one for one in sorted(unsent) if not _speaks(engine, rule, stories, {one})]
        enough = needed or sorted(unsent)
        return (" and ".join(_KEY_OF[one] for one in enough),)
    return (" or ".join(_KEY_OF[one] for one in enough),)


def _speaks(engine: Engine, rule: str, stories: Iterable[Story], unsent: Collection[str]) -> bool:
    vocabulary = engine.rulebook.vocabulary
    for story in stories:
        for told in (story.facts, _moved(story.facts, unsent)):
            facts = without(told, unsent, vocabulary)
            answer = engine.assess(facts, as_of=story.as_of, today=story.today)
            if any(one.rule == rule for one in answer.recommendations):
                return True
    return False


def _moved(facts: FactSet, unsent: Collection[str]) -> FactSet:
    """The same medicines, told by the list that is sent: a supplement may be prescribed, a prescription reported."""
    sent = [kind for kind, source in _LISTS.items() if source not in unsent]
    if len(sent) != 1:
        return facts
    uses = tuple(msgspec.structs.replace(use, kind=sent[0]) for use in facts.uses)
    return msgspec.structs.replace(facts, uses=uses)


def without(facts: FactSet, unsent: Collection[str], vocabulary: Vocabulary) -> FactSet:
    """The facts as they would be had these sources not been sent; draft orders come with the call and stay."""
    context = msgspec.structs.replace(
        facts.context, unread={**facts.context.unread, **dict.fromkeys(unsent, _NOT_SENT)}
    )
    return FactSet(
        patient=Patient(id=facts.patient.id) if "patient" in unsent else facts.patient,
        context=context,
        uses=tuple(u for u in facts.uses if u.taking == "draft" or _LISTS[u.kind] not in unsent),
        labs=tuple(
            lab for lab in facts.labs if vocabulary.measures[lab.measure].source not in unsent
        ),
        conditions=() if "conditions" in unsent else facts.conditions,
        procedures=() if "procedures" in unsent else facts.procedures,
        goals=() if "goals" in unsent else facts.goals,
        orders=tuple(o for o in facts.orders if o.state == "draft" or "orders" not in unsent),
        diets=() if "diet" in unsent else facts.diets,
    )
