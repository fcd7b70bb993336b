"""The keys of the record: identities (HMAC), audit chain (HMAC), evidence at rest (AES-256-GCM)."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import uuid
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rules.errors import DekacardError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES = 32
_NONCE_BYTES = 12  # NIST SP 800-38D 8.2: 96 bits


class KeyringError(DekacardError):
    """The keys cannot be read, or a key that something was sealed with is missing."""


class Keyring(msgspec.Struct, frozen=True, kw_only=True):
    """Secrets kept outside the database.

    ``identity`` names patients and recommendations and never changes. ``audit`` and ``evidence`` hold
    keys by id; the current one is used for what is new, the others open what is old.
    An empty ``evidence_current`` means that evidence is stored unencrypted.
    """

    identity: bytes
    audit: dict[str, bytes]
    audit_current: str
    evidence: dict[str, bytes] = {}
    evidence_current: str = ""

    def patient_key(self, tenant: str, patient: str) -> str:
        """The patient's name in the record: the same for one id of one client, meaningless without the key."""
        return self._name("patient", tenant, patient)

    def recommendation_key(self, tenant: str, patient: str, rule: str, about: str) -> str:
        """The identity of one problem of one patient: no resource ids, no values.

        ``patient`` is the patient's id as the client knows it, ``about`` the subject of the recommendation.
        """
        return self._name("recommendation", tenant, patient, rule, about)

    def digest(self, kind: str, body: bytes) -> str:
        """A keyed content address: equal bodies share it, nobody can guess a body from it."""
        return hmac.digest(self.identity, kind.encode() + b"\0" + body, "sha256").hex()

    def audit_mac(self, key_id: str, body: bytes) -> str:
        """The seal of an audit line (HMAC-SHA256, hex)."""
        key = self.audit.get(key_id)
        if key is None:
            raise KeyringError(
                f"audit key {key_id!r} is not in the keyring; add it to verify old lines."
            )
        return hmac.digest(key, body, "sha256").hex()

    def seal(self, body: bytes, bound_to: str) -> tuple[str, bytes]:
        """Body encrypted with the current evidence key: (key id, nonce and ciphertext); ("", body) without a key."""
        if not self.evidence_current:
            return "", body
        return self.evidence_current, self._seal_with(self.evidence_current, body, bound_to)

    def unseal(self, key_id: str, sealed: bytes, bound_to: str) -> bytes:
        """The body again; raises KeyringError when the key is missing or the body was altered."""
        if not key_id:
            return sealed
        if key_id not in self.evidence:
            raise KeyringError(f"evidence key {key_id!r} is not in the keyring.")
        from cryptography.exceptions import InvalidTag

        nonce, body = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return _cipher(self.evidence[key_id]).decrypt(nonce, body, bound_to.encode())
        except InvalidTag as error:
            raise KeyringError("sealed evidence was altered, or belongs elsewhere.") from error

    def _seal_with(self, key_id: str, body: bytes, bound_to: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + _cipher(self.evidence[key_id]).encrypt(nonce, body, bound_to.encode())

    def _name(self, *parts: str) -> str:
        # Not hmac.digest: that lets go of the interpreter lock, and a call would wait for the drainer to hand it back
        return hmac.new(self.identity, msgspec.json.encode(parts), "sha256").hexdigest()


def card_uuid(recommendation_key: str, hook_instance: str, service: str) -> str:
    """The uuid of a card: the same problem in the same event keeps it, so that feedback finds its call."""
    namespace = uuid.UUID(bytes=bytes.fromhex(recommendation_key)[:16])
    return str(uuid.uuid5(namespace, f"{hook_instance}\n{service}"))


def new_keyring(*, encrypt: bool = True) -> Keyring:
    """Fresh random keys; without ``encrypt`` evidence stays readable in the database."""
    return Keyring(
        identity=secrets.token_bytes(_KEY_BYTES),
        audit={"a1": secrets.token_bytes(_KEY_BYTES)},
        audit_current="a1",
        evidence={"e1": secrets.token_bytes(_KEY_BYTES)} if encrypt else {},
        evidence_current="e1" if encrypt else "",
    )


def with_new_evidence_key(keyring: Keyring) -> Keyring:
    """The keyring with one more evidence key, which is the current one from now on."""
    name = f"e{1 + max((int(key[1:]) for key in keyring.evidence), default=0)}"
    keys = {**keyring.evidence, name: secrets.token_bytes(_KEY_BYTES)}
    return msgspec.structs.replace(keyring, evidence=keys, evidence_current=name)


def read_keyring(path: Path) -> Keyring:
    """Keys from a JSON file (base64); raises KeyringError with the remedy."""
    try:
        keyring = msgspec.json.decode(path.read_bytes(), type=Keyring)
    except OSError as error:
        raise KeyringError(
            f"{path.name}: cannot be read. Create it with 'dekacard db keys'."
        ) from error
    except msgspec.MsgspecError as error:
        raise KeyringError(f"{path.name}: is no keyring ({error}).") from error
    lengths = {
        len(keyring.identity),
        *map(len, keyring.audit.values()),
        *map(len, keyring.evidence.values()),
    }
    if lengths != {_KEY_BYTES} or keyring.audit_current not in keyring.audit:
        raise KeyringError(
            f"{path.name}: every key has {_KEY_BYTES} bytes, and the current audit key is listed."
        )
    if keyring.evidence_current and keyring.evidence_current not in keyring.evidence:
        raise KeyringError(f"{path.name}: the current evidence key is not listed.")
    return keyring


def write_keyring(path: Path, keyring: Keyring) -> None:
    """Keys into a file that only its owner can read, replaced in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(keyring)))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def open_keyring(path: Path, *, create: bool) -> Keyring:
    """The keyring of a site; with ``create`` a missing file is made, by one worker only."""
    if create and not path.exists():
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        write_keyring(fresh, new_keyring())
        try:
            os.link(fresh, path)  # fails if another worker was first: then its keys stand
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return read_keyring(path)


@lru_cache(maxsize=32)
def _cipher(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM as Cipher  # noqa: N811  loaded when needed

    return Cipher(key)


def fingerprint_of(keyring: Keyring) -> str:
    """A short public mark of the identity key: a store refuses a keyring that it was not made with."""
    return hashlib.sha256(b"dekacard identity\0" + keyring.identity).hexdigest()[:16]
