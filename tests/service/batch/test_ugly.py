"""What hospitals really send: none of it stops a run, and each ends as a patient or as a reject with its place."""

import gzip
import json
import os

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
