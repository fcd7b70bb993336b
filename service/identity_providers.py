"""The file that names the OpenID providers of a site: whom they sign in for which client, with which role."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from rules.errors import DekacardError, KnowledgeError
from rules.yaml_files import read_yaml
from service.alerts.access import Role
from service.cds_hooks.loopback import is_loopback

# Signatures with a private key only: 'none' and shared secrets are no proof of who signed (RFC 8725 3.1)
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "ES256", "ES384"]
_Words = Annotated[str, Field(min_length=1, max_length=200)]


class ProvidersRefused(DekacardError):
    """The file of providers cannot be used; the message names the member, never a secret."""


class Provider(BaseModel):
    """One OpenID provider. The first of ``roles`` that the claim names counts; with none of them nobody gets in.

    ``acr_values`` are asked for, and one of them is demanded; so is one of ``amr_values``. Without either nothing is
    known of a log-in there but that it took place, and who must have a second factor needs it here, unless the site
    vouches for the provider (``second_factor``). ``max_age_minutes`` is how old a log-in there may be.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    title: _Words
    client: _Words
    issuer: _Words
    client_id: _Words
    client_secret_file: Path | None = None
    redirect_uri: _Words
    scopes: tuple[_Words, ...] = ("profile",)
    name_claim: _Words = "preferred_username"
    role_claim: _Words
    roles: Annotated[dict[_Words, Role], Field(min_length=1)]
    acr_values: tuple[_Words, ...] = ()
    amr_values: tuple[_Words, ...] = ()
    max_age_minutes: Annotated[int, Field(ge=1, le=24 * 60)] | None = None
    second_factor: Literal["here", "provider"] = "here"
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256")

    @field_validator("issuer", "redirect_uri")
    @classmethod
    def _is_guarded(cls, value: str) -> str:
        if not is_guarded(value):
            raise ValueError("must be https (http only on this machine), without query or fragment")
        return value

    @property
    def is_enough(self) -> bool:
        """Whether whoever comes from there needs no second factor here."""
        return bool(self.acr_values or self.amr_values) or self.second_factor == "provider"

    @property
    def secret(self) -> str | None:
        """The client's secret; None for a public client, which PKCE protects alone.

        Raises:
            ProvidersRefused: the file cannot be read.
        """
        if self.client_secret_file is None:
            return None
        try:
            return self.client_secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ProvidersRefused(
                f"provider {self.id}: client_secret_file cannot be read ({type(error).__name__})."
            ) from None


def is_guarded(url: str) -> bool:
    """Whether an address is https, or http on this machine; without what could change its meaning."""
    parts = urlsplit(url)
    if parts.query or parts.fragment or parts.username is not None or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))


def read_providers(file: Path) -> tuple[Provider, ...]:
    """The providers in ``file``.

    Raises:
        ProvidersRefused: unreadable, unknown or missing members, an id twice, an address that is not https.
    """
    try:
        providers = TypeAdapter(tuple[Provider, ...]).validate_python(read_yaml(file))
    except (KnowledgeError, OSError, UnicodeDecodeError) as error:
        raise ProvidersRefused(f"{file}: {error}") from None
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(str(step) for step in one['loc']) or 'the file'}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        )
        raise ProvidersRefused(f"{file}: {told}.") from None
    ids = [one.id for one in providers]
    if len(set(ids)) != len(ids):
        raise ProvidersRefused(f"{file}: two providers have one id.")
    for one in providers:
        if urlsplit(one.redirect_uri).path != f"/oidc/{one.id}/back":
            raise ProvidersRefused(
                f"{file}: provider {one.id}: redirect_uri must end in /oidc/{one.id}/back."
            )
        _ = one.secret  # a secret that cannot be read stops the start, not the first sign-in
    return providers
