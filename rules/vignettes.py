"""Plays the stories of a pack against a rulebook and tells, in words, where the answer differs.

The form of a story is described in ``rules.stories``. A hospital's own repository plays its stories with
``pytest`` alone: ``rules.pytest_vignettes`` collects every ``vignettes/*.yaml`` below a ``pack.toml``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rules.assessment import HistoryEntry
from rules.engine import Engine, MatcherName
from rules.errors import KnowledgeError
from rules.stories import Story, read_stories
from rules.story_words import DAY, day_of

if TYPE_CHECKING:
    from rules.assessment import Assessment, Recommendation
    from rules.facts import Finding
    from rules.rulebook import Rulebook


_OUTCOMES: dict[str, Literal["accepted", "overridden", "shown"]] = {
    "accepted": "accepted",
    "overridden": "overridden",
    "shown": "shown",
}


@dataclass(frozen=True)
class Failure:
    """One story that did not end as told; ``differences`` are sentences."""

    where: str
    title: str
    differences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(
            [f"{self.where}: {self.title}", *(f"    {line}" for line in self.differences)]
        )


@dataclass(frozen=True)
class Expected:
    """One line of ``expect``, taken apart."""

    rule: str
    indicator: str
    about: str | None
    suggests: tuple[str, ...]
    because: tuple[str, ...]
    says: tuple[str, ...]


def vignette_files(place: Path) -> list[Path]:
    """The vignette files below a pack folder, a folder of packs, or the file itself."""
    if place.is_file():
        return [place]
    return sorted(file for file in place.rglob("*.yaml") if file.parent.name == "vignettes")


def stories_of(rulebook: Rulebook, places: Path | Iterable[Path]) -> list[Story]:
    """Every story below ``places``, in the order of the files."""
    wanted = [places] if isinstance(places, Path) else list(places)
    files = [file for place in wanted for file in vignette_files(place)]
    return [
        story for file in files for story in read_stories(file, rulebook.vocabulary, pack_of(file))
    ]


def pack_of(file: Path) -> str:
    """The id in the ``pack.toml`` beside the ``vignettes`` folder; empty when there is none."""
    head = file.parent.parent / "pack.toml"
    return (
        str(tomllib.loads(head.read_text(encoding="utf-8")).get("id", "")) if head.is_file() else ""
    )


def play(
    rulebook: Rulebook, places: Path | Iterable[Path], matcher: MatcherName = "durable"
) -> list[Failure]:
    """Play all stories with one engine; an empty list means that every story ended as told."""
    stories = stories_of(rulebook, places)
    engine = Engine(rulebook, matcher=matcher)
    return [failure for story in stories if (failure := play_story(engine, story)) is not None]


def play_story(engine: Engine, story: Story) -> Failure | None:
    """Play one story; ``None`` when it ended as told."""
    answer = engine.assess(story.facts, as_of=story.as_of, today=story.today)
    if story.history:
        past = tuple(_remember(line, story, answer) for line in story.history)
        answer = engine.assess(
            story.facts, as_of=story.as_of, today=story.today, history=past, user=past[0].user
        )
    differences = [
        *(f"{failure.rule} broke: {failure.error}." for failure in answer.failures),
        *_compare(story, answer),
        *(line for said in story.finds for line in _missing_finding(said, answer.findings)),
        *(line for said in story.superseded for line in _not_superseded(said, answer)),
    ]
    return Failure(story.where, story.title, tuple(differences)) if differences else None


def _compare(story: Story, answer: Assessment) -> list[str]:
    expected = [read_expectation(line, story.where) for line in story.expect]
    named = {line.rule for line in expected}
    rest = [
        r
        for r in answer.recommendations
        if story.complete or not story.pack or r.pack == story.pack or r.rule in named
    ]
    told: list[str] = []
    for line in expected:
        same = [r for r in rest if r.rule == line.rule and line.about in {None, r.about}]
        match = next((r for r in same if r.indicator == line.indicator), same[0] if same else None)
        if match is None:
            told.append(
                f"{line.rule} was expected ({line.indicator}), but stayed silent{_reason(line.rule, answer)}."
            )
            continue
        rest.remove(match)
        told.extend(_differences(line, match))
    told.extend(
        f'{r.rule} spoke ({r.indicator}, about {r.about or "the patient"}), but was not expected: "{r.summary}"'
        for r in rest
    )
    return told


def _reason(rule: str, answer: Assessment) -> str:
    for gone in answer.superseded:
        if gone.rule == rule:
            return f" (it gave way to {gone.by})"
    for kept in answer.suppressed:
        if kept.rule == rule:
            return f" (suppressed: {kept.reason})"
    return ""


def _differences(line: Expected, found: Recommendation) -> list[str]:
    told = []
    if found.indicator != line.indicator:
        told.append(
            f"{line.rule} was expected as {line.indicator}, but spoke as {found.indicator}."
        )
    offered = {action.id for action in found.suggestions}
    for action in line.suggests:
        negated = action.removeprefix("not ")
        if negated == action and action not in offered:
            told.append(
                f"{line.rule} should suggest {action}; it suggests {', '.join(sorted(offered)) or 'nothing'}."
            )
        if negated != action and negated in offered:
            told.append(f"{line.rule} should not suggest {negated}, but does.")
    reasons = {getattr(reason, "name", type(reason).__name__) for reason in found.because}
    told += [
        f"{line.rule} should rest on {name}; it rests on {', '.join(sorted(reasons))}."
        for name in line.because
        if name not in reasons
    ]
    text = "\n".join([found.summary, found.why, *found.options, found.limits, *found.missing])
    told += [
        f"{line.rule} should say {words!r}; its summary is {found.summary!r}."
        for words in line.says
        if words not in text
    ]
    return told


def read_expectation(line: str, where: str) -> Expected:
    """Take one line of ``expect`` apart.

    Raises:
        KnowledgeError: the line does not start with ``rule, indicator``.
    """
    says = tuple(re.findall(r'says "([^"]*)"', line))
    head, *tails = [part.strip() for part in re.sub(r'says "[^"]*"', "", line).split(";")]
    match = re.fullmatch(
        r"([a-z0-9-]+), (info|warning|critical)(?:, about ([\w.-]*))?", head.rstrip(",")
    )
    lists: dict[str, tuple[str, ...]] = {"suggests": (), "because of": ()}
    for tail in filter(None, tails):
        word = next((word for word in lists if tail.startswith(word)), None)
        if word is None:
            raise KnowledgeError(f"'{tail}' is not understood in 'expect'.", where=where)
        lists[word] = tuple(re.split(r",\s*", tail.removeprefix(word).strip().rstrip(",")))
    if match is None:
        raise KnowledgeError(f"'{line}' should read like 'vka-mk7-new, warning'.", where=where)
    return Expected(match[1], match[2], match[3], lists["suggests"], lists["because of"], says)


def _missing_finding(said: str, findings: Sequence[Finding]) -> list[str]:
    head, _, values = said.partition(":")
    negated = head.startswith("no ")
    name, _, about = head.removeprefix("no ").partition(" about ")
    wanted = {
        k: v
        for k, _, v in (pair.strip().partition(" ") for pair in values.split(",") if pair.strip())
    }
    same = [f for f in findings if f.name == name.strip() and about.strip() in {"", f.about}]
    holds = any(all(_same(f.values.get(k), v) for k, v in wanted.items()) for f in same)
    if holds != negated:
        return []
    seen = "; ".join(str(f.values) for f in same) or "not found at all"
    return [f"the finding '{said}' does not hold ({seen})."]


def _same(value: object, said: str) -> bool:
    if value is None or isinstance(value, bool):
        return said == {None: "unknown", True: "yes", False: "no"}[value]
    if isinstance(value, int | float):
        return re.fullmatch(r"-?\d+(\.\d+)?", said) is not None and float(value) == float(said)
    return str(value) == said


def _not_superseded(said: str, answer: Assessment) -> list[str]:
    rule, _, by = said.partition(" by ")
    if any(gone.rule == rule and gone.by == by for gone in answer.superseded):
        return []
    return [f"{rule} should have given way to {by}, but did not."]


def _remember(line: str, story: Story, answer: Assessment) -> HistoryEntry:
    match = re.fullmatch(
        rf"([a-z0-9-]+)(?: about ([\w.-]+))? (shown|accepted|overridden) {DAY}(?: because ([a-z-]+))?( of other values)?",
        line,
    )
    if match is None:
        raise KnowledgeError(f"'{line}' is not understood in 'history'.", where=story.where)
    same = [r for r in answer.recommendations if r.rule == match[1] and match[2] in {None, r.about}]
    if not same:
        raise KnowledgeError(
            f"'{line}': {match[1]} does not speak in this story.", where=story.where
        )
    return HistoryEntry(
        rule=match[1],
        about=same[0].about,
        outcome=_OUTCOMES[match[3]],
        reason=match[5] or "",
        when=datetime.combine(day_of(match[4], story.today), time(12), tzinfo=UTC),
        fingerprint="other" if match[6] else same[0].fingerprint,
    )
