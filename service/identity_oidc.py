"""Signing in through an OpenID provider: authorization code with PKCE S256, state and nonce (OpenID Connect Core 1.0).

Authlib's client talks to the provider and checks the identity token; what it should remember in between is handed
back, to be kept on the server. No token of the provider is kept, and none reaches a log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import httpx2
import msgspec
from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped]
from authlib.integrations.starlette_client import OAuth  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from starlette.requests import Request

from rules.errors import NotTrusted, Unavailable
from service.alerts.access import Role
from service.identity_providers import Provider, is_guarded

LEEWAY: Final = 60  # seconds between two clocks
_TIMEOUT: Final = 5.0  # seconds for each answer of the provider
_LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_LOGOUT_AGE: Final = timedelta(minutes=5)
_LONGEST_NAME: Final = 64
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")

logging.getLogger("authlib").setLevel(logging.WARNING)  # at debug it writes the PKCE verifier down


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the provider recognised: ``subject`` is theirs for ever, ``name`` is what people call them."""

    subject: str
    name: str
    role: Role
    session: str = ""
    acr: str = ""
    amr: str = ""


class Departure(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the provider signed out: a session of theirs, or everything of a subject, that began before ``at``."""

    subject: str = ""
    session: str = ""
    at: datetime


class OpenIdClient:
    """Talks to one provider."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._app = OAuth().register(
            provider.id,
            client_id=provider.client_id,
            client_secret=provider.secret,
            server_metadata_url=provider.issuer.rstrip("/") + "/.well-known/openid-configuration",
            client_kwargs={
                "scope": " ".join(("openid", *provider.scopes)),
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": "client_secret_basic" if provider.secret else "none",
                "timeout": _TIMEOUT,
                "trust_env": False,
                "follow_redirects": False,
            },
        )

    async def start(self) -> tuple[str, bytes]:
        """Where to send the browser, and what to remember until it comes back.

        Raises:
            Unavailable: the provider does not answer.
            NotTrusted: it says that it is another one.
        """
        request, more = _request({}, {}), {}
        if self.provider.acr_values:
            more["acr_values"] = " ".join(self.provider.acr_values)
        if self.provider.max_age_minutes is not None:
            more["max_age"] = str(self.provider.max_age_minutes * 60)
        try:
            await self._learn()
            answer = await self._app.authorize_redirect(request, self.provider.redirect_uri, **more)
        except (httpx2.HTTPError, AuthlibBaseError, ValueError) as error:
            raise Unavailable(
                f"the OpenID provider does not answer ({type(error).__name__})"
            ) from None
        return answer.headers["location"], msgspec.json.encode(request.session)

    async def finish(self, query: Mapping[str, str], remembered: bytes, now: datetime) -> Person:
        """Who came back.

        Args:
            query: of the address that the provider sent the browser to.
            remembered: what ``start`` gave.
            now: of the visit.

        Raises:
            Unavailable: the provider does not answer.
            NotTrusted: any part of its answer is not right (401), or no role of ours follows from it (403).
        """
        if query.get("iss", self.provider.issuer) != self.provider.issuer:  # RFC 9207
            raise NotTrusted("oidc: an answer of another issuer")
        request = _request(query, msgspec.json.decode(remembered))
        wanted = {
            "iss": {"essential": True, "value": self.provider.issuer},
            "aud": {"essential": True, "value": self.provider.client_id},
            "sub": {"essential": True},
        }
        try:
            await self._learn()
            token = await self._app.authorize_access_token(
                request, claims_options=wanted, leeway=LEEWAY
            )
        except (httpx2.TransportError, httpx2.HTTPStatusError) as error:
            raise Unavailable(
                f"the OpenID provider does not answer ({type(error).__name__})"
            ) from None
        except (
            AuthlibBaseError,
            JoseError,
            httpx2.HTTPError,
            ValueError,
            KeyError,
            TypeError,
        ) as error:
            # The words of these errors come from the provider's answer: the type alone is written down
            raise NotTrusted(f"oidc: {type(error).__name__}") from None
        claims = token.get("userinfo")
        if not claims:
            raise NotTrusted("oidc: no identity token")
        if not self._is_for_us_alone(claims):
            raise NotTrusted("oidc: an identity token for others too")
        self._refuse_weak(claims, now)
        return self._person(claims)

    async def departure(self, token: str, now: datetime) -> Departure:
        """Whom a log-out token signs out (OpenID Connect Back-Channel Logout 1.0, 2.6).

        Raises:
            Unavailable: the provider's keys cannot be had.
            NotTrusted: the token is not one, is not meant for us, or is too old (400).
        """
        try:
            await self._learn()
            keys = KeySet.import_key_set(await self._app.fetch_jwk_set())
            read = jwt.decode(token, keys, algorithms=list(self.provider.algorithms))
        except httpx2.HTTPError as error:
            raise Unavailable(
                f"the OpenID provider does not answer ({type(error).__name__})"
            ) from None
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise NotTrusted(f"oidc log-out: {type(error).__name__}", status=400) from None
        claims = read.claims
        at = _instant(claims.get("iat"))
        events = claims.get("events")
        fits = (
            claims.get("iss") == self.provider.issuer
            and self._is_for_us_alone(claims)
            and at is not None
            and abs(now - at) <= _LOGOUT_AGE
            and isinstance(events, dict)
            and _LOGOUT_EVENT in events
            and "nonce" not in claims
            and bool(claims.get("sub") or claims.get("sid"))
        )
        if not fits or at is None:
            raise NotTrusted("oidc log-out: not a log-out token for us", status=400)
        return Departure(
            subject=str(claims.get("sub", "")), session=str(claims.get("sid", "")), at=at
        )

    async def _learn(self) -> None:
        """Read the provider's metadata once, and believe only what fits its entry in our file."""
        known = await self._app.load_server_metadata()
        if known.get("issuer") != self.provider.issuer or not all(
            isinstance(known.get(name), str) and is_guarded(known[name]) for name in _ENDPOINTS
        ):
            self._app.server_metadata.clear()
            raise NotTrusted("oidc: the metadata belong to another issuer, or name an open address")
        known["id_token_signing_alg_values_supported"] = list(self.provider.algorithms)

    def _is_for_us_alone(self, claims: Mapping[str, Any]) -> bool:
        """Whether nobody else is meant: any other audience could show us a token that it was given for itself.

        OpenID Connect Core 3.1.3.7 (3) leaves it to each client whom it trusts beside itself: we trust nobody.
        """
        return claims.get("aud") in (self.provider.client_id, [self.provider.client_id])

    def _refuse_weak(self, claims: Mapping[str, Any], now: datetime) -> None:
        """Refuse a log-in that was weaker or is older than the site demands; what is not said counts as not done."""
        wanted = self.provider
        methods = set(_texts(claims.get("amr")))
        if (wanted.acr_values and claims.get("acr") not in wanted.acr_values) or (
            wanted.amr_values and methods.isdisjoint(wanted.amr_values)
        ):
            raise NotTrusted("oidc: a weaker log-in than was asked for", status=403)
        if wanted.max_age_minutes is not None:
            at = _instant(claims.get("auth_time"))
            oldest = now - timedelta(minutes=wanted.max_age_minutes, seconds=LEEWAY)
            if at is None or not oldest <= at <= now + timedelta(seconds=LEEWAY):
                raise NotTrusted("oidc: an older log-in than was asked for", status=403)

    def _person(self, claims: Mapping[str, Any]) -> Person:
        given = claims.get(self.provider.role_claim)
        held = {given} if isinstance(given, str) else set(_texts(given))
        role = next((role for name, role in self.provider.roles.items() if name in held), None)
        if role is None:
            raise NotTrusted("oidc: no role follows from the claim", status=403)
        return Person(
            subject=str(claims["sub"]),
            name=_name(claims.get(self.provider.name_claim)),
            role=role,
            session=str(claims.get("sid", "")),
            acr=str(claims.get("acr", "")),
            amr=" ".join(_texts(claims.get("amr"))),
        )


def _request(query: Mapping[str, str], session: dict[str, Any]) -> Request:
    """What Authlib reads of a request: its query, and a session that nobody else sees."""
    return Request(
        {
            "type": "http", "method": "GET", "path": "/", "headers": [], "session": session,
            "query_string": urlencode(query).encode(),
        }
    )  # fmt: skip


def _name(given: Any) -> str:
    """A name as it may stand in lists and in the audit trail; empty when there is none."""
    if not isinstance(given, str) or not given.isprintable() or "/" in given:
        return ""
    return given.strip() if len(given.strip()) <= _LONGEST_NAME else ""


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _instant(value: Any) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        return None
