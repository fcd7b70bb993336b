"""Strict models of what packs say: numbers, words, sources. Everything dated, everything cited or reasoned.

A model refuses unknown keys, so that a misspelt one can never be silently ignored. "In force on a day"
means: the newest dated value that is not later than that day.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rules.facts import ParameterUse

Basis = Literal["consensus", "project-policy", "label", "standard", "arithmetic"]
Certainty = Literal["high", "moderate", "low", "very-low", "label"]
FieldKind = Literal["text", "name", "integer", "number", "boolean", "day"]

TOPIC_CODE = re.compile(r"[A-Z0-9]{4,40}")
FIELD_TYPE = re.compile(r"(text|name|integer|number|boolean|day)(\?)?")
PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*)(?:\.([a-z_][a-z0-9_]*))?\}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PackHead(_Strict):
    """``pack.toml``: who answers for the pack, and what it builds on."""

    id: Annotated[str, Field(pattern=r"[a-z0-9][a-z0-9_-]*")]
    title: str
    version: str
    requires: tuple[str, ...] = ()
    owner: str
    status: Literal["draft", "reviewed", "retired"]
    topic: str = ""
    approver: str | None = None
    retires: dict[str, str] = {}
    overrides: dict[str, str] = {}


class ParameterValue(_Strict):
    """One dated value with the word it rests on: a citation, or a basis with its rationale."""

    value: Any
    cite: str | None = None
    basis: Basis | None = None
    rationale: str = ""
    says: str = ""
    limits: str = ""
    reviewed: str | None = None

    @model_validator(mode="after")
    def _rests_on_something(self) -> ParameterValue:
        if self.cite is None and self.basis is None:
            raise ValueError("needs 'cite', or 'basis' with a 'rationale'")
        if self.basis is not None and not self.rationale:
            raise ValueError("a 'basis' needs a 'rationale'")
        return self


class Parameter(_Strict):
    """A number (or table) of the knowledge; per profile when the band profile decides it."""

    title: str
    unit: str = ""
    values: dict[date, ParameterValue] = {}
    profiles: dict[str, dict[date, ParameterValue]] = {}
    review_due: date | None = None

    @model_validator(mode="after")
    def _has_values(self) -> Parameter:
        if bool(self.values) == bool(self.profiles):
            raise ValueError("needs either 'values' or 'profiles'")
        return self

    def in_force(self, name: str, day: date, profile: str) -> ParameterUse | None:
        """The value on ``day``; ``None`` when there is none yet, or it has been ended by ``value: null``."""
        dated = self.profiles.get(profile, {}) if self.profiles else self.values
        since = max((start for start in dated if start <= day), default=None)
        if since is None or dated[since].value is None:
            return None
        held = dated[since]
        return ParameterUse(
            name=name, title=self.title, value=held.value, unit=self.unit, since=since,
            cite=held.cite, basis=held.basis or "", says=held.says or held.rationale,
        )  # fmt: skip


class FindingModel(_Strict):
    """``findings.yaml``: what a finding is called, which fields it has, and the sentence that says it."""

    title: str
    says: str
    fields: dict[str, str] = {}
    units: dict[str, str] = {}
    absent: dict[str, str] = {}
    # number field -> text field with its "<" or ">", printed before it
    comparators: dict[str, str] = {}

    @model_validator(mode="after")
    def _comparators_are_fields(self) -> Self:
        for field, sign in self.comparators.items():
            if field not in self.fields or not self.fields.get(sign, "").startswith("text"):
                raise ValueError(f"comparators: {field!r} or {sign!r} is no such field")
        return self

    @field_validator("fields")
    @classmethod
    def _known_types(cls, fields: dict[str, str]) -> dict[str, str]:
        for field, kind in fields.items():
            if not FIELD_TYPE.fullmatch(kind):
                raise ValueError(f"field {field!r}: {kind!r} is no type")
            if field in {"name", "about", "values", "because", "parameters", "missing", "source"}:
                raise ValueError(f"field {field!r} has a name of the finding itself")
        return fields


class IndicatorChoice(_Strict):
    """One line of ``indicator``: the urgency, and the finding under which it holds."""

    is_: Literal["info", "warning", "critical"] = Field(alias="is")
    when: str | None = None


class SuggestionChoice(_Strict):
    """One line of ``suggests``: an action, and the finding under which it is offered."""

    action: str
    when: str | None = None


class Yield(_Strict):
    """One line of ``yields_to``: the rule that speaks instead, if it fired (about the same subject)."""

    rule: str
    when: str | None = None
    same_subject: bool = True


class Interaction(_Strict):
    """The minimal information model of an interaction (HL7 PDDI-CDS): ten questions, each answered."""

    drugs: str
    consequences: str
    seriousness: str
    severity: str
    mechanism: str
    action: str
    modifiers: str
    exposure_frequency: str
    harm_frequency: str
    evidence: str


class CardModel(_Strict):
    """``cards.yaml``: the words and the governance of one rule."""

    topic_code: str
    title: str
    version: str
    intent: str
    indicator: tuple[IndicatorChoice, ...]
    certainty: Certainty
    cites: tuple[str, ...] = ()
    summary: str
    why: str
    options: tuple[str, ...] = ()
    limits: str
    population: str
    missing_data: str
    suggests: tuple[SuggestionChoice, ...] = ()
    override_reasons: tuple[str, ...] = ()
    yields_to: tuple[Yield, ...] = ()
    hooks: tuple[str, ...] = ()
    education: bool = False
    changes_with: tuple[str, ...] = ()
    repeat_after: str | None = None
    interaction: Interaction | None = None
    not_implemented: tuple[str, ...] = ()
    reviewed: str | None = None
    review_due: date
    changes: dict[date, str] = {}

    @field_validator("topic_code")
    @classmethod
    def _plain_topic(cls, code: str) -> str:
        if not TOPIC_CODE.fullmatch(code):
            raise ValueError("topic_code is 4 to 40 capital letters and digits")
        return code

    @model_validator(mode="after")
    def _one_default(self) -> CardModel:
        if not self.indicator or self.indicator[-1].when is not None:
            raise ValueError("the last line of 'indicator' must hold without 'when'")
        if any(choice.when is None for choice in self.indicator[:-1]):
            raise ValueError("only the last line of 'indicator' may stand without 'when'")
        return self


class ActionModel(_Strict):
    """``actions.yaml``: what a suggestion would do; further keys belong to its kind."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: Literal["order-test", "prescribe", "delete-draft", "replace-draft", "task", "link"]
    label: str
    description: str
    group: str = ""


class OverrideReasonModel(_Strict):
    """``override_reasons.yaml``: a coded reason to decline."""

    display: str
    system: str


class CitationModel(_Strict):
    """``citations.yaml``: a source; ``verified`` when the source itself was seen for this project."""

    authors: str = ""
    title: str
    year: int | None = None
    journal: str = ""
    doi: str | None = None
    pmid: str | None = None
    url: str | None = None
    verified: bool
    note: str = ""

    @property
    def address(self) -> str:
        """Where to read it: the DOI first, then PubMed, then a plain address."""
        if self.doi:
            return f"https://doi.org/{self.doi}"
        if self.pmid:
            return f"https://pubmed.ncbi.nlm.nih.gov/{self.pmid}/"
        return self.url or ""

    @property
    def label(self) -> str:
        """Authors, title, journal and year in one line."""
        year = str(self.year or "")
        if year and year in (self.journal or ""):
            year = ""
        parts = [part for part in (self.authors, self.title, self.journal, year) if part]
        return ". ".join(part.rstrip(".") for part in parts)
