"""What hospitals really send: none of it stops a run, and each ends as a patient or as a reject with its place."""

import gzip
import json
import os
from pathlib import Path

import pytest

from service.batch.run import Run
from tests.service.batch.people import WARFARIN, bundle, lab, patient, request
from tests.service.batch.test_review import options, rejects


def text(*resources):
    return "\n".join(json.dumps(one) for one in resources).encode()


def deep(levels):
    inner = json.dumps(patient("deep"))
    return (
        '{"resourceType":"Bundle","entry":[{"resource":' * levels + inner + "}]}" * levels
    ).encode()


def result(value):
    return (
        json.dumps(lab("ada", "1989-3", 1, "ng/mL", 1))
        .replace('"value": 1', f'"value": {value}')
        .encode()
    )


TWICE = b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","id":"a","id":"ada"}}]}'
# name, content, patients in, code of the one reject if there is one
UGLY = [
    ("empty.json", b"", 0, "not-json"),
    ("blank.ndjson", b"\n\n  \n", 0, None),
    ("zero.ndjson.gz", b"", 0, "file-cut-off"),
    ("plain.ndjson.gz", text(patient("ada")), 0, "file-cut-off"),
    ("members.ndjson.gz", gzip.compress(text(patient("a")) + b"\n") + gzip.compress(text(patient("b"))), 2, None),
    ("trailing.ndjson.gz", gzip.compress(text(patient("ada")) + b"\n") + b"garbage", 1, "file-cut-off"),
    ("crlf.ndjson", text(patient("ada"), request("ada", WARFARIN, 1)).replace(b"\n", b"\r\n"), 1, None),
    ("utf16.json", json.dumps(patient("ada")).encode("utf-16"), 0, "not-json"),
    ("latin1.ndjson", json.dumps(patient("ada") | {"note": "\u00fc"}, ensure_ascii=False).encode("latin-1"), 1, "not-json"),
    ("nul.ndjson", text(patient("ada")) + b"\n\x00\x00\n", 1, "not-json"),
    ("deep.json", b"[" * 200_000 + b"]" * 200_000, 0, "not-json"),
    ("nested.json", deep(40), 0, "no-resource"),
    ("array.json", json.dumps([patient("ada")]).encode(), 1, None),
    ("number.json", b"42", 0, "no-resource"),
    ("null.ndjson", b"null", 0, "no-resource"),
    ("twice.json", TWICE, 1, "not-strict-json"),
    ("infinite.ndjson", result("1e999"), 1, "not-json"),
    ("nan.ndjson", result("NaN"), 1, "not-json"),
    ("digits.ndjson", result("1" * 5000), 1, "not-json"),
    ("surrogate.ndjson", b'{"resourceType":"Patient","id":"ada","name":[{"family":"\\ud800"}]}', 1, "not-json"),
    ("kind.json", b'{"resourceType":5,"id":"a"}', 0, "no-resource"),
    ("kinds.json", b'{"resourceType":["Patient"],"id":"a"}', 0, "no-resource"),
    ("kind-of-entry.json", b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":{},"id":"a"}}]}', 0, "no-resource"),
    ("true.json", b'{"resourceType":true,"entry":[]}', 0, "no-resource"),
    ("bomb.json.gz", gzip.compress(b"[" + b" " * 50_000_000 + b"]"), 0, "file-cut-off"),
    ("bomb.ndjson.gz", gzip.compress(text(patient("ada")) + b"\n" + b"a" * 50_000_000), 1, "file-cut-off"),
    ("types.ndjson", b'{"resourceType":"Patient","id":5}', 0, "no-patient"),
    ("kind.ndjson", b'{"resourceType":5,"id":"a"}', 0, "no-resource"),
    ("ids.ndjson", text(*(patient(one) for one in ("../../etc", "=1+1", "a b", "x" * 300, "\u202ea", "a\nb"))), 6, None),
    ("long.ndjson", text(patient("ada") | {"extension": "y" * 20_000_000}, request("ada", WARFARIN, 1)), 1, None),
    ("UPPER.JSON", json.dumps(bundle([patient("ada")])).encode(), 1, None),
    ("UPPER.NDJSON.GZ", gzip.compress(text(patient("ada"))), 1, None),
    ("\u202ea\nb=.json", json.dumps(patient("ada")).encode(), 1, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "patients", "code"), UGLY, ids=[one[0] for one in UGLY]
)
def test_it_ends_as_a_patient_or_as_a_reject(tmp_path, name, content, patients, code):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / name).write_bytes(content)
    (folder / "good.json").write_text(json.dumps(patient("good")))
    account = Run(tmp_path / "out").review([folder], options())
    assert account.told["patients"]["in"] == patients + 1
    assert [(one["file"], one["code"]) for one in rejects(tmp_path / "out")] == ([(name, code)] if code else [])  # fmt: skip


def test_a_name_that_is_no_text_is_a_reject(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.json").write_text(json.dumps(patient("good")))
    (folder / os.fsdecode(b"\xff.json")).write_text("{}")
    Run(tmp_path / "out").review([folder], options())
    assert [(one["file"], one["code"]) for one in rejects(tmp_path / "out")] == [
        ("?.json", "no-plain-file")
    ]


MANIFEST = {"transactionTime": "2026-11-20T00:00:00Z", "request": "https://ehr.example.org/$export", "output": []}  # fmt: skip
ODD = {
    "output that is a number": {"output": 5},
    "output that is a text": {"output": "Patient.ndjson"},
    "an entry that is a text": {"output": ["Patient.ndjson"]},
    "an address that is none": {"output": [{"type": "Patient", "url": "http://[x"}]},
    "a name longer than any file's": {"output": [{"type": "Patient", "url": "x" * 5000}]},
    "a name with NUL": {"output": [{"type": "Patient", "url": "x%00.ndjson"}]},
    "a type that is a list": {"output": [{"type": ["Patient"], "url": {"a": 1}}]},
    "deletions that are a truth": {"deleted": True},
    "errors that are a number": {"error": 3},
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD.keys())
def test_what_a_manifest_promises_in_no_readable_way_is_a_reject(tmp_path, change):
    """And nobody takes what it may have named for absent."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ada.ndjson").write_bytes(text(patient("ada")))
    (tmp_path / "in" / "manifest.json").write_text(json.dumps(MANIFEST | change))
    told = Run(tmp_path / "out").review([tmp_path / "in"], options()).told
    (one,) = rejects(tmp_path / "out")
    assert (one["file"], one["code"]) == ("manifest.json", "manifest-file-missing")
    assert told["patients"]["in"] == 1
    assert "statements" in " ".join(told["not_fetched"])


@pytest.mark.parametrize("request_of", ["http://[x", 5, ["a"], None, "x" * 100_000])
def test_a_manifest_whose_request_cannot_be_read_is_followed_all_the_same(tmp_path, request_of):
    (tmp_path / "ada.ndjson").write_bytes(text(patient("ada")))
    listed = [{"type": "Patient", "url": "https://ehr.example.org/ada.ndjson"}]
    manifest = MANIFEST | {"request": request_of, "output": listed}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    told = Run(tmp_path / "out").review([tmp_path / "manifest.json"], options()).told
    assert told["patients"]["in"] == 1
    assert not rejects(tmp_path / "out")


def test_folders_without_end_are_a_reject(tmp_path):
    """A mirror of itself: the path is longer than one can be, and than Python recurs."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ada.ndjson").write_bytes(text(patient("ada")))
    before = Path.cwd()
    os.chdir(tmp_path / "in")
    try:
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
        told = Run(tmp_path / "out").review([tmp_path / "in"], options()).told
    finally:  # what is so deep, others cannot remove
        while Path.cwd() != tmp_path / "in":
            os.chdir("..")
            Path("d").rmdir()
        os.chdir(before)
    (one,) = rejects(tmp_path / "out")
    assert one["code"] == "file-not-readable"
    assert told["patients"]["in"] == 1
