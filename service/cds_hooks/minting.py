"""Keys and tokens for a developer's sandbox: what a CDS client does on its side, so that ours can be tried.

Nothing here is used to verify anything. A private key made here belongs to no real EHR.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, JWKRegistry, KeySet, RSAKey

from service.cds_hooks.client_profile import Algorithm, ProfileRefused

_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_RSA_BITS = 3_072


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A private key with its id and algorithm."""

    kid: str
    algorithm: str
    value: ECKey | RSAKey

    def public_set(self) -> dict[str, Any]:
        """The JWKS to give to the service: public members only."""
        return dict(KeySet([self.value]).as_dict(private=False))

    def private_json(self) -> dict[str, Any]:
        """The private JWK, to be kept by the developer."""
        return dict(self.value.as_dict(private=True))


def make_key(algorithm: Algorithm = "ES384", kid: str | None = None) -> SigningKey:
    """A new key pair for ``algorithm``."""
    kid = kid or f"dekacard-{secrets.token_hex(4)}"
    parameters: Any = {"kid": kid, "alg": algorithm, "use": "sig"}
    value: ECKey | RSAKey
    if algorithm in _CURVES:
        value = ECKey.generate_key(_CURVES[algorithm], parameters)
    else:
        value = RSAKey.generate_key(_RSA_BITS, parameters)
    return SigningKey(kid=kid, algorithm=algorithm, value=value)


def read_key(document: object) -> SigningKey:
    """A signing key from its private JWK.

    Raises:
        ProfileRefused: not a private EC or RSA key with ``kid`` and ``alg``.
    """
    stated = document if isinstance(document, dict) else {}
    kid, algorithm = stated.get("kid"), stated.get("alg")
    if not isinstance(kid, str) or not isinstance(algorithm, str):
        raise ProfileRefused("the key has no 'kid' or no 'alg'.")
    value = JWKRegistry.import_key(stated)
    if not isinstance(value, ECKey | RSAKey) or not value.is_private:
        raise ProfileRefused("the key is no private EC or RSA key.")
    return SigningKey(kid=kid, algorithm=algorithm, value=value)


def read_key_file(file: Path) -> SigningKey:
    """A signing key from a file that holds its private JWK.

    Raises:
        ProfileRefused: unreadable, or as ``read_key``.
    """
    try:
        return read_key(json.loads(file.read_bytes()))
    except (OSError, ValueError) as error:
        raise ProfileRefused(
            f"the key cannot be read: {type(error).__name__}.", where=str(file)
        ) from None


def mint_token(
    key: SigningKey,
    *,
    issuer: str,
    audience: str,
    now: float,
    life: int = 300,
    tenant: str | None = None,
    jku: str | None = None,
    claims: Mapping[str, Any] | None = None,
) -> str:
    """A token as a conforming CDS client sends it; ``now`` in seconds since 1970, ``life`` in seconds."""
    header = {"alg": key.algorithm, "typ": "JWT", "kid": key.kid} | ({"jku": jku} if jku else {})
    payload: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "iat": int(now),
        "exp": int(now) + life,
        "jti": str(uuid.uuid4()),
    }
    payload |= {"tenant": tenant} if tenant is not None else {}
    return jwt.encode(header, payload | dict(claims or {}), key.value, algorithms=[key.algorithm])
