"""Who calls: the JWT of a CDS client, verified in a fixed order, with a precise reason for the log alone.

Order (CDS Hooks 2.0.1 "Trusting CDS Clients" and its best-practice page): size, header, issuer, algorithm, jku,
key, signature, audience, times, tenant, and last the one-time ``jti``, so that only a token that is good in every
other way uses it up. Whoever is refused gets a bare 401 and learns nothing.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry, deserialize_compact

from rules.errors import NotTrusted
from service.cds_hooks.client_profile import ClientProfile, ProfileRefused, Trust
from service.cds_hooks.clients import Client, ClientRegistry
from service.cds_hooks.jwks import KeyCache, KeysRefused
from service.cds_hooks.replay import JtiStore

LONGEST_TOKEN = 16 * 1024  # characters
LONGEST_JTI = 512
LATEST_TIME = 10**11  # seconds since 1970; beyond is a millisecond count or nonsense
_KID_UNKNOWN = "kid-unknown"

REASONS: Mapping[str, str] = {
    "token-missing": "no Authorization header with a Bearer token",
    "token-too-long": f"the token has more than {LONGEST_TOKEN:,} characters",
    "token-malformed": "not three parts of base64url, or header or payload is no JSON object",
    "typ-wrong": "header typ is not JWT",
    "kid-missing": "header kid is missing",
    "header-refused": "the header has crit or b64, which CDS Hooks does not use",
    "issuer-unknown": "no profile names this iss",
    "tenant-unknown": "profiles name this iss, but not this tenant",
    "alg-refused": "the algorithm is not in the profile's list",
    "jku-refused": "header jku is not exactly the configured one",
    _KID_UNKNOWN: "no fitting key with this kid, also after asking again where that was allowed",
    "keys-unusable": "the configured key set cannot be read",
    "signature-wrong": "the signature does not verify",
    "aud-missing": "aud is missing or no text",
    "aud-wrong": "aud is not the address that was called",
    "exp-missing": "exp is missing or no number",
    "iat-missing": "iat is missing or no number",
    "expired": "exp has passed, also with the leeway",
    "iat-in-future": "iat lies ahead by more than the leeway",
    "not-yet-valid": "nbf lies ahead by more than the leeway",
    "life-too-long": "exp lies further from iat than the profile allows, or before it",
    "jti-missing": "jti is missing, empty or too long",
    "jti-replayed": "a token with this iss and jti was used before",
}


@dataclass(frozen=True, kw_only=True)
class _Token:
    """A token taken apart once; every later step looks at these very values."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]


def bearer(authorization: str | None) -> str:
    """The token of an Authorization header.

    Raises:
        NotTrusted: there is none.
    """
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotTrusted("token-missing")
    return token.strip()


def verify(
    token: str,
    *,
    audience: Sequence[str],
    registry: ClientRegistry,
    keys: KeyCache,
    jti_store: JtiStore,
    now: float,
) -> Client:
    """Who signed ``token``, with the keys held right now (see ``identify`` for a version that may fetch keys).

    ``audience`` lists the paths of the endpoint that was called (``/cds-services/...``); they are completed with the
    public base URL of the caller's profile, never with the Host header. ``now`` is in seconds since 1970.

    Raises:
        NotTrusted: with one of REASONS.
        Unavailable: the store of used tokens does not answer.
    """
    read = _take_apart(token)
    profile, trust = _profile_of(read, registry)
    _check_header(read.header, trust)
    _check_signature(read, profile, trust, keys)
    _check_audience(read.claims, profile.audiences(audience))
    expires = _check_times(read.claims, trust, now)
    jti = read.claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_JTI:
        raise NotTrusted("jti-missing")
    issuer = str(read.claims["iss"])
    if not jti_store.first_use(issuer, jti, expires=expires + trust.leeway, now=now):
        raise NotTrusted("jti-replayed")
    return Client(profile=profile, issuer=issuer, tenant=read.claims.get("tenant"), jti=jti)


@dataclass(frozen=True, kw_only=True)
class Gatekeeper:
    """Everything ``verify`` needs, kept for the life of a worker."""

    registry: ClientRegistry
    keys: KeyCache
    jti_store: JtiStore

    async def identify(
        self, authorization: str | None, *, audience: Sequence[str], now: Callable[[], float]
    ) -> Client:
        """As ``verify``, reading changed profiles first and asking once for keys that are not held yet.

        Raises:
            NotTrusted: with one of REASONS.
            Unavailable: the store of used tokens does not answer.
        """
        self.registry.refresh()
        token = bearer(authorization)
        try:
            client = self._verify(token, audience, now())
        except NotTrusted as refusal:
            if refusal.reason != _KID_UNKNOWN:
                raise
            profile, _ = _profile_of(_take_apart(token), self.registry)
            if not self.keys.may_renew(profile):
                raise
            await self.keys.renew(profile)
            client = self._verify(token, audience, now())
        self.keys.renew_when_stale(client.profile)
        return client

    def _verify(self, token: str, audience: Sequence[str], now: float) -> Client:
        return verify(
            token,
            audience=audience,
            registry=self.registry,
            keys=self.keys,
            jti_store=self.jti_store,
            now=now,
        )

    async def close(self) -> None:
        """Give connections back."""
        await self.keys.close()
        self.jti_store.close()


def endpoint_paths(service_id: str | None = None, *, feedback: bool = False) -> tuple[str, ...]:
    """The paths that ``aud`` may name: discovery, a service, or its feedback (Epic sends the service's own)."""
    if service_id is None:
        return ("/cds-services",)
    service = f"/cds-services/{service_id}"
    return (f"{service}/feedback", service) if feedback else (service,)


def _take_apart(token: str) -> _Token:
    if len(token) > LONGEST_TOKEN:
        raise NotTrusted("token-too-long")
    parts = token.split(".")
    try:
        header, payload, _ = parts
        return _Token(text=token, header=_object(header), claims=_object(payload))
    except (ValueError, RecursionError, binascii.Error):
        raise NotTrusted("token-malformed") from None


def _object(part: str) -> dict[str, Any]:
    text = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    value = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
    if not isinstance(value, dict):
        raise ValueError("no object")  # noqa: TRY004 - one kind of error for everything that is malformed
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands twice")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _profile_of(token: _Token, registry: ClientRegistry) -> tuple[ClientProfile, Trust]:
    issuer, tenant = token.claims.get("iss"), token.claims.get("tenant")
    if not isinstance(issuer, str) or not registry.knows_issuer(issuer):
        raise NotTrusted("issuer-unknown")
    if tenant is not None and not isinstance(tenant, str):
        raise NotTrusted("tenant-unknown")
    profile = registry.for_issuer(issuer, tenant)
    if profile is None or profile.trust is None:
        raise NotTrusted("tenant-unknown")
    return profile, profile.trust


def _check_header(header: Mapping[str, Any], trust: Trust) -> None:
    if str(header.get("typ", "")).upper() != "JWT":
        raise NotTrusted("typ-wrong")
    if not isinstance(header.get("kid"), str) or not header["kid"]:
        raise NotTrusted("kid-missing")
    if header.keys() & {"crit", "b64"}:
        raise NotTrusted("header-refused")
    if header.get("alg") not in trust.algorithms:
        raise NotTrusted("alg-refused")
    # A jwk, x5c or x5u in the header is never looked at: keys come from the profile alone.
    if "jku" in header and header["jku"] != trust.jku:
        raise NotTrusted("jku-refused")


def _check_signature(token: _Token, profile: ClientProfile, trust: Trust, keys: KeyCache) -> None:
    algorithm = str(token.header["alg"])
    try:
        key = keys.find(profile, token.header["kid"], algorithm)
    except (KeysRefused, ProfileRefused):
        raise NotTrusted("keys-unusable") from None
    if key is None:
        raise NotTrusted(_KID_UNKNOWN)
    checks = JWSRegistry(algorithms=list(trust.algorithms), strict_check_header=False)
    try:
        deserialize_compact(token.text, key.value, algorithms=[algorithm], registry=checks)
    except (JoseError, ValueError, TypeError):
        raise NotTrusted("signature-wrong") from None


def _check_audience(claims: Mapping[str, Any], accepted: frozenset[str]) -> None:
    stated = claims.get("aud")
    values = [stated] if isinstance(stated, str) else stated
    if not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
        raise NotTrusted("aud-missing")
    if accepted.isdisjoint(values):
        raise NotTrusted("aud-wrong")


def _check_times(claims: Mapping[str, Any], trust: Trust, now: float) -> float:
    expires, issued = (
        _time(claims.get("exp"), "exp-missing"),
        _time(claims.get("iat"), "iat-missing"),
    )
    if now >= expires + trust.leeway:
        raise NotTrusted("expired")
    if issued > now + trust.leeway:
        raise NotTrusted("iat-in-future")
    if "nbf" in claims and _time(claims["nbf"], "not-yet-valid") > now + trust.leeway:
        raise NotTrusted("not-yet-valid")
    if not 0 < expires - issued <= trust.max_life:
        raise NotTrusted("life-too-long")
    return expires


def _time(value: object, reason: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotTrusted(reason)
    if (
        not 0 <= value < LATEST_TIME
    ):  # also refuses NaN, infinity and integers too large for a float
        raise NotTrusted(reason)
    return float(value)
