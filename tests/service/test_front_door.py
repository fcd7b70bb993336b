"""The strict reader of JSON: each refusal, and the fast path against the exact one."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from rules.errors import RequestError
from service.front_door import MAX_DEPTH, read_exactly, read_json


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


REFUSED = {
    "not a number": b'{"value": NaN}',
    "infinity": b'{"value": -Infinity}',
    "overflowing exponent": b'{"value": 1e999}',
    "extreme but finite exponent": b'{"value": 1e13}',
    "tiny exponent": b'{"value": 1E-13}',
    "number of 33 characters": b'{"value": 1.' + b"1" * 31 + b"}",
    "integer of 21 digits": b'{"value": ' + b"9" * 21 + b"}",
    "integer of 5,000 digits": b'{"value": ' + b"9" * 5000 + b"}",
    "member twice": b'{"status": "draft", "status": "active"}',
    "member twice, blanks": b'{"status" : "draft",\n "status"\t: "active"}',
    "member twice, deep": b'{"a": [{"b": {"code": 1, "code": 1}}]}',
    "member twice, one escaped": b'{"status": 1, "stat\\u0075s": 2}',
    "member twice, hidden by an escaped colon": b'{"a": "x", "a": "y", "b": "\\u003a"}',
    "lone surrogate": b'{"text": "\\ud800"}',
    "lone low surrogate in a key": b'{"\\udc00": 1}',
    "NUL": b'{"text": "a\\u0000b"}',
    "one level too deep": nested(MAX_DEPTH + 1),
    "100,000 levels": b"[" * 100_000 + b"]" * 100_000,
    "depth hidden by brackets in strings": b'["]",' * 50 + b"1" + b',"["]' * 50,
    "empty array one level too deep": nested(MAX_DEPTH).replace(b"1", b"[]"),
    "not UTF-8": b'{"text": "\xff"}',
    "surrogate written in UTF-8": b'{"text": "\xed\xa0\x80"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "cut off": b'{"a": ',
    "nothing": b"",
    "trailing text": b'{"a": 1} {}',
    "leading zero": b'{"a": 01}',
    "control character": b'{"a": "\x01"}',
}

ACCEPTED = {
    "number of 32 characters": b'{"value": 1.' + b"1" * 30 + b"}",
    "integer of 20 digits": b'{"value": ' + b"9" * 20 + b"}",
    "largest exponent": b'{"value": 1e12, "other": 1.5E-12}',
    "deepest": nested(MAX_DEPTH),
    "empty array at the deepest": nested(MAX_DEPTH - 1).replace(b"1", b"[]"),
    "same member in two objects": b'[{"code": 1}, {"code": 1}]',
    "colons and quotes in strings": b'{"a": "\\":\\":", "b": "\\u0022:", "c:": ":"}',
    "escaped backslash before u0000": b'{"a": "\\\\u0000"}',
    "surrogate pair": b'{"a": "\\ud83d\\ude00"}',
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "brackets in strings": b'{"a": "[[[[{{{{", "b": ["]"]}',
    "plain values": b'[null, true, false, 0, -0, 1.50, "", {}]',
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_refuses(body):
    with pytest.raises(RequestError) as refusal:
        read_json(body)
    assert refusal.value.status == 400


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepts_what_the_standard_library_reads(body):
    assert read_json(body) == json.loads(body.decode("utf-8-sig"))


def test_refuses_what_is_too_large_before_parsing():
    with pytest.raises(RequestError) as refusal:
        read_json(b"[" + b"1," * 50 + b"1]", max_bytes=100)
    assert refusal.value.status == 413


def test_message_does_not_repeat_the_input():
    for body in (
        b'{"name": "Birchall" "x"}',
        b'{"Birchall": 1, "Birchall": 2}',
        b'{"Birchall": NaN}',
    ):
        with pytest.raises(RequestError) as refusal:
            read_json(body)
        assert "Birchall" not in str(refusal.value)


def verdict(reader, body):
    try:
        return repr(reader(body))
    except RequestError as refusal:
        return refusal.status, str(refusal)


pieces = st.sampled_from(
    ["{", "}", "[", "]", ":", ",", '"', '"a"', '"b":', '"a":', '"\\u003a"', '"\\":"', '":', "1", "-0", "1e5",
     "1E+13", "1e-400", "0.25", "9" * 19, "9" * 21, "1." + "3" * 31, "null", "true", "NaN", " ", "\n", "\\",
     '"\\ud800"', '"\\u0000"', '"é"', '"]"', "[[", "]]", '{"a":{"a":', "}}"]
)  # fmt: skip


@st.composite
def texts_with_odd_members(draw):
    """Valid JSON in which members may repeat, nest deeply and be spaced and escaped freely."""

    def value(depth):
        kind = draw(st.integers(0, 9 if depth < 45 else 5))
        if kind <= 4:
            return draw(
                st.sampled_from(
                    ['"x"', '":"', '"\\u003A"', "1", "2.50", "1e13", "7e2", "9" * 20, "null"]
                )
            )
        if kind == 5:
            return json.dumps(draw(st.text(max_size=5)))
        blank = draw(st.sampled_from(["", " ", "\n"]))
        if kind == 6:
            return "[" * draw(st.integers(1, 45)) + blank
        members = [
            f'"{draw(st.sampled_from(["a", "b", "c", chr(92) + "u0061"]))}"{blank}:{value(depth + 1)}'
            for _ in range(draw(st.integers(0, 3)))
        ]
        return "{" + ",".join(members) + "}"

    text = value(0)
    return (text + "]" * text.count("[")).encode("utf-8", "surrogatepass")


@settings(max_examples=300, deadline=None)
@example([])
@given(st.lists(pieces, max_size=25))
def test_fast_and_exact_reader_agree_on_fragments(parts):
    body = "".join(parts).encode()
    assert verdict(read_json, body) == verdict(read_exactly, body)


@settings(max_examples=300, deadline=None)
@given(texts_with_odd_members())
def test_fast_and_exact_reader_agree_on_odd_objects(body):
    assert verdict(read_json, body) == verdict(read_exactly, body)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(json_values, st.booleans())
def test_fast_and_exact_reader_agree_on_any_json(value, ascii_only):
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert verdict(read_json, body) == verdict(read_exactly, body)
