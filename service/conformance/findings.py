"""What a check may find, named once: id, weight, requirement, and the words for a report.

``C`` numbers are rows of docs/cds-hooks-conformance.md; ``cds-resp`` and others are invariants of HL7's logical models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Weight = Literal["error", "warning"]


class Check(NamedTuple):
    """One thing that is looked at."""

    weight: Weight
    source: str
    title: str


def _error(source: str, title: str) -> Check:
    return Check("error", source, title)


def _warning(source: str, title: str) -> Check:
    return Check("warning", source, title)


CHECKS: Mapping[str, Check] = {
    # discovery
    "discovery-answers": _error("C5", "discovery answers 200 with a JSON object"),
    "discovery-services": _error("C5", "discovery has an array 'services'"),
    "discovery-slash": _warning("C5", "discovery answers with a trailing slash, without redirect"),
    "discovery-head": _warning("C5", "discovery answers HEAD"),
    "service-hook": _error("C6", "each service has 'hook', a text"),
    "service-id": _error("C6 C7", "each service has 'id', safe in a URL"),
    "service-id-twice": _warning("C8", "no id is listed for two hooks, which the public sandbox mixes up"),
    "service-description": _error("C6", "each service has 'description', a text"),
    "service-title": _warning("C6", "each service has 'title', a text"),
    "service-usage": _error("C6", "'usageRequirements' is a text"),
    "prefetch-shape": _error("C6 C19", "'prefetch' maps keys to texts"),
    "prefetch-key": _warning("C19", "prefetch keys hold letters, digits, '_' and '-' only"),
    "prefetch-query": _error("C19", "a template is a relative FHIR read or search"),
    "prefetch-token": _error("C20", "tokens are plain fields of the context, or user ids"),
    "prefetch-token-3": _warning("C21", "tokens need no FHIRPath, which clients of 2.0 may not know"),
    "prefetch-subset": _error("C22", "a search stays within the restricted query set"),
    "prefetch-sort": _error("C23", "sorting is written '_sort=...'"),
    "prefetch-repeat": _warning("C25", "no parameter stands twice"),
    # responses
    "response-json": _error("C1 C39", "the answer is a JSON object in UTF-8 without repeated members"),
    "response-type": _error("C1", "the answer is labelled application/json"),
    "cards-array": _error("C39", "'cards' is there and an array"),
    "no-empties": _error("C2", "nothing is null or empty, except 'cards' and 'services'"),
    "card-object": _error("C39", "each card is an object"),
    "card-summary": _error("C40", "'summary' is a text that is not blank"),
    "card-summary-length": _error("C40", "'summary' has fewer than 140 characters"),
    "card-summary-line": _warning("C40", "'summary' stands on one line"),
    "card-indicator": _error("C41", "'indicator' is info, warning or critical"),
    "card-source": _error("C42", "'source' is an object with a 'label'"),
    "card-source-address": _error("C42", "'source.url' and 'source.icon' are absolute"),
    "card-topic": _error("C42", "'source.topic' has 'code' and 'system'"),
    "card-topic-absent": _warning("C42", "'source.topic' is there, as Da Vinci CRD demands"),
    "card-topic-style": _warning("C44", "'source.topic.code' is alphanumeric with up to 100 characters, as Epic demands"),
    "card-uuid": _error("C44 cds-resp", "'uuid' is a UUID"),
    "card-uuid-absent": _warning("C44", "'uuid' is there, without which no feedback comes"),
    "card-uuid-twice": _error("C44", "no uuid stands twice"),
    "card-detail": _error("C43", "'detail' is a text that is not blank"),
    "card-detail-html": _warning("C43", "'detail' holds no raw HTML"),
    "card-order": _warning("C47", "cards stand by urgency"),
    "card-type": _error("C6 C10", "members have the type that the specification gives them"),
    "selection-behavior": _error("C46 cds-resp-6", "'selectionBehavior' is at-most-one or any, wherever suggestions are"),
    "selection-behavior-alone": _warning("C46", "'selectionBehavior' stands only beside suggestions"),
    "recommended-once": _error("C48 cds-resp-1", "at-most-one has at most one 'isRecommended'"),
    "suggestion-label": _error("C48", "each suggestion has a 'label'"),
    "suggestion-uuid-absent": _warning("C44", "each suggestion has a 'uuid', without which nobody learns which was taken"),
    "suggestion-actions": _error("C48", "'actions' is an array that is not empty"),
    "action-type": _error("C50", "'type' of an action is create, update or delete"),
    "action-description": _error("C50 C57 cds-resp-5", "each action has a 'description'"),
    "action-resource": _error("C50", "create and update carry a whole resource"),
    "action-delete": _error("C50 cds-resp-2", "delete has 'resourceId' as Type/id, and no 'resource'"),
    "action-target": _error("C52", "update and delete aim at draft orders of the call"),
    "action-delete-alone": _warning("C52", "a delete stands beside a create of the same type, as Inferno expects"),
    "action-behavior": _error("C53 cds-resp-7", "'actionSelectionBehavior' is all, any or at-most-one"),
    "action-behavior-used": _warning("C53", "'actionSelectionBehavior' is left out, since clients of 2.0 do not know it"),
    "override-reasons": _error("C45 cds-resp-4", "override reasons have code, system and display"),
    "link-shape": _error("C54", "links have 'label', 'type' absolute or smart, and an http(s) 'url'"),
    "link-context": _error("C55 cds-resp-3", "'appContext' stands only beside smart links"),
    "link-mixed": _warning("C54", "a card does not mix absolute and smart links"),
    "system-actions": _error("C57", "'systemActions' is an array of actions"),
    "extension-object": _error("C58", "'extension' is an object"),
    "extension-name": _warning("C58", "names in 'extension' are reverse-DNS or otherwise qualified"),
    # behaviour
    "call-answers": _error("C39", "a proper call is answered with 200, or 412 for want of data"),
    "call-stable": _warning("C44 C76", "the same call gets the same topics again"),
    "tolerates-unknown": _error("C4", "members that are not known are ignored"),
    "tolerates-instance": _error("C14", "any hookInstance is accepted"),
    "tolerates-type": _warning("C18", "bodies of type application/fhir+json are accepted"),
    "prefetch-null": _error("2.5 C30", "null in prefetch means 'no data' and is answered with 200"),
    "prefetch-empty": _error("2.5 C30", "an empty Bundle means 'no data' and is answered with 200"),
    "prefetch-outcome": _error("2.5 C28", "an OperationOutcome in prefetch does not break the service"),
    "prefetch-absent": _error("2.5 C30", "without prefetch the answer is 412, or says what is missing"),
    "refuses-garbage": _error("C16", "a body that is no JSON is refused with 4xx"),
    "refuses-nan": _warning("C16", "NaN is no JSON and is refused with 4xx"),
    "refuses-incomplete": _error("C16", "a call without hook, hookInstance or context is refused with 4xx"),
    "refuses-hook": _error("C13", "a call for another hook is refused with 4xx"),
    "refuses-unknown-id": _error("2.13", "an unknown service is 404"),
    "refuses-get": _warning("2.13", "GET on a service is 405"),
    "refuses-xml": _warning("2.13", "a body that is not JSON by its type is refused with 4xx"),
    "never-5xx": _error("C16", "nothing a caller sends is answered with 5xx"),
    "no-echo": _error("C35 2.13", "an answer repeats no token and no name of the call"),
    "error-outcome": _warning("2.13", "refusals carry an OperationOutcome"),
    "feedback-answers": _error("C60 C66", "feedback is answered with 200, again for the same batch"),
    "feedback-tolerant": _error("C63 C64", "feedback on unknown cards and in Epic's shapes is answered with 200"),
    "feedback-absent": _warning("C60", "the service takes feedback"),
    "cors-preflight": _warning("C68", "a browser may call: preflight answers with the origin and the headers"),
    "cors-credentials": _error("C68", "'*' is not combined with credentials"),
    "tls": _error("C67", "TLS 1.2 or newer, except on loopback"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One departure: which check, where in the document or exchange, and what was seen."""

    check: str
    where: str
    says: str

    @property
    def weight(self) -> Weight:
        """``error`` breaks the specification or a known client; ``warning`` invites trouble."""
        return CHECKS[self.check].weight


@dataclass
class Notes:
    """Collects findings while a document is walked; every helper notes what is missing and returns what is there."""

    found: list[Finding] = field(default_factory=list)

    def add(self, check: str, where: str, says: str) -> None:
        """Note a departure."""
        self.found.append(Finding(check=check, where=where, says=says))

    def text(self, owner: Mapping[str, Any], name: str, check: str, where: str) -> str | None:
        """The text at ``name``; it must be there and not blank."""
        value = owner.get(name)
        if isinstance(value, str) and value.strip():
            return value
        self.add(
            check, f"{where}.{name}", "is missing" if name not in owner else "is no text, or blank"
        )
        return None

    def optional(
        self, owner: Mapping[str, Any], name: str, kind: type, check: str, where: str
    ) -> Any:
        """The value at ``name`` if it is there and of ``kind``; else None."""
        if name not in owner:
            return None
        value = owner[name]
        blank = isinstance(value, str) and not value.strip()
        if isinstance(value, kind) and not blank:
            return value
        self.add(check, f"{where}.{name}", f"is no {_KINDS[kind]}")
        return None

    def objects(
        self, owner: Mapping[str, Any], name: str, check: str, where: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Path and value of each object in the array at ``name``, if it is there."""
        for number, one in enumerate(self.optional(owner, name, list, check, where) or ()):
            path = f"{where}.{name}[{number}]"
            if isinstance(one, dict):
                yield path, one
            else:
                self.add(check, path, "is no object")

    def extend(self, findings: Iterable[Finding], *, within: str = "") -> None:
        """Take over findings of a part."""
        for one in findings:
            where = f"{within}: {one.where}" if within else one.where
            self.found.append(Finding(check=one.check, where=where, says=one.says))


_KINDS: Mapping[type, str] = {str: "text, or blank", list: "array", dict: "object", bool: "boolean"}
