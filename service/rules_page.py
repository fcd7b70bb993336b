"""The catalogue as Markdown: one rule in full, the reference page of all rules, and the page of claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rules.claims import read_claims
from service.rule_entries import Catalogue, Example, RuleEntry

if TYPE_CHECKING:
    from rules.rulebook import Rulebook

_RENEWED = "Generated from the packs by `docs/reference/generate.py`; a test holds it to them."


def rules_page(rulebook: Rulebook) -> str:
    """Every rule in force, pack by pack."""
    catalogue = Catalogue(rulebook)
    entries = [catalogue.entry(name) for name in catalogue.names()]
    lines = ["# Rules", "", _RENEWED, ""]
    lines += [
        f"{len(entries)} rules. The same text for one of them: `dekacard rules show RULE`.",
        "How to change one: [how to read and change a rule](../pharmacists/changing-a-rule.md).",
        "Draft means that no named clinician has signed yet.",
        "",
    ]
    for pack in rulebook.packs:
        own = [entry for entry in entries if entry.pack == pack.head.id]
        if not own:
            continue
        lines += [f"## {pack.head.title}", "", f"Pack `{pack.head.id}`, version {pack.head.version}, {pack.head.status}; owner: {pack.head.owner}.", ""]  # fmt: skip
        lines += ["| rule | urgency | what it says it is for |", "|---|---|---|"]
        lines += [
            f"| [{entry.rule}](#{entry.rule}) | {_urgencies(entry)} | {entry.intent} |"
            for entry in own
        ]
        lines.append("")
        for entry in own:
            lines += [f"### {entry.rule}", "", *entry_lines(entry)]
    return "\n".join(lines).rstrip() + "\n"


def _urgencies(entry: RuleEntry) -> str:
    words = (line.removeprefix("otherwise ").split(" ")[0] for line in entry.urgency)
    return ", ".join(dict.fromkeys(words))


def entry_lines(entry: RuleEntry) -> list[str]:
    """One rule in full, without its heading."""
    lines = [f"**{entry.title}.** {entry.intent}", ""]
    lines += _listed("Speaks when all of this holds", entry.conditions)
    lines += _listed("Urgency; the first line that holds decides", entry.urgency)
    lines += [f"**Spoken** {entry.spoken}. **Certainty of the evidence:** {entry.certainty}.", ""]
    lines += _listed("Numbers", tuple(_numbers(entry)))
    lines += _listed("Sources", entry.sources)
    lines += _example(entry.example)
    lines += [f"**Applies to:** {entry.population}", ""]
    lines += [f"**When data are missing:** {entry.missing_data}", ""]
    lines += [f"**Limits:** {entry.limits}", ""]
    lines += _listed("Gives way to", entry.gives_way_to)
    lines += _listed("Speaks instead of", entry.takes_precedence_over)
    lines += _listed("Offers", entry.suggestions)
    lines += _listed("Reasons to decline", entry.override_reasons)
    lines += _listed("Not implemented", entry.not_implemented)
    lines += _listed(
        "Interaction record",
        tuple(f"{question}: {answer}" for question, answer in entry.interaction.items()),
    )
    reviewed = f"reviewed {entry.reviewed}" if entry.reviewed else "not yet reviewed by a clinician"
    lines += [
        f"**Status:** {entry.status}, {reviewed}; review due {entry.review_due.isoformat()}.",
        f"Version {entry.version}, topic {entry.topic_code}, `{entry.where}`.",
        "",
    ]
    return lines + _listed(
        "History", entry.changes or ("No change is recorded since the first version.",)
    )


def _numbers(entry: RuleEntry) -> Iterator[str]:
    for number in entry.numbers:
        due = f" Review due {number.review_due.isoformat()}." if number.review_due else ""
        yield (
            f"{number.title} (`{number.name}`): {'; '.join(number.values)}.".replace("..", ".")
            + due
        )


def _listed(title: str, items: Sequence[str]) -> list[str]:
    return [f"**{title}**", "", *(f"- {item}" for item in items), ""] if items else []


def _example(example: Example | None) -> list[str]:
    if example is None:
        return []
    card = [f"**{example.summary}** ({example.indicator})", "", *example.detail.split("\n")]
    if example.suggestions:
        card += ["", "**Suggestions**", "", *(f"- {one}" for one in example.suggestions)]
    quoted = [f"> {line}".rstrip() for line in card]
    return [f"**Example: “{example.story}”**", "", *quoted, ""]


def claims_page(rulebook: Rulebook) -> str:
    """Every sentence that the rules stand for, with its certainty, its sources and the rules that use it."""
    lines = ["# Claims", "", _RENEWED, ""]
    lines += [
        "What this project says about the world, one sentence at a time: how sure it is, on whose word, and which rules or",
        "their texts represent it. A test fails when a sentence loses its last rule.",
        "",
    ]
    for name, claim in sorted(read_claims(rulebook).items()):
        lines += [f"## {name}", "", claim.says, "", f"- Certainty: {claim.certainty}"]
        lines += [f"- States: {'; '.join(claim.triples)}"]
        links = (
            f"[{rule}](rules.md#{rule})" if rule in rulebook.rules else f"{rule} (retired)"
            for rule in claim.rules
        )
        lines += [f"- Represented by: {', '.join(links)}"]
        for key in claim.sources:
            held = rulebook.citations[key]
            seen = "" if held.verified else " (not yet verified for this project)"
            lines.append(
                f"- Source: {' '.join(filter(None, (held.label + '.', held.address)))}{seen}"
            )
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
