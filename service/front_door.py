"""Strict JSON for every body and every file: fast where C can prove that nothing is wrong, exact elsewhere.

What is refused, and why a clinical service must: duplicate keys (parsers disagree on which value counts),
NaN and infinity (never match a threshold, so an alert is missed), numbers of extreme length or exponent and
deep nesting (denial of service), lone surrogates and NUL (crash stores and engines further in).

``read_exactly`` defines what is accepted. ``read_json`` gives the same answer for little more than the cost
of parsing: a C parser shows every fraction to a hook and keeps large integers, and the value written back
proves that no member was dropped and nothing lies too deep. Where the proof does not succeed,
``read_exactly`` decides.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

import msgspec
import orjson

from rules.errors import RequestError

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_DEPTH: Final = 40
MAX_NUMBER_CHARACTERS: Final = 32
MAX_INTEGER_DIGITS: Final = 20
MAX_EXPONENT: Final = 12

_BOM: Final = b"\xef\xbb\xbf"
# One line of the value written back with indentation, at a depth that only ``read_exactly`` may judge.
_TOO_DEEP: Final = b"\n" + b" " * (2 * (MAX_DEPTH - 1))
_HIDING_ESCAPES: Final = (b"\\u003a", b"\\u003A", b"\\u0000")

_STRING_OR_BRACKET: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)
_EXPONENT: Final = re.compile(r"[eE]([+-]?[0-9]+)$")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def read_json(body: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """The value of a JSON text in UTF-8, refused if any part of it breaks the rules above.

    Raises:
        RequestError: status 413 when too large, else 400; the message never repeats the input.
    """
    if len(body) > max_bytes:
        raise RequestError(
            f"The body is larger than {max_bytes} bytes.", status=413, code="too-long"
        )
    if body.startswith(_BOM):
        body = body[3:]
    try:
        value = _DECODER.decode(body)
        if _proved_plain(body, value):
            return value
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, RequestError):
        pass  # the exact reader knows what is wrong, and where
    return read_exactly(body)


def _proved_plain(body: bytes, value: Any) -> bool:
    """Whether it is certain, without looking at single values, that ``read_exactly`` gives the same.

    Duplicate keys: each member has one colon in the text and one in the text written back; colons within
    strings add the same to both sides, unless an escape hides them. So equal counts mean that no member was
    dropped. Depth: written back with indentation, depth is the number of blanks at the head of a line.
    Integers of more than 64 bits cannot be written back, nor can what lies deeper than 254 levels.
    """
    if b"\\" in body and any(escape in body for escape in _HIDING_ESCAPES):
        return False
    try:
        written = orjson.dumps(value, option=orjson.OPT_INDENT_2)
    except orjson.JSONEncodeError:
        return False
    return _TOO_DEEP not in written and body.count(b":") == written.count(b":")


def read_exactly(body: bytes) -> Any:
    """The same as ``read_json`` without shortcuts: the definition of what is accepted."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refusal(f"The body is not UTF-8 (byte {error.start}).") from None
    _refuse_deep_nesting(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique_members,
            parse_float=_bounded_float,
            parse_int=_bounded_integer,
            parse_constant=_no_constant,
        )
    except json.JSONDecodeError as error:
        raise _refusal(
            f"The body is not JSON (line {error.lineno}, column {error.colno})."
        ) from None
    _refuse_bad_text(value)
    return value


def _refusal(what: str) -> RequestError:
    return RequestError(what, status=400, code="structure")


def _refuse_deep_nesting(text: str) -> None:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        first = match[0][0]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise _refusal(f"The body is nested deeper than {MAX_DEPTH} levels.")
        elif first in "]}":
            depth -= 1


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _refusal("An object of the body has the same member twice.")
    return members


def _bounded_float(text: str) -> float:
    exponent = _EXPONENT.search(text)
    if len(text) > MAX_NUMBER_CHARACTERS or (exponent and abs(int(exponent[1])) > MAX_EXPONENT):
        raise _refusal("A number of the body is too long or too extreme.")
    return float(text)


def _bounded_integer(text: str) -> int:
    if len(text.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise _refusal(f"A number of the body has more than {MAX_INTEGER_DIGITS} digits.")
    return int(text)


def _no_constant(_name: str) -> NoReturn:
    raise _refusal("The body holds NaN or Infinity, which are not JSON.")


def _refuse_bad_text(value: Any) -> None:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if "\0" in item or _SURROGATE.search(item):
                raise _refusal("A text of the body holds NUL or half a surrogate pair.")
        elif isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


_DECODER: Final = msgspec.json.Decoder(float_hook=_bounded_float)
