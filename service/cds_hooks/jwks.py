"""Public keys of the clients: static sets and fetched ones, cached, renewed and kept when the source fails.

Sets hold public signature keys only (RSA from 2,048 bits), at most 20 of them in at most 64 kB. A fetched set
is fresh for as long as its Cache-Control says, between 5 minutes and 24 hours, one hour without it; an unknown
``kid`` asks again at most every 30 seconds; a source that fails leaves the last good set in use for 24 hours.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from rules.errors import DekacardError
from service.cds_hooks.client_profile import ClientProfile, Trust

PublicKey = ECKey | RSAKey | OKPKey

LARGEST_SET = 64 * 1024  # bytes
MOST_KEYS = 20
SMALLEST_RSA = 2_048  # bits
FRESH_BETWEEN = (300.0, 86_400.0)  # seconds
FRESH_USUALLY = 3_600.0
KEEP_AFTER_FAILURE = 86_400.0
ASK_AGAIN_AFTER = 30.0
TIMEOUT = httpx2.Timeout(3.0, connect=2.0)

_MAX_AGE = re.compile(r"max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
# RFC 7518 section 3.1: which key and curve an algorithm takes; joserfc checks it too, we choose by it.
_FITS: Mapping[str, tuple[str, str | None]] = {
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "PS384": ("RSA", None),
}
log = structlog.get_logger()


class KeysRefused(DekacardError):
    """A key set cannot be used; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """One public key with the members that choose it."""

    kid: str
    kty: str
    crv: str | None
    alg: str | None
    value: PublicKey

    def fits(self, algorithm: str) -> bool:
        """Whether the key is of the type and curve of ``algorithm``, and not bound to another one."""
        return (self.kty, self.crv) == _FITS.get(algorithm) and self.alg in {None, algorithm}


@dataclass(kw_only=True)
class _Held:
    """What is known of one source: its keys, until when they are fresh, when it was last asked."""

    keys: tuple[Key, ...] = ()
    good_at: float = float("-inf")
    fresh_until: float = float("-inf")
    asked_at: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(kw_only=True)
class KeyCache:
    """The keys of every profile. One per worker; ``find`` never waits, ``renew`` does."""

    read_secret: Callable[[ClientProfile, Any], bytes]
    client: httpx2.AsyncClient | None = None
    clock: Callable[[], float] = time.monotonic
    on_failure: Callable[[str], None] = lambda _client: None
    _held: dict[str, _Held] = field(default_factory=dict)
    _static: dict[str, tuple[Trust, tuple[Key, ...]]] = field(default_factory=dict)
    _renewing: set[asyncio.Task[None]] = field(default_factory=set)

    def find(self, profile: ClientProfile, kid: str, algorithm: str) -> Key | None:
        """The key that signed: same ``kid``, fitting type, curve and algorithm; None if unknown."""
        return next((k for k in self.keys(profile) if k.kid == kid and k.fits(algorithm)), None)

    def keys(self, profile: ClientProfile) -> tuple[Key, ...]:
        """All keys of a profile that may be used now."""
        trust = profile.trust
        if trust is None:
            return ()
        if trust.jku is None:
            return self._static_keys(profile, trust)
        held = self._held.get(trust.jku)
        if held is None or self.clock() - held.good_at > KEEP_AFTER_FAILURE:
            return ()
        return held.keys

    def may_renew(self, profile: ClientProfile) -> bool:
        """Whether the source of this profile may be asked now."""
        jku = profile.trust.jku if profile.trust else None
        if jku is None:
            return False
        held = self._held.get(jku)
        return held is None or held.lock.locked() or self.clock() - held.asked_at >= ASK_AGAIN_AFTER

    def renew_when_stale(self, profile: ClientProfile) -> None:
        """Ask again in the background when the set in use is no longer fresh; the call does not wait."""
        jku = profile.trust.jku if profile.trust else None
        held = self._held.get(jku) if jku else None
        if held is None or self.clock() < held.fresh_until or not self.may_renew(profile):
            return
        task = asyncio.get_running_loop().create_task(self.renew(profile))
        self._renewing.add(task)
        task.add_done_callback(self._renewing.discard)

    async def renew(self, profile: ClientProfile) -> None:
        """Fetch the set of ``profile`` unless it was asked for within 30 seconds; a failure keeps the last good one."""
        jku = profile.trust.jku if profile.trust else None
        if jku is None:
            return
        held = self._held.setdefault(jku, _Held())
        async with held.lock:
            if self.clock() - held.asked_at < ASK_AGAIN_AFTER:
                return
            held.asked_at = self.clock()
            try:
                keys, fresh_for = await self._fetch(jku)
            except (KeysRefused, httpx2.HTTPError) as error:
                why = str(error) if isinstance(error, KeysRefused) else type(error).__name__
                log.warning("jwks_not_renewed", client=profile.id, reason=why, count=len(held.keys))
                self.on_failure(profile.id)
                return
            held.keys, held.good_at = keys, self.clock()
            held.fresh_until = held.good_at + fresh_for

    async def close(self) -> None:
        """Give the connections back."""
        for task in tuple(self._renewing):
            task.cancel()
        if self.client is not None:
            await self.client.aclose()

    def _static_keys(self, profile: ClientProfile, trust: Trust) -> tuple[Key, ...]:
        held = self._static.get(profile.id)
        if held is not None and held[0] is trust:
            return held[1]
        if trust.jwks_from is not None:
            keys = read_keys(self.read_secret(profile, trust.jwks_from))
        else:
            keys = import_keys(trust.jwks)
        self._static[profile.id] = (trust, keys)
        return keys

    async def _fetch(self, jku: str) -> tuple[tuple[Key, ...], float]:
        if self.client is None:
            # No proxy and no certificate bundle from the environment; a redirect is an answer, not an order.
            self.client = httpx2.AsyncClient(
                follow_redirects=False,
                trust_env=False,
                timeout=TIMEOUT,
                headers={"accept": "application/json"},
            )
        async with asyncio.timeout(TIMEOUT.read or 0), self.client.stream("GET", jku) as answer:
            if answer.status_code != httpx2.codes.OK:
                raise KeysRefused(f"the server of the keys answered {answer.status_code}")
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > LARGEST_SET:
                    raise KeysRefused("the key set is too large")
            return read_keys(bytes(body)), _fresh_for(answer.headers.get("cache-control", ""))


def read_keys(text: bytes) -> tuple[Key, ...]:
    """The keys of a JWKS document.

    Raises:
        KeysRefused: no JSON, too large, or as ``import_keys``.
    """
    if len(text) > LARGEST_SET:
        raise KeysRefused("the key set is too large")
    try:
        return import_keys(json.loads(text))
    except (ValueError, RecursionError):
        raise KeysRefused("the key set is no JSON") from None


def import_keys(document: object) -> tuple[Key, ...]:
    """The usable public signature keys of a JWKS; keys for encryption or of unknown types are left out.

    Raises:
        KeysRefused: not a set, too many keys, no usable key, or a private or symmetric key is in it.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise KeysRefused("the key set has no list 'keys'")
    if len(entries) > MOST_KEYS:
        raise KeysRefused("the key set holds too many keys")
    keys = tuple(key for entry in entries if (key := _import_key(entry)) is not None)
    if not keys:
        raise KeysRefused("the key set holds no usable key")
    return keys


def _import_key(entry: object) -> Key | None:
    if not isinstance(entry, dict):
        raise KeysRefused("a key is no object")
    if _PRIVATE_MEMBERS & entry.keys():
        raise KeysRefused("a private or symmetric key is in the set")
    kid, use, operations = (
        entry.get("kid"),
        entry.get("use", "sig"),
        entry.get("key_ops", ["verify"]),
    )
    if not isinstance(kid, str) or not kid or use != "sig" or "verify" not in operations:
        return None
    try:
        value = JWKRegistry.import_key(entry)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    is_weak = isinstance(value, RSAKey) and value.public_key.key_size < SMALLEST_RSA
    if is_weak or not isinstance(value, PublicKey):
        return None
    return Key(kid=kid, kty=value.key_type, crv=entry.get("crv"), alg=entry.get("alg"), value=value)


def _fresh_for(cache_control: str) -> float:
    shortest, longest = FRESH_BETWEEN
    if "no-store" in cache_control or "no-cache" in cache_control:
        return shortest
    stated = _MAX_AGE.search(cache_control)
    return min(max(float(stated[1]), shortest), longest) if stated else FRESH_USUALLY
