"""What we know of one EHR client: whom to believe, where its FHIR server is, what its cards may hold.

Nothing here has a silent default that could turn a rule on: ``rules`` must be stated (mode and drafts).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic import field_validator as checks

from fhir_adapter.server_address import AddressRefused, check_configured_base, lies_within
from rules.errors import DekacardError

PrefetchKey = Literal[
    "patient", "medicationStatements", "medicationRequests", "vitaminD", "inr", "minerals", "kidney",
    "conditions", "procedures", "goals", "serviceRequests", "nutrition",
]  # fmt: skip
Hook = Literal[
    "patient-view", "order-select", "order-sign", "encounter-discharge", "medication-refill"
]
Mode = Literal["off", "shadow", "review", "live"]
# Asymmetric only: CDS Hooks 2.0 recommends ES384 and RS384; "none" and HMAC are not on offer.
Algorithm = Literal["ES384", "RS384", "ES256", "RS256", "PS384", "ES512"]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2_000, strip_whitespace=True)]

LONGEST_LIFE = 3_600  # seconds; nobody needs a caller's token for longer than an hour


class ProfileRefused(DekacardError):
    """A client profile cannot be used; the message names the file, the field and what to do."""

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(
            " ".join(part for part in (f"{where}:" if where else "", what, remedy) if part)
        )


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class SecretSource(_Part):
    """Where a secret or a key set lies: a file (relative to the profile) or an environment variable."""

    file: Path | None = None
    env: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.file is None) == (self.env is None):
            raise ValueError("state exactly one of 'file' and 'env'")
        return self

    def read(self, folder: Path) -> bytes:
        """The content; never empty.

        Raises:
            ProfileRefused: file or variable is missing or empty.
        """
        if self.env is not None:
            content, place = (
                os.environ.get(self.env, "").encode(),
                f"the environment variable {self.env}",
            )
        else:
            path = folder / (self.file or Path())
            place = f"the file {self.file}"
            try:
                content = path.read_bytes()
            except OSError as error:
                raise ProfileRefused(f"{place} cannot be read: {error.strerror}.") from None
        if not content.strip():
            raise ProfileRefused(f"{place} is empty or not set.")
        return content


class Trust(_Part):
    """Whose tokens to believe (CDS Hooks 2.0, "Trusting CDS Clients").

    ``max_life`` and ``leeway`` are seconds. ``audience_base`` is our public base URL as this client knows it;
    ``extra_audiences`` are further exact values, for clients whose ``aud`` is typed in by hand.
    """

    issuers: Annotated[tuple[Text, ...], Field(min_length=1)]
    tenants: tuple[Text, ...] = ()
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("ES384", "RS384")
    jku: str | None = None
    jwks: dict[str, Any] | None = None
    jwks_from: SecretSource | None = None
    audience_base: str
    extra_audiences: tuple[Text, ...] = ()
    max_life: Annotated[int, Field(ge=30, le=LONGEST_LIFE)] = 300
    leeway: Annotated[int, Field(ge=0, le=120)] = 60

    @checks("jku")
    @classmethod
    def _jku_is_https(cls, value: str | None) -> str | None:
        return None if value is None else _checked(value)

    @checks("audience_base")
    @classmethod
    def _base_without_slash(cls, value: str) -> str:
        return _checked(value).rstrip("/")

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Self:
        if sum(source is not None for source in (self.jku, self.jwks, self.jwks_from)) != 1:
            raise ValueError("state exactly one of 'jku', 'jwks' and 'jwks_from'")
        return self


class FhirServer(_Part):
    """The client's FHIR server. Without ``fetch`` only prefetch is read. A token goes to ``bases`` only."""

    version: Literal["R4", "R4B", "R5", "STU3", "DSTU2"] = "R4"
    bases: tuple[str, ...] = ()
    fetch: bool = True

    @checks("bases")
    @classmethod
    def _bases_are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked(base) for base in value)


class Prefetch(_Part):
    """Names under which this client sends one of our keys, and the query its administrator typed in."""

    sent_as: tuple[Text, ...] = ()
    query: Text | None = None


class CardStyle(_Part):
    """What this client can show and do.

    Without ``updates`` no change to a draft is suggested. ``links`` lists allowed beginnings (origin and path);
    empty allows none.
    """

    selection_behavior: Literal["at-most-one", "any"] = "any"
    one_action_per_suggestion: bool = False
    topic_code: Literal["alphanumeric", "rule-id"] = "alphanumeric"
    delete: Literal["resourceId", "resource"] = "resourceId"
    suggestions: bool = True
    updates: bool = True
    links: tuple[str, ...] = ()

    @checks("links")
    @classmethod
    def _links_are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked(link) for link in value)

    def allows_link(self, url: str) -> bool:
        """Whether a card for this client may link to ``url``: same origin, path at or below a listed one."""
        return any(lies_within(url, base) for base in self.links)


class RuleModes(_Part):
    """How far rules reach this client's users. Neither ``mode`` nor ``accept_draft`` has a default."""

    mode: Mode
    accept_draft: bool
    each: dict[Text, Mode] = Field(default_factory=dict)

    def of(self, rule: str) -> Mode:
        """The mode of one rule."""
        return self.each.get(rule, self.mode)


class ClientProfile(_Part):
    """One EHR client. ``deadline_ms`` bounds a whole call, ``calls_per_minute`` holds for each worker.

    ``units`` says in which family clinicians read 25(OH)D and calcium; thresholds are then told in it first, and
    results that were reported in the other one are translated beside it.
    ``code_maps`` are files (FHIR ConceptMap, JSON; relative to the profile) with this client's own codes; they hold
    for this client alone. With ``drop_repeats_between_select_and_sign`` a card that order-select has just shown the same user about the
    same unchanged draft is not shown again at order-sign.
    """

    id: Slug
    title: Text
    trust: Trust | None = None
    rules: RuleModes
    origins: tuple[str, ...] = ()
    fhir: FhirServer = FhirServer()
    hooks: tuple[Hook, ...] = ()
    prefetch: dict[PrefetchKey, Prefetch] = Field(default_factory=dict)
    code_maps: tuple[Path, ...] = ()
    cards: CardStyle = CardStyle()
    zone: str = "UTC"
    deadline_ms: Annotated[int, Field(ge=50, le=2_000)] = 500
    calls_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 6_000
    units: Literal["as-reported", "mass", "molar"] = "as-reported"
    profile: Text | None = None
    verbosity: Literal["standard", "education"] = "standard"
    drop_repeats_between_select_and_sign: bool = False

    @checks("zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{value!r} is no time zone, write one like 'Europe/Vienna'") from None
        return value

    @checks("origins")
    @classmethod
    def _origins_are_bare(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            scheme, _, rest = _checked(origin).partition("://")
            if "/" in rest or origin != f"{scheme}://{rest}".lower():
                raise ValueError(
                    f"{origin!r} is no origin, write it like 'https://ehr.example.org'"
                )
        return value

    @model_validator(mode="after")
    def _one_name_one_key(self) -> Self:
        owners: dict[str, str] = {}
        for key, entry in self.prefetch.items():
            for name in entry.sent_as:
                if owners.setdefault(name, key) != key:
                    raise ValueError(
                        f"prefetch name {name!r} stands for {owners[name]!r} and {key!r}"
                    )
        return self

    @property
    def tz(self) -> ZoneInfo:
        """The zone in which this client's calendar days are counted."""
        return ZoneInfo(self.zone)

    def key_of(self, sent: str) -> str:
        """Our name of a prefetch key as this client sends it; an unknown one is returned as it is."""
        for ours, entry in self.prefetch.items():
            if sent in entry.sent_as:
                return ours
        return sent

    def audiences(self, paths: Iterable[str]) -> frozenset[str]:
        """The exact ``aud`` values accepted for endpoint ``paths`` (``/cds-services/...``)."""
        if self.trust is None:
            return frozenset()
        own = {f"{self.trust.audience_base}{path}" for path in paths}
        return frozenset(own | set(self.trust.extra_audiences))


def _checked(address: str) -> str:
    try:
        return check_configured_base(address)
    except AddressRefused as error:
        raise ValueError(str(error)) from None
