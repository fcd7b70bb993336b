"""The catalogue: everything a person needs to know of a rule, gathered from its packs and from the stories told of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rules.conclusions import Concluder
from rules.condition_words import ConditionWords
from rules.engine import Engine
from rules.vignettes import stories_of
from rules.wording import Wording

if TYPE_CHECKING:
    from datetime import date

    from rules.assessment import Recommendation
    from rules.knowledge import CardModel, ParameterValue
    from rules.rulebook import Rulebook
    from rules.stories import Story
    from service.cds_hooks.detail import DetailWriter


@dataclass(frozen=True)
class NumberInUse:
    """A parameter that a rule consults: its title and each dated value, as sentences."""

    name: str
    title: str
    values: tuple[str, ...]
    review_due: date | None


@dataclass(frozen=True)
class Example:
    """What the rule says about the patient of one story."""

    story: str
    indicator: str
    summary: str
    detail: str
    suggestions: tuple[str, ...]


@dataclass(frozen=True)
class RuleEntry:
    """One rule of the catalogue; every text is in words for people."""

    rule: str
    title: str
    version: str
    topic_code: str
    pack: str
    status: str
    reviewed: str | None
    review_due: date
    intent: str
    urgency: tuple[str, ...]
    certainty: str
    conditions: tuple[str, ...]
    numbers: tuple[NumberInUse, ...]
    sources: tuple[str, ...]
    example: Example | None
    population: str
    missing_data: str
    limits: str
    gives_way_to: tuple[str, ...]
    takes_precedence_over: tuple[str, ...]
    suggestions: tuple[str, ...]
    override_reasons: tuple[str, ...]
    spoken: str
    not_implemented: tuple[str, ...]
    interaction: Mapping[str, str]
    stories: tuple[str, ...]
    changes: tuple[str, ...]
    where: str


class Catalogue:
    """Entries of every rule in force; stories are played once, when the first entry is asked for."""

    def __init__(self, rulebook: Rulebook) -> None:
        from service.cds_hooks.detail import DetailWriter

        self._book = rulebook
        self._words = Wording(rulebook)
        self._conditions = ConditionWords(rulebook)
        self._consults = Concluder(rulebook).consults
        self._details: DetailWriter = DetailWriter(rulebook)
        self._told: dict[str, list[tuple[Story, Recommendation]]] | None = None

    def names(self) -> list[str]:
        """Every rule that has a card and is in force."""
        return sorted(name for name in self._book.cards if name in self._book.rules)

    def entry(self, name: str) -> RuleEntry:
        """One rule; raises KeyError when there is none of this name in force."""
        rule, card, pack = self._book.rules[name], self._book.cards[name], self._book.pack_of[name]
        told = self._stories().get(name, [])
        return RuleEntry(
            rule=name,
            title=card.title,
            version=card.version,
            topic_code=card.topic_code,
            pack=pack.head.id,
            status="reviewed" if card.reviewed else pack.head.status,
            reviewed=card.reviewed,
            review_due=card.review_due,
            intent=card.intent,
            urgency=tuple(self._urgency(card)),
            certainty=card.certainty.replace("-", " "),
            conditions=self._conditions.say(rule),
            numbers=tuple(self._numbers(name, told)),
            sources=tuple(self._sources(card)),
            example=self._example(name, told),
            population=card.population,
            missing_data=card.missing_data,
            limits=card.limits,
            gives_way_to=tuple(self._yields(card)),
            takes_precedence_over=self._precedes(name),
            suggestions=tuple(self._suggestions(card)),
            override_reasons=tuple(
                f"{self._book.override_reasons[code].display} (`{code}`)"
                for code in card.override_reasons
            ),
            spoken=_spoken(card),
            not_implemented=card.not_implemented,
            interaction={
                question.replace("_", " "): str(answer)
                for question, answer in (
                    card.interaction.model_dump() if card.interaction else {}
                ).items()
            },
            stories=tuple(story.title for story, _ in told if _file(story) == name),
            changes=tuple(
                f"{day.isoformat()}: {words}" for day, words in sorted(card.changes.items())
            ),
            where=_place(rule.where),
        )

    # Parts ----------------------------------------------------------------------------------------------------------

    def _stories(self) -> dict[str, list[tuple[Story, Recommendation]]]:
        if self._told is None:
            self._told = {}
            places = [pack.vignettes for pack in self._book.packs if pack.vignettes.is_dir()]
            engine = Engine(self._book, matcher="compiled")
            for story in stories_of(self._book, places):
                answer = engine.assess(story.facts, as_of=story.as_of, today=story.today)
                for one in answer.recommendations:
                    self._told.setdefault(one.rule, []).append((story, one))
            engine.close()
        return self._told

    def _title(self, finding: str) -> str:
        return f"“{self._book.findings[finding].title}”"

    def _urgency(self, card: CardModel) -> Iterator[str]:
        for place, line in enumerate(card.indicator):
            otherwise = "otherwise " if place else ""
            yield (
                f"{line.is_} if there is a finding {self._title(line.when)}"
                if line.when
                else otherwise + line.is_
            )

    def _numbers(
        self, name: str, told: Sequence[tuple[Story, Recommendation]]
    ) -> Iterator[NumberInUse]:
        used = set(self._consults(self._book.rules[name]))
        used |= {number.name for _, one in told for number in one.parameters}
        for number in sorted(used):
            parameter = self._book.parameters[number]
            lines = [
                self._dated(day, held, parameter.unit)
                for day, held in sorted(parameter.values.items())
            ]
            lines += [
                f"{profile}: {self._dated(day, held, parameter.unit)}"
                for profile, dated in sorted(parameter.profiles.items())
                for day, held in sorted(dated.items())
            ]
            yield NumberInUse(number, parameter.title, tuple(lines), parameter.review_due)

    def _dated(self, day: date, held: ParameterValue, unit: str) -> str:
        value = "ended" if held.value is None else self._words.parameter_value(held.value, unit)
        word = (
            f"source {held.cite}" if held.cite else f"basis: {(held.basis or '').replace('-', ' ')}"
        )
        because = " ".join(part for part in (held.says, held.rationale, held.limits) if part)
        return f"{value}, since {day.isoformat()}, {word}" + (f". {because}" if because else "")

    def _sources(self, card: CardModel) -> Iterator[str]:
        for key in card.cites:
            held = self._book.citations[key]
            seen = "" if held.verified else " (not yet verified for this project)"
            yield " ".join(part for part in (held.label + ".", held.address) if part) + seen

    def _example(self, name: str, told: Sequence[tuple[Story, Recommendation]]) -> Example | None:
        own = [one for one in told if _file(one[0]) == name] or list(told)
        if not own:
            return None
        story, one = own[0]
        return Example(
            story=story.title,
            indicator=one.indicator,
            summary=one.summary,
            detail=self._details.write(one, profile=story.facts.context.profile),
            suggestions=tuple(
                f"{action.label}: {action.description}" for action in one.suggestions
            ),
        )

    def _yields(self, card: CardModel) -> Iterator[str]:
        for line in card.yields_to:
            subject = " about the same subject" if line.same_subject else ""
            when = f", if there is a finding {self._title(line.when)}" if line.when else ""
            yield f"{line.rule}{subject}{when}"

    def _precedes(self, name: str) -> tuple[str, ...]:
        return tuple(
            sorted(
                other
                for other, card in self._book.cards.items()
                if other in self._book.rules and any(line.rule == name for line in card.yields_to)
            )
        )

    def _suggestions(self, card: CardModel) -> Iterator[str]:
        for choice in card.suggests:
            when = f" (if there is a finding {self._title(choice.when)})" if choice.when else ""
            yield self._book.actions[choice.action].label + when


def _spoken(card: CardModel) -> str:
    hooks = f"at {', '.join(card.hooks)}" if card.hooks else "at every hook and in batch"
    return f"{hooks}; only where teaching cards are wanted" if card.education else hooks


def _file(story: Story) -> str:
    return Path(story.where.rpartition(":")[0]).stem


def _place(where: str) -> str:
    """``packs/<pack>/rules.py`` whatever folder the packs lie in; the line would change with every edit above it."""
    parts = Path(where.rpartition(":")[0]).parts
    return "/".join(parts[parts.index("packs") :] if "packs" in parts else parts[-2:])
