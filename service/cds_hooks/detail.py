"""The detail of a card: what was found, in whose words, by which numbers, and what nobody knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from rules.facts import Context, Fact, Finding, ParameterUse
from rules.wording import Wording
from service.cds_hooks.unit_families import Family, UnitFamilies
from service.cds_hooks.wording import escaped

if TYPE_CHECKING:
    from rules.assessment import Citation, Recommendation
    from rules.rulebook import Rulebook


_NO_REFERENCE: Final = re.compile(r"[^\w\-./:#]")
_MOST_KEPT: Final = 2000  # lines in memory; far more than the rules have


class DetailWriter:
    """Writes details in the words of one rulebook."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._words = Wording(rulebook)
        self._packs = {pack.head.id: pack.head for pack in rulebook.packs}
        self._cards = rulebook.cards
        # What packs say, ready to print; what a record says is written anew for each card and kept nowhere.
        self._disclaimer = f"*{escaped(rulebook.texts['disclaimer'])}*"
        self._families = UnitFamilies(rulebook, self._words)
        self._parameter_lines: dict[tuple[int, Family], tuple[ParameterUse, str]] = {}
        self._standing: dict[tuple[Any, ...], tuple[str, ...]] = {}

    def write(
        self,
        one: Recommendation,
        *,
        profile: str,
        by_hand: Iterable[str] = (),
        units: Family = "as-reported",
    ) -> str:
        """GitHub-flavoured Markdown, headings in bold, no HTML, every foreign text escaped.

        ``by_hand`` are choices that this client could carry out in halves only, so that they are told in words;
        ``units`` is the family in which its clinicians read results.
        """
        parts = [escaped(one.why)]
        parts += _listed("Patient data used", self._data_used(one.because, units))
        parts += _listed("Why now", (escaped(self._words.say(f)) for f in _findings(one.because)))
        parts += _listed("Options", (escaped(option) for option in one.options))
        parts += _listed("Possible here by hand only", (escaped(choice) for choice in by_hand))
        parts += _listed(
            "Numbers used", (self.parameter_line(used, units) for used in one.parameters)
        )
        parts += _listed("Not known or assumed", (escaped(words) for words in one.missing))
        parts.append("**Evidence and limits**")
        parts.append("\n".join(f"- {line}" for line in self._evidence(one, profile)))
        parts.append(self._disclaimer)
        return "\n\n".join(parts)

    def parameter_line(self, used: ParameterUse, units: Family = "as-reported") -> str:
        """One number with its unit, since when it holds, and on whose word."""
        key = (id(used), units)
        known = self._parameter_lines.get(key)
        if known is None or known[0] is not used:
            if len(self._parameter_lines) > _MOST_KEPT:
                self._parameter_lines.clear()
            known = (used, escaped(self.say_parameter(used, units)))
            self._parameter_lines[key] = known
        return known[1]

    def say_parameter(self, used: ParameterUse, units: Family = "as-reported") -> str:
        """The same, not escaped."""
        value = self._families.threshold(used.value, used.unit, units)
        rests_on = f"source {used.cite}" if used.cite else f"basis: {used.basis.replace('-', ' ')}"
        return f"{used.title}: {value} (in force since {used.since.isoformat()}; {rests_on})"

    def say(self, reason: Fact | Finding) -> str:
        """One sentence for a fact or finding, not escaped."""
        return self._words.say(reason)

    def _data_used(self, because: Iterable[Fact | Finding], units: Family) -> Iterator[str]:
        for fact in data_below(because):
            says = self._words.say(fact)
            if units != "as-reported" and (other := self._families.equivalent(fact, units)):
                says = f"{says} ({other})"
            references = ", ".join(f"`{_code(ref)}`" for ref in fact.source)
            yield escaped(says) + (f" — {references}" if references else "")

    def _evidence(self, one: Recommendation, profile: str) -> Iterator[str]:
        yield f"Certainty of the evidence: {one.certainty.replace('-', ' ')}. {escaped(one.limits)}"
        key = (one.rule, one.version, one.status, one.reviewed, profile, one.citations)
        lines = self._standing.get(key)
        if lines is None:
            if len(self._standing) > _MOST_KEPT:
                self._standing.clear()
            lines = self._standing[key] = tuple(self._standing_lines(one, profile))
        yield from lines

    def _standing_lines(self, one: Recommendation, profile: str) -> Iterator[str]:
        """Lines that are the same for every patient."""
        card = self._cards[one.rule]
        yield f"Applies to: {escaped(card.population)}"
        for citation in one.citations:
            yield _source_line(citation)
        head = self._packs[one.pack]
        reviewed = (
            f"reviewed {escaped(one.reviewed)}"
            if one.reviewed
            else "not yet reviewed by a clinician"
        )
        yield (
            f"Rule {escaped(one.rule)}, version {escaped(one.version)}, status {one.status}, {reviewed}; "
            f"knowledge {escaped(head.id)} {escaped(head.version)}; vitamin D bands: {escaped(profile)}"
        )


def data_below(reasons: Iterable[Fact | Finding]) -> list[Fact]:
    """The facts of the record under some reasons, first mention first, each once; the context is no data."""
    found: dict[int, Fact] = {}
    waiting: list[Any] = list(reasons)
    while waiting:
        reason = waiting.pop(0)
        if isinstance(reason, Finding):
            waiting[:0] = reason.because
        elif not isinstance(reason, Context) and reason not in found.values():
            found[id(reason)] = reason
    return list(found.values())


def _findings(reasons: Iterable[Fact | Finding]) -> Iterator[Finding]:
    return (reason for reason in reasons if isinstance(reason, Finding))


def _listed(title: str, lines: Iterable[str]) -> list[str]:
    items = list(dict.fromkeys(line for line in lines if line))
    return [f"**{title}**", "\n".join(f"- {item}" for item in items)] if items else []


def _source_line(citation: Citation) -> str:
    label = escaped(citation.label)
    seen = "" if citation.verified else " (source not yet verified for this project)"
    url = citation.url.replace("(", "%28").replace(")", "%29")
    return (f"[{label}]({url})" if url else label) + seen


def _code(reference: str) -> str:
    """A reference fit to stand between backticks."""
    return _NO_REFERENCE.sub("", reference)
