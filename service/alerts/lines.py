"""Lines of the spool as bytes: JSON, sealed when a key is set; and the canonical bytes of an answer."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from rules.assessment import Assessment
from rules.errors import DekacardError
from service.alerts.keyring import Keyring
from service.alerts.values import Line

_BOUND_TO = "spool"
# Equal values give equal bytes: dictionaries sorted, fields in the order of their declaration.
_canonical = msgspec.json.Encoder(order="deterministic")
_plain = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


class _Sealed(msgspec.Struct, frozen=True):
    key: str
    sealed: str


_sealed_decoder = msgspec.json.Decoder(_Sealed)


class LineError(DekacardError):
    """A line of the spool cannot be understood; it is kept aside, never dropped."""


def canonical(value: Any) -> bytes:
    """The bytes that stand for a value: equal values, equal bytes."""
    return _canonical.encode(value)


def canonical_answer(assessment: Assessment) -> bytes:
    """What an assessment says, without which engine said it (engine, rate and clock stand apart)."""
    provenance = msgspec.structs.replace(assessment.provenance, engine="")
    return _canonical.encode(msgspec.structs.replace(assessment, provenance=provenance))


def pack_line(line: Line, keyring: Keyring) -> bytes:
    """The body of a spool line."""
    body = _plain.encode(line)
    key, sealed = keyring.seal(body, _BOUND_TO)
    if not key:
        return body
    return b'{"key":"%b","sealed":"%b"}' % (key.encode(), base64.b64encode(sealed))


def unpack_line(body: bytes, keyring: Keyring) -> Line:
    """The line again; raises LineError for what is no line, KeyringError for a missing key."""
    try:
        if body.startswith(b'{"key":'):
            sealed = _sealed_decoder.decode(body)
            body = keyring.unseal(sealed.key, base64.b64decode(sealed.sealed), _BOUND_TO)
        line: Line = _decoder.decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise LineError(f"is no line of the record ({type(error).__name__}).") from error
    return line
