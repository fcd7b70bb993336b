"""Lines of files: each line once, however the file is divided or damaged; and whose a line is, only if that is certain."""

import gzip

import orjson
import pytest

from fhir_adapter import ndjson
from fhir_adapter.ndjson import Unreadable, chunks_of, key_of, key_of_line

LINES = [b'{"n": %d, "pad": "%s"}\n' % (n, b"x" * (n % 7)) for n in range(200)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(ndjson, "CHUNK", 97)
    monkeypatch.setattr(ndjson, "_DAMAGED_PIECE", 61)


def lines(path, *stretch):
    """Every line with its number, as the chunks say."""
    found = []
    for chunk in chunks_of(path, *stretch):
        held = chunk.data.splitlines(keepends=True)
        assert chunk.lines == len(held)
        assert chunk.line == len(found)
        found += held
    return found


@pytest.mark.parametrize("end", [b"\n", b""])
def test_stretches_that_cover_a_file_give_each_line_once(tmp_path, end):
    path = tmp_path / "x.ndjson"
    whole = b"".join(LINES).removesuffix(b"\n") + end
    path.write_bytes(whole)
    expected = whole.splitlines(keepends=True)
    assert lines(path) == expected
    for length in (1, 50, 333, len(whole)):
        parts = [lines(path, offset, length) for offset in range(0, len(whole), length)]
        assert [line for part in parts for line in part] == expected, length


def test_a_mark_of_byte_order_is_no_part_of_the_first_line(tmp_path):
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"\xef\xbb\xbf" + b"".join(LINES))
    assert lines(path) == LINES


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_zipped_file_is_read_as_the_plain_one(tmp_path, end):
    path = tmp_path / "x.ndjson.GZ"
    whole = b"".join(LINES).removesuffix(b"\n") + end
    path.write_bytes(gzip.compress(whole[:2000]) + gzip.compress(whole[2000:]))
    assert lines(path) == whole.splitlines(keepends=True)


def damaged(tmp_path, data):
    """The lines that a damaged file still gives, and what is said of it."""
    path = tmp_path / "x.ndjson.gz"
    path.write_bytes(data)
    found = []
    try:
        for chunk in chunks_of(path):
            found += chunk.data.splitlines(keepends=True)
    except Unreadable as told:
        return found, str(told)
    raise AssertionError("the damage was not told")


def test_what_stands_before_the_damage_counts_and_the_damage_is_told(tmp_path):
    packed = gzip.compress(b"".join(LINES), compresslevel=0)
    cut, said = damaged(tmp_path, packed[: len(packed) // 2])
    assert "no whole gzip file" in said
    assert 0 < len(cut) < len(LINES)
    assert cut == LINES[: len(cut)]
    two = gzip.compress(b"".join(LINES[:100])) + gzip.compress(b"".join(LINES[100:]))
    spoiled, _ = damaged(tmp_path, two + b"garbage that is no third member")
    assert spoiled == LINES
    assert damaged(tmp_path, b"no gzip at all")[0] == []
    assert "is empty" in damaged(tmp_path, b"")[1]


# Whose a line is -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "whose"),
    [
        ({"resourceType": "Patient", "id": "p1"}, "p1"),
        ({"resourceType": "Observation", "subject": {"reference": "Patient/p1"}}, "p1"),
        ({"resourceType": "Observation", "patient": {"reference": "Patient/p1/_history/2"}}, "p1"),
        ({"resourceType": "Observation", "subject": {"reference": "https://a.example/f/Patient/p1"}}, "p1"),
        ({"resourceType": "Observation", "subject": {"reference": "urn:uuid:p1"}}, "p1"),
        ({"resourceType": "Observation", "subject": {"reference": "p1"}}, "p1"),
        ({"resourceType": "Observation", "subject": {"reference": "#p1"}}, ""),
        ({"resourceType": "Observation", "subject": {"reference": "Group/p1"}}, ""),
        ({"resourceType": "Observation", "subject": {}}, ""),
        ({"resourceType": "Observation"}, ""),
    ],
)  # fmt: skip
def test_the_bytes_of_a_line_say_what_its_resource_says_or_nothing(resource, whose):
    assert key_of(resource) == whose
    assert key_of_line(orjson.dumps(resource)) in {whose, None}


def test_bytes_prove_a_patient_only_where_there_is_no_doubt():
    plain = b'{"resourceType": "Observation", "subject": {"reference": "Patient/p1"}}'
    assert key_of_line(plain) == "p1"
    assert key_of_line(b'{"resourceType":"Patient","id":"p1"}') == "p1"
    assert key_of_line(plain.replace(b"p1", rb"p\u0031")) is None, "an escape may hide anything"
    two = plain[:-1] + b', "patient": {"reference": "Patient/p2"}}'
    assert key_of_line(two) is None
    assert key_of_line(b'{"resourceType": "Observation", "subject": {"display": "x"}}') is None
