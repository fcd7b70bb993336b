"""The wire: what a CDS Hooks 2.0 response is made of, and how nothing empty ever goes out."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Coding(TypedDict):
    """A code with its system; CDS Hooks wants ``display`` for override reasons (cds-resp-4)."""

    code: str
    system: str
    display: NotRequired[str]


class Source(TypedDict):
    """Whose guidance a card is; ``topic`` names the rule, the same for every call."""

    label: str
    url: NotRequired[str]
    topic: NotRequired[Coding]


class Action(TypedDict):
    """One change proposed to the user: a FHIR draft to create, or a draft order to delete."""

    type: Literal["create", "update", "delete"]
    description: str
    resource: NotRequired[Any]
    resourceId: NotRequired[str]


class Suggestion(TypedDict):
    """One choice of a card."""

    label: str
    uuid: str
    actions: NotRequired[list[Action]]


class Link(TypedDict):
    """An address for further reading."""

    label: str
    url: str
    type: Literal["absolute", "smart"]


class Card(TypedDict):
    """One card; ``summary`` is shorter than 140 characters."""

    uuid: str
    summary: str
    indicator: Literal["info", "warning", "critical"]
    source: Source
    detail: NotRequired[str]
    suggestions: NotRequired[list[Suggestion]]
    selectionBehavior: NotRequired[Literal["at-most-one", "any"]]
    overrideReasons: NotRequired[list[Coding]]
    links: NotRequired[list[Link]]


class Response(TypedDict):
    """The answer to a hook; ``cards`` is there even when it is empty."""

    cards: list[Card]
    extension: dict[str, Any]


class Service(TypedDict):
    """One entry of discovery."""

    hook: str
    id: str
    title: str
    description: str
    prefetch: dict[str, str]
    usageRequirements: str
