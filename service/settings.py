"""Everything an operator can set, in one frozen object read from ``DEKACARD_*``; unknown names are refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from rules.errors import DekacardError

PREFIX = "DEKACARD_"


KeptDays = Annotated[int, Field(ge=30, le=36_525)]
ClockTime = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Role = Literal["reader", "pharmacist", "lead", "auditor", "admin"]


class SettingsRefused(DekacardError):
    """A setting is unknown or has an impossible value; the message names it."""


class Settings(BaseSettings):
    """What ``dekacard`` runs with. Each field is the environment variable of that name after ``DEKACARD_``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    packs: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        default=None,
        description="Packs in force, by id, comma-separated; unset means every bundled pack.",
    )
    pack_dirs: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="Folders with further packs, comma-separated."
    )
    code_maps: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Files with the hospital's own codes (FHIR ConceptMap, JSON), comma-separated.",
    )
    engine: Literal["durable", "compiled"] = Field(
        default="durable",
        description="Who matches: durable_rules, or Python generated from the same rules.",
    )
    validation: Literal["off", "suspicious", "all"] = Field(
        default="suspicious",
        description="How much input fhir.resources looks at, to explain what was unreadable.",
    )
    profile: str = Field(
        default="nam-2011", description="Band profile for vitamin D where the client states none."
    )
    verbosity: Literal["standard", "education"] = Field(
        default="standard",
        description="Whether teaching cards are given where the client states nothing.",
    )
    zone: str = Field(
        default="UTC", description="Time zone of calendar days outside client profiles."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8080, description="Port to listen on."
    )
    workers: Annotated[int, Field(ge=1, le=64)] = Field(default=1, description="Server processes.")
    clients: Path | None = Field(
        default=None, description="Folder of client profiles (one YAML file each)."
    )
    jti_store: str = Field(
        default="sqlite:///dekacard-jti.sqlite",
        description="Store of tokens already used (SQLite or PostgreSQL).",
    )
    discovery_needs_token: bool = Field(
        default=False,
        description="Whether GET /cds-services wants a token as well; most clients send none there.",
    )
    dev: bool = Field(
        default=False, description="Serve without client profiles, on a loopback address only."
    )
    deadline_ms: Annotated[int, Field(ge=50, le=2000)] = Field(
        default=500,
        description="Deadline of a call where the client profile states none, in milliseconds.",
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=4 * 1024 * 1024, description="Largest body that is read."
    )
    max_open_calls: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=128,
        description="Calls that may wait in one worker; more are told to come again (503, Retry-After).",
    )
    max_cards: Annotated[int, Field(ge=1, le=10)] = Field(
        default=3, description="Cards shown in full; critical ones are never folded."
    )
    store_url: str = Field(
        default="",
        description="Database of the record (SQLite file or PostgreSQL); empty: no record is kept.",
    )
    spool_dir: Path = Field(
        default=Path("dekacard-spool"), description="Folder of the durable spool."
    )
    keyring: Path = Field(
        default=Path("dekacard-keys.json"),
        description="File with the keys that protect the record.",
    )
    receivers: Path | None = Field(
        default=None,
        description="File (YAML) of the receivers of unclaimed critical alerts; unset: nobody is told.",
    )
    oidc: Path | None = Field(
        default=None,
        description="File (YAML) of the OpenID providers that sign people in; unset: local accounts only.",
    )
    second_factor: Annotated[tuple[Role, ...], NoDecode] = Field(
        default=("lead", "auditor", "admin"),
        description="Roles whose local accounts must have a second factor, comma-separated.",
    )
    password_words: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Words that everybody at the site knows (its names, its departments), comma-separated; of "
        "little worth in a password.",
    )
    session_idle_minutes: Annotated[int, Field(ge=1, le=120)] = Field(
        default=15, description="Minutes without use after which somebody signs in again."
    )
    session_hours: Annotated[int, Field(ge=1, le=24)] = Field(
        default=12, description="Hours after which somebody signs in again in any case."
    )
    setup_file: Path = Field(
        default=Path("dekacard-setup-token"),
        description="File that gets the one-time set-up token where the service has no terminal.",
    )
    second_person: bool = Field(
        default=True, description="Whether a second person must approve a change of a rule's mode."
    )
    runs_dir: Path = Field(
        default=Path("dekacard-runs"),
        description="Folder for batch runs that are started on the dashboard; what is uploaded is written there alone, so it "
        "needs twice the room of the largest upload.",
    )
    runs_root: Path | None = Field(
        default=None,
        description="Folder below which such runs may read files of the server; unset: uploads only.",
    )
    upload_mb: Annotated[int, Field(ge=1, le=65_536)] = Field(
        default=512, description="Largest file that may be uploaded for a batch run, in MB."
    )
    silence_days: Annotated[int, Field(ge=1, le=366)] = Field(
        default=90, description="Longest time for which alerts may be silenced, in days."
    )
    silence_critical_days: Annotated[int, Field(ge=1, le=366)] = Field(
        default=7,
        description="Longest time for which critical alerts may be silenced, in days; a second person approves.",
    )
    silence_approval: Literal["critical", "wide", "always"] = Field(
        default="critical",
        description="Which silences a second person approves: those of critical alerts, also all that are not for a single patient, or every one.",
    )
    ask_encounter: bool = Field(
        default=False,
        description="Whether discovery asks for the encounter of a call, so that silences can be confined to care units.",
    )
    shift_starts: Annotated[tuple[ClockTime, ...], NoDecode] = Field(
        default=("07:00", "15:00", "23:00"),
        description="When shifts begin, comma-separated, in the zone of DEKACARD_ZONE.",
    )
    quiet_days: Annotated[int, Field(ge=0, le=366)] = Field(
        default=90, description="Days for which a closed alert stays closed on the same evidence."
    )
    draft_days: Annotated[int, Field(ge=1, le=90)] = Field(
        default=7,
        description="Days after which the alert about a signed order closes if it was never seen active.",
    )
    snooze_critical_hours: Annotated[int, Field(ge=1, le=24)] = Field(
        default=24, description="Longest time for which a critical alert may be put off, in hours."
    )
    snooze_warning_days: Annotated[int, Field(ge=1, le=366)] = Field(
        default=14, description="Longest time for which a warning may be put off, in days."
    )
    snooze_info_days: Annotated[int, Field(ge=1, le=366)] = Field(
        default=90, description="Longest time for which an information may be put off, in days."
    )
    keep_evidence_days: KeptDays = Field(
        default=396, description="Days for which facts and answers are kept for replay."
    )
    keep_cards_days: KeptDays = Field(
        default=396, description="Days for which issued cards are kept."
    )
    keep_answers_days: KeptDays = Field(
        default=730, description="Days for which answers to cards are kept."
    )
    keep_alerts_days: KeptDays = Field(
        default=2192,
        description="Days for which closed alerts, evaluations, feedback and runs are kept.",
    )
    keep_audit_days: KeptDays = Field(
        default=2192, description="Days for which audit lines are kept."
    )
    keep_rejects_days: KeptDays = Field(
        default=396, description="Days for which lines that could not be understood are kept."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe event that is logged."
    )

    @field_validator(
        "packs",
        "pack_dirs",
        "code_maps",
        "second_factor",
        "password_words",
        "shift_starts",
        mode="before",
    )
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None, **given: Any) -> Self:
        """The settings of the environment, overruled by ``given`` where that is not ``None``.

        Raises:
            SettingsRefused: a ``DEKACARD_*`` name is unknown, or a value is impossible.
        """
        names = os.environ if environment is None else environment
        unknown = [
            name
            for name in sorted(names)
            if name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() not in cls.model_fields
        ]
        if unknown:
            raise SettingsRefused(
                f"{', '.join(unknown)}: no such setting. Known: "
                + ", ".join(f"{PREFIX}{name.upper()}" for name in sorted(cls.model_fields))
            )
        chosen = {name: value for name, value in given.items() if value is not None}
        try:
            return cls(**chosen)
        except ValidationError as error:
            told = "; ".join(
                f"{PREFIX}{'.'.join(str(step) for step in one['loc']).upper()}: {one['msg']}"
                for one in error.errors(include_input=False, include_url=False)
            )
            raise SettingsRefused(told) from None
