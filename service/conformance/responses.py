"""Checks of a hook's response: HL7's invariants of the logical model, Inferno's card checks, and what clients choke on.

Use it on any parsed response: ``check_response(body, draft_orders=...)`` returns findings, none if all is well.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from service.conformance.findings import Finding, Notes

SUMMARY_LIMIT = 140  # CDS Hooks 2.0: "<140-character"; 140 itself fails in Inferno
_INDICATORS = ("critical", "warning", "info")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_REFERENCE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9._-]+")
_TOPIC = re.compile(r"[A-Za-z0-9]{1,100}")
# An unescaped tag in GFM that is no autolink
_HTML = re.compile(r"(?<!\\)<(?!https?:)/?[A-Za-z!][^<>]*>")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def check_response(
    body: object, *, draft_orders: Collection[str] | None = None
) -> tuple[Finding, ...]:
    """Check the parsed body of a 200 answer.

    Args:
        body: the JSON value.
        draft_orders: references (``Type/id``) of the call's draft orders; None leaves targets unchecked.
    """
    notes = Notes()
    if not isinstance(body, dict):
        notes.add("response-json", "$", "is no object")
        return tuple(notes.found)
    cards = body.get("cards")
    if not isinstance(cards, list):
        notes.add("cards-array", "$.cards", "is missing" if "cards" not in body else "is no array")
        cards = []
    check_empties(body, notes, allowed=("cards",))
    _check_extension(body, notes, "$")
    seen: set[str] = set()
    for number, card in enumerate(cards):
        if isinstance(card, dict):
            _check_card(card, notes, f"$.cards[{number}]", draft_orders, seen)
        else:
            notes.add("card-object", f"$.cards[{number}]", "is no object")
    _check_order(cards, notes)
    for path, action in notes.objects(body, "systemActions", "system-actions", "$"):
        _check_action(action, notes, path, draft_orders)
    return tuple(notes.found)


def check_empties(
    value: object, notes: Notes, *, allowed: Collection[str], where: str = "$"
) -> None:
    """Note every null, empty text, array or object, also inside resources; ``allowed`` names root arrays that may be empty."""
    members: list[tuple[str, str, object]] = []
    if isinstance(value, Mapping):
        members = [(f"{where}.{name}", name, one) for name, one in value.items()]
    elif isinstance(value, list):
        members = [(f"{where}[{number}]", "", one) for number, one in enumerate(value)]
    for path, name, one in members:
        if one is None or (isinstance(one, str | list | dict) and not one):
            if not (where == "$" and name in allowed and one == []):
                notes.add("no-empties", path, "is null" if one is None else "is empty")
        else:
            check_empties(one, notes, allowed=allowed, where=path)


def _check_card(
    card: dict[str, Any],
    notes: Notes,
    where: str,
    draft_orders: Collection[str] | None,
    seen: set[str],
) -> None:
    summary = notes.text(card, "summary", "card-summary", where)
    if summary is not None:
        length = len(summary.encode("utf-16-le", "surrogatepass")) // 2
        if length >= SUMMARY_LIMIT:
            notes.add("card-summary-length", f"{where}.summary", f"has {length} UTF-16 units")
        if "\n" in summary or "\r" in summary:
            notes.add("card-summary-line", f"{where}.summary", "holds a line break")
    if card.get("indicator") not in _INDICATORS:
        notes.add("card-indicator", f"{where}.indicator", f"is {_shown(card.get('indicator'))}")
    detail = notes.optional(card, "detail", str, "card-detail", where)
    if detail is not None and _HTML.search(_CODE.sub("", detail)):
        notes.add("card-detail-html", f"{where}.detail", "holds a tag")
    _check_source(card, notes, where)
    _check_uuid(card, notes, where, seen)
    _check_suggestions(card, notes, where, draft_orders, seen)
    for path, reason in notes.objects(card, "overrideReasons", "override-reasons", where):
        for name in ("code", "system", "display"):
            notes.text(reason, name, "override-reasons", path)
    _check_links(card, notes, where)
    _check_extension(card, notes, where)


def _check_source(card: dict[str, Any], notes: Notes, where: str) -> None:
    source = card.get("source")
    if not isinstance(source, dict):
        notes.add("card-source", f"{where}.source", "is missing or no object")
        return
    where = f"{where}.source"
    notes.text(source, "label", "card-source", where)
    for name in ("url", "icon"):
        address = notes.optional(source, name, str, "card-source-address", where)
        if address is not None and not _is_web_address(address):
            notes.add("card-source-address", f"{where}.{name}", "is not absolute")
    if "topic" not in source:
        notes.add("card-topic-absent", f"{where}.topic", "is missing")
        return
    topic = notes.optional(source, "topic", dict, "card-topic", where)
    if topic is not None:
        code = notes.text(topic, "code", "card-topic", f"{where}.topic")
        notes.text(topic, "system", "card-topic", f"{where}.topic")
        if code is not None and not _TOPIC.fullmatch(code):
            notes.add("card-topic-style", f"{where}.topic.code", "is not alphanumeric, or too long")


def _check_uuid(card: dict[str, Any], notes: Notes, where: str, seen: set[str]) -> None:
    if "uuid" not in card:
        notes.add("card-uuid-absent", f"{where}.uuid", "is missing")
        return
    value = card["uuid"]
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        notes.add("card-uuid", f"{where}.uuid", "is no UUID")
    elif value.lower() in seen:
        notes.add("card-uuid-twice", f"{where}.uuid", "stands twice in this answer")
    else:
        seen.add(value.lower())


def _check_suggestions(
    card: dict[str, Any],
    notes: Notes,
    where: str,
    draft_orders: Collection[str] | None,
    seen: set[str],
) -> None:
    behavior = card.get("selectionBehavior")
    suggestions = list(notes.objects(card, "suggestions", "card-type", where))
    if "suggestions" in card and behavior not in {"at-most-one", "any"}:
        notes.add("selection-behavior", f"{where}.selectionBehavior", f"is {_shown(behavior)}")
    if "suggestions" not in card and behavior is not None:
        notes.add(
            "selection-behavior-alone", f"{where}.selectionBehavior", "has no suggestions beside it"
        )
    recommended = 0
    for path, suggestion in suggestions:
        notes.text(suggestion, "label", "suggestion-label", path)
        if "uuid" in suggestion:
            _check_uuid(suggestion, notes, path, seen)
        else:
            notes.add("suggestion-uuid-absent", f"{path}.uuid", "is missing")
        recommended += notes.optional(suggestion, "isRecommended", bool, "card-type", path) is True
        if suggestion.get("actionSelectionBehavior", "all") not in {"all", "any", "at-most-one"}:
            notes.add("action-behavior", f"{path}.actionSelectionBehavior", "is unknown")
        elif "actionSelectionBehavior" in suggestion:
            notes.add("action-behavior-used", f"{path}.actionSelectionBehavior", "is there")
        _check_actions(suggestion, notes, path, draft_orders)
        _check_extension(suggestion, notes, path)
    if behavior == "at-most-one" and recommended > 1:
        notes.add("recommended-once", f"{where}.suggestions", f"{recommended} are recommended")


def _check_actions(
    suggestion: dict[str, Any], notes: Notes, where: str, draft_orders: Collection[str] | None
) -> None:
    actions = list(notes.objects(suggestion, "actions", "suggestion-actions", where))
    if "actions" in suggestion and not actions:
        notes.add("suggestion-actions", f"{where}.actions", "is empty")
    created = {
        action["resource"].get("resourceType")
        for _, action in actions
        if action.get("type") == "create" and isinstance(action.get("resource"), dict)
    }
    for path, action in actions:
        _check_action(action, notes, path, draft_orders)
        target = action.get("resourceId")
        deletes = action.get("type") == "delete" and isinstance(target, str)
        if deletes and str(target).partition("/")[0] not in created:
            notes.add("action-delete-alone", path, "creates nothing in its place")


def _check_action(
    action: dict[str, Any], notes: Notes, where: str, draft_orders: Collection[str] | None
) -> None:
    kind, resource, target = action.get("type"), action.get("resource"), action.get("resourceId")
    notes.text(action, "description", "action-description", where)
    _check_extension(action, notes, where)
    if kind not in {"create", "update", "delete"}:
        notes.add("action-type", f"{where}.type", f"is {_shown(kind)}")
        return
    if kind == "delete":
        if not isinstance(target, str) or not _REFERENCE.fullmatch(target):
            notes.add("action-delete", f"{where}.resourceId", "is missing or not Type/id")
            target = None
        if "resource" in action:
            notes.add("action-delete", f"{where}.resource", "stands beside a delete")
    elif not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
        notes.add("action-resource", f"{where}.resource", "is missing or no resource")
        return
    else:
        target = f"{resource['resourceType']}/{resource.get('id')}"
    if kind != "create" and target and draft_orders is not None and target not in draft_orders:
        notes.add("action-target", where, "aims at nothing in draftOrders")


def _check_links(card: dict[str, Any], notes: Notes, where: str) -> None:
    kinds = set()
    for path, link in notes.objects(card, "links", "link-shape", where):
        notes.text(link, "label", "link-shape", path)
        url, kind = notes.text(link, "url", "link-shape", path), link.get("type")
        if url is not None and not _is_web_address(url):
            notes.add("link-shape", f"{path}.url", "is no http(s) address with a host")
        if kind not in {"absolute", "smart"}:
            notes.add("link-shape", f"{path}.type", f"is {_shown(kind)}")
        if "appContext" in link and kind != "smart":
            notes.add(
                "link-context", f"{path}.appContext", "stands beside a link that is not smart"
            )
        notes.optional(link, "autolaunchable", bool, "card-type", path)
        kinds.add(kind)
    if kinds >= {"absolute", "smart"}:
        notes.add("link-mixed", f"{where}.links", "holds both kinds")


def _check_extension(owner: dict[str, Any], notes: Notes, where: str) -> None:
    for name in notes.optional(owner, "extension", dict, "extension-object", where) or ():
        if not re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9_-]+)+", name):
            notes.add("extension-name", f"{where}.extension", "holds a name that is not qualified")


def _check_order(cards: list[Any], notes: Notes) -> None:
    ranks = [
        _INDICATORS.index(card["indicator"])
        for card in cards
        if isinstance(card, dict) and card.get("indicator") in _INDICATORS
    ]
    if ranks != sorted(ranks):
        notes.add("card-order", "$.cards", "a more urgent card stands after a less urgent one")


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _shown(value: object) -> str:
    return "missing" if value is None else f"{str(value)[:40]!r}"
