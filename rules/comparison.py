"""What further packs change: the difference in words, and the stories of ours that now end otherwise.

A story of ours that ends otherwise because of something the pack declares (a number it overrides, a rule it adds
or retires) is *changed*: the approver signs for it, and sees it. One that ends otherwise for any other reason is a failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rules.code_folders import read_code_files
from rules.engine import Engine, MatcherName
from rules.errors import KnowledgeError
from rules.rulebook import BUNDLED, Rulebook
from rules.vignettes import Failure, play_story, stories_of
from rules.wording import Wording

if TYPE_CHECKING:
    from datetime import date

    from rules.assessment import Assessment, Recommendation
    from rules.code_files import CodeList
    from rules.knowledge import Parameter, ParameterValue
    from rules.pack_folder import Pack
    from rules.stories import Story


@dataclass(frozen=True)
class Played:
    """Every story of the packs in force, played: how many, which failed, and which a further pack changes on purpose."""

    stories: int
    failures: tuple[Failure, ...]
    changed: tuple[tuple[Failure, str], ...]


def further_packs(rulebook: Rulebook) -> tuple[Pack, ...]:
    """The packs in force that do not come with this distribution."""
    return tuple(pack for pack in rulebook.packs if pack.folder.parent != BUNDLED)


def without_further(rulebook: Rulebook) -> Rulebook:
    """The same packs without those of a hospital."""
    return Rulebook([pack for pack in rulebook.packs if pack.folder.parent == BUNDLED])


def tell_difference(rulebook: Rulebook) -> Iterator[str]:
    """One sentence for each thing that the further packs change, add or retire; nothing when there are none."""
    packs = further_packs(rulebook)
    if not packs:
        return
    ours = without_further(rulebook)
    heads = {pack.head.id: pack.head for pack in packs}
    for name, (pack_id, reason) in sorted(rulebook.overridden.items()):
        told = _change(ours.parameters[name], rulebook.parameters[name], rulebook)
        yield (
            f"{pack_id} changes {name} ({rulebook.parameters[name].title}): {told}. "
            f"Reason: {_closed(reason)} Approved by {heads[pack_id].approver}."
        )
    for pack in packs:
        name = pack.head.id
        for parameter in sorted(set(pack.parameters) - set(ours.parameters)):
            yield f"{name} adds the number {parameter} ({pack.parameters[parameter].title})."
        for rule, card in sorted(pack.cards.items()):
            urgency = "/".join(dict.fromkeys(line.is_ for line in card.indicator))
            yield f"{name} adds the rule {rule} ({urgency}): {card.title}. {card.intent}"
        for rule, reason in sorted(pack.head.retires.items()):
            title = ours.cards[rule].title if rule in ours.cards else "not a rule in force"
            yield f"{name} retires {rule} ({title}). Reason: {_closed(reason)}"
        yield from _codes_added(pack, rulebook)


def _closed(sentence: str) -> str:
    return sentence if sentence.endswith(".") else f"{sentence}."


def _change(ours: Parameter, theirs: Parameter, rulebook: Rulebook) -> str:
    """From which value to which, on which day, for each profile that differs."""
    pairs: list[tuple[str, Mapping[date, ParameterValue], Mapping[date, ParameterValue]]] = [
        (f" under {profile}", ours.profiles.get(profile, {}), theirs.profiles.get(profile, {}))
        for profile in sorted({*ours.profiles, *theirs.profiles})
    ] or [("", ours.values, theirs.values)]
    told = []
    for where, before, after in pairs:
        for day in sorted(after):
            if before.get(day) == after[day]:
                continue
            earlier = before[max(start for start in before if start <= day)] if any(
                start <= day for start in before
            ) else None  # fmt: skip
            was = "nothing" if earlier is None else _amount(earlier.value, ours.unit, rulebook)
            told.append(
                f"from {was} to {_amount(after[day].value, theirs.unit, rulebook)} on {day}{where}"
            )
    return "; ".join(told) or "no other value than ours"


def _amount(value: Any, unit: str, rulebook: Rulebook) -> str:
    return "no value any more" if value is None else Wording(rulebook).parameter_value(value, unit)


def _codes_added(pack: Pack, rulebook: Rulebook) -> Iterator[str]:
    if not pack.codes.is_dir():
        return
    content, _ = read_code_files([pack.codes])
    for listed in content.code_lists:
        for code in sorted(listed.codes):
            yield f"{pack.head.id} adds the code {code} of {listed.system}: {_meaning(code, listed, rulebook)}."
    for kind in ("names", "ingredients", "measures", "problems", "procedures", "foods"):
        entries = getattr(content, kind)
        if entries:
            yield f"{pack.head.id} adds {len(entries)} of the {kind} that records are read by."


def _meaning(code: str, listed: CodeList, rulebook: Rulebook) -> str:
    raw = listed.codes[code]
    meant = [raw["is"]] if raw.get("is") else list(raw.get("contains", ()))
    titles = " and ".join(rulebook.vocabulary.title(str(one)) for one in meant)
    return f"read as {titles}" if titles else f"one of the {listed.for_}"


# Stories ------------------------------------------------------------------------------------------------------------


def play_all(rulebook: Rulebook, matcher: MatcherName) -> Played:
    """Play every story of every pack in force, and part what a further pack declares from what merely broke."""
    places = [pack.vignettes for pack in rulebook.packs if pack.vignettes.is_dir()]
    stories = stories_of(rulebook, places)
    engine = Engine(rulebook, matcher=matcher)
    failures: list[Failure] = []
    changed: list[tuple[Failure, str]] = []
    further = {pack.head.id for pack in further_packs(rulebook)}
    ended = [
        (story, failure)
        for story in stories
        if (failure := _play(engine, story, ours=bool(further) and story.pack not in further))
    ]
    ours = Engine(without_further(rulebook), matcher=matcher) if further and ended else None
    for story, failure in ended:
        why = None if ours is None or story.pack in further else _declared(story, ours, engine)
        if why is None:
            failures.append(failure)
        else:
            changed.append((failure, why))
    for one in (engine, ours):
        if one is not None:
            one.close()
    return Played(len(stories), tuple(failures), tuple(changed))


def _play(engine: Engine, story: Story, *, ours: bool) -> Failure | None:
    """Play a story; one of ours that cannot go on, because its rule is silent now, ended otherwise and stops nothing."""
    try:
        return play_story(engine, story)
    except KnowledgeError as error:
        if not ours:
            raise
        return Failure(story.where, story.title, (error.what,))


def _declared(story: Story, ours: Engine, combined: Engine) -> str | None:
    """Which declared changes explain the whole difference; ``None`` when something is left unexplained."""
    if play_story(ours, story) is not None:
        return None
    before, after = (
        engine.assess(story.facts, as_of=story.as_of, today=story.today)
        for engine in (ours, combined)
    )
    reasons: dict[str, None] = {}
    for one in _differing(before, after):
        why = _why(one, (before, after), ours.rulebook, combined.rulebook)
        if why is None:
            return None
        reasons[why] = None
    return "; ".join(reasons) or None


def _differing(before: Assessment, after: Assessment) -> list[Recommendation]:
    def said(one: Recommendation) -> tuple[object, ...]:
        return (
            one.rule,
            one.about,
            one.indicator,
            one.summary,
            tuple(a.id for a in one.suggestions),
        )

    first, second = ({said(r): r for r in answer.recommendations} for answer in (before, after))
    return [first[key] for key in first.keys() - second.keys()] + [
        second[key] for key in second.keys() - first.keys()
    ]


def _why(
    one: Recommendation, answers: Sequence[Assessment], ours: Rulebook, combined: Rulebook
) -> str | None:
    if one.rule in combined.retired:
        return f"{one.rule} is retired"
    if one.rule not in ours.rules:
        return f"{one.rule} is added"
    numbers = _overridden({used.name for used in one.parameters}, combined)
    if numbers:
        return f"{', '.join(numbers)} is another number"
    for answer in answers:
        for gone in answer.superseded:
            if gone.rule == one.rule and (gone.by in combined.retired or gone.by not in ours.rules):
                return f"{gone.by}, which it gave way to, is {'retired' if gone.by in combined.retired else 'added'}"
    return None


def _overridden(names: Iterable[str], combined: Rulebook) -> list[str]:
    return sorted(name for name in names if name in combined.overridden)
