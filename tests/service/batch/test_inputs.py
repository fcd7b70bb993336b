"""Everything that people point the command at: what it reads, and that it refuses the rest with a reason."""

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from service.batch.run import Run
from tests.service.batch.people import (
    AS_OF,
    LOINC,
    WARFARIN,
    bundle,
    coded,
    lab,
    of_each_type,
    patient,
    population,
    request,
    statement,
    write_bundles,
    write_lines,
)
from tests.service.batch.test_review import options, rejects, results, rows

SAME = ["DetectedIssue.ndjson", "recommendations.csv", "gaps.ndjson"]
ROOT = Path(__file__).parents[3]


def reviewed(tmp_path, *paths, name="out", **given):
    account = Run(tmp_path / name).review(list(paths), options(**given))
    return account, tmp_path / name


def codes(out):
    return {(one["file"], one["line"], one["code"]) for one in rejects(out)}


# Bundles and lines of them ------------------------------------------------------------------------------------


@pytest.fixture
def expected(tmp_path):
    people, shared = population(6)
    folder = write_bundles(tmp_path / "expected-in", people, shared)
    _, out = reviewed(tmp_path, folder, name="expected")
    assert len(rows(out)) > 3
    return results(out, SAME)


def entries(resources, kind):
    """Entries as a server writes them for this type of Bundle; a transaction refers by urn:uuid."""
    made = []
    names = {}
    for number, one in enumerate(resources):
        names[f"{one['resourceType']}/{one['id']}"] = (
            f"urn:uuid:00000000-0000-4000-8000-{number:012}"
        )
    for one in resources:
        own = f"{one['resourceType']}/{one['id']}"
        if kind == "transaction":
            text = json.dumps(one)
            for name, urn in names.items():
                text = text.replace(f'"{name}"', f'"{urn}"')
            made.append(
                {
                    "fullUrl": names[own],
                    "resource": json.loads(text),
                    "request": {"method": "POST", "url": one["resourceType"]},
                }
            )
        elif kind == "searchset":
            made.append(
                {
                    "fullUrl": f"https://fhir.example.org/r4/{own}",
                    "resource": one,
                    "search": {"mode": "match"},
                }
            )
        else:
            made.append({"resource": one})
    if kind == "document":
        title = {"resourceType": "Composition", "id": "c", "status": "final", "title": "Summary"}
        made.insert(0, {"resource": title})
    return {"resourceType": "Bundle", "type": kind, "entry": made}


@pytest.mark.parametrize("kind", ["collection", "searchset", "transaction", "document"])
@pytest.mark.parametrize("form", ["one patient each", "all in one", "by line", "by line, zipped"])
def test_every_type_of_bundle_says_the_same(tmp_path, expected, kind, form):
    people, shared = population(6)
    folder = tmp_path / "in"
    folder.mkdir()
    each = {key: entries([*own, *shared], kind) for key, own in people.items()}
    if form == "one patient each":
        for key, made in each.items():
            (folder / f"{key}.json").write_text(json.dumps(made, indent=1))
    elif form == "all in one":
        everything = [*shared, *(one for own in people.values() for one in own)]
        (folder / "all.json").write_bytes(json.dumps(entries(everything, kind)).encode())
    else:
        text = "".join(json.dumps(made) + "\n" for made in each.values()).encode()
        zipped = form.endswith("zipped")
        path = folder / ("lines.ndjson.gz" if zipped else "lines.ndjson")
        path.write_bytes(gzip.compress(text) if zipped else text)
    _, out = reviewed(tmp_path, folder)
    assert results(out, SAME) == expected
    assert not rejects(out)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("shape", ["absolute", "version", "contained", "shared elsewhere"])
def test_references_however_they_are_written(tmp_path, shape, ending):
    """A prescription whose Medication and patient are named in another way is the same prescription."""
    own = [
        patient("ada"),
        *of_each_type("ada"),
        lab("ada", "6301-6", 5.6, "{INR}", 1, taken="2026-11-20"),
    ]
    medicine = {"resourceType": "Medication", "id": "w5", "code": WARFARIN}
    prescribed = request("ada", None, 1)
    del prescribed["medicationCodeableConcept"]
    base = "https://fhir.example.org/r4/"
    lines = [medicine]
    name = "Medication/w5"
    if shape == "absolute":
        name = base + name
        prescribed["subject"] = {"reference": base + "Patient/ada"}
    elif shape == "version":
        name += "/_history/3"
        prescribed["subject"] = {"reference": "Patient/ada/_history/2"}
    elif shape == "contained":
        name, lines = "#w5", []
        prescribed["contained"] = [medicine]
    prescribed["medicationReference"] = {"reference": name}
    folder = tmp_path / "in"
    folder.mkdir()
    by_type = {}
    for one in [*own, prescribed, *lines]:
        by_type.setdefault(one["resourceType"], []).append(json.dumps(one))
    for kind, text in by_type.items():
        data = "\n".join(text).encode()
        (folder / f"{kind}.ndjson{ending}").write_bytes(gzip.compress(data) if ending else data)
    _, out = reviewed(tmp_path, folder)
    assert "vka-inr-high-no-otc-k" in {row["rule"] for row in rows(out)}
    assert not rejects(out)


def test_many_patients_share_a_medication_of_another_file(tmp_path):
    people = {f"p{number:02}": [patient(f"p{number:02}"), *of_each_type(f"p{number:02}"), statement(f"p{number:02}", None, 1, reference="d50")] for number in range(20)}  # fmt: skip
    shared = [
        {
            "resourceType": "Medication",
            "id": "d50",
            "code": {"text": "Vitamin D3 50000 IU capsule daily"},
        }
    ]
    _, out = reviewed(tmp_path, write_lines(tmp_path / "in", people, shared, parts=3))
    assert len({row["patient"] for row in rows(out)}) == 20


# Files that are not whole -------------------------------------------------------------------------------------


def test_what_stands_before_the_cut_of_a_zipped_file_is_read_and_nothing_is_taken_for_absent(
    tmp_path,
):
    folder = tmp_path / "in"
    folder.mkdir()
    keys = [f"p{number:04}" for number in range(3000)]
    whole = "".join(
        json.dumps(request(key, WARFARIN, 1) | {"note": [{"text": key * 9}]}) + "\n" for key in keys
    )
    zipped = gzip.compress(whole.encode(), compresslevel=1)
    (folder / "MedicationRequest.ndjson.gz").write_bytes(zipped[: len(zipped) * 2 // 3])
    (folder / "Patient.ndjson").write_text("".join(json.dumps(patient(key)) + "\n" for key in keys))
    (folder / "MedicationStatement.ndjson").write_text(
        json.dumps(statement("p0001", None, 1, words="Vitamin K2 MK-7 100 mcg daily")) + "\n"
    )
    account, out = reviewed(tmp_path, folder)
    (cut,) = rejects(out)
    assert (cut["file"], cut["code"]) == ("MedicationRequest.ndjson.gz", "file-cut-off")
    read = int(cut["says"].split("its first ")[1].split(" ")[0].replace(",", ""))
    assert read > len(whole) // 2
    assert cut["line"] == pytest.approx(whole.encode()[:read].count(b"\n"), abs=1)
    assert account.told["not_fetched"]["medication-requests"] == "not fetched as a whole"
    assert account.told["patients"]["reviewed"] == len(keys)
    assert "p0001" in {row["patient"] for row in rows(out) if row["rule"].startswith("inr-recheck")}


def test_a_zipped_bundle_that_is_cut_is_a_reject_and_the_others_are_reviewed(tmp_path):
    folder = write_bundles(tmp_path / "in", *population(3))
    text = gzip.compress((folder / "p001.json").read_bytes())
    (folder / "p001.json").unlink()
    (folder / "p001.json.gz").write_bytes(text[:-20])
    account, out = reviewed(tmp_path, folder)
    assert codes(out) == {("p001.json.gz", 0, "file-cut-off")}
    assert account.told["patients"]["in"] == 2


# Standard input -----------------------------------------------------------------------------------------------


def command(data, out, *more):
    arguments = [
        sys.executable,
        "-m",
        "service.cli",
        "review",
        "-",
        "--out",
        str(out),
        "--as-of",
        AS_OF,
    ]
    return subprocess.run([*arguments, "--workers", "1", "--quiet", *more], input=data, capture_output=True, cwd=ROOT, timeout=120, check=False)  # fmt: skip


@pytest.mark.parametrize("form", ["bundle", "lines", "lines of bundles, the first long", "zipped lines", "with a mark at its begin"])  # fmt: skip
def test_standard_input_in_every_form(tmp_path, expected, form):
    people, shared = population(6)
    resources = [*shared, *(one for own in people.values() for one in own)]
    lines = "".join(json.dumps(one) + "\n" for one in resources).encode()
    long = {**bundle([*people["p000"], *shared]), "meta": {"tag": [{"display": "x" * 400_000}]}}
    others = [bundle([*own, *shared]) for key, own in people.items() if key != "p000"]
    data = {
        "bundle": json.dumps(bundle(resources)).encode(),
        "lines": lines,
        "lines of bundles, the first long": "\n".join(
            json.dumps(one) for one in [long, *others]
        ).encode(),
        "zipped lines": gzip.compress(lines),
        "with a mark at its begin": b"\xef\xbb\xbf" + lines,
    }[form]
    done = command(data, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "out", SAME[:2]) == {name: expected[name] for name in SAME[:2]}


def test_empty_standard_input_is_told(tmp_path):
    done = command(b"", tmp_path / "out")
    assert done.returncode == 5
    assert b"empty" in done.stderr


def test_the_command_says_at_its_end_that_something_was_rejected(tmp_path):
    folder = write_bundles(tmp_path / "in", *population(2))
    (folder / "bad.json").write_text("{")
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "review", str(folder), "--out", str(tmp_path / "out"), "--as-of", AS_OF, "--workers", "1"],
        capture_output=True, cwd=ROOT, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 12
    assert b"1 rejects" in done.stdout
    assert io.BytesIO(done.stderr).readlines()


@pytest.mark.parametrize("first", ["Condition", "Observation", "Patient", "Encounter", "Goal"])
def test_a_file_that_begins_with_one_type_and_goes_on_with_others_loses_nothing(tmp_path, first):
    """As ``cat *.ndjson`` makes it: the Medications stand far behind the beginning, and so do later versions."""
    people, shared = population(8)
    whose = {"subject": {"reference": "Patient/p000"}}
    many = [patient(f"x{n}") if first == "Patient" else {"resourceType": first, "id": f"x{n}", **whose} for n in range(150)]  # fmt: skip
    everything = [*(one for own in people.values() for one in own), *shared]
    later = next(one for one in people["p001"] if one.get("code", {}).get("coding", [{}])[0].get("code") == "1989-3")  # fmt: skip
    later["meta"] = {"lastUpdated": "2026-11-01T00:00:00Z"}
    corrected = later | {"code": coded(LOINC, "8480-6"), "meta": {"lastUpdated": "2026-11-02T00:00:00Z"}}  # fmt: skip
    folder = tmp_path / "in"
    folder.mkdir()
    # A reference may name the type of the patient: that makes it no Patient
    text = "".join(
        json.dumps(one, separators=(",", ":")) + "\n" for one in [*many, *everything, corrected]
    )
    (folder / "all.ndjson").write_text(
        text.replace('{"reference":"Patient/', '{"type":"Patient","reference":"Patient/')
    )
    apart = write_lines(tmp_path / "apart", {"all": [*many, *everything, corrected]}, [])
    Run(tmp_path / "whole").review([folder], options())
    Run(tmp_path / "whole-2").review([folder], options(sieve=False))
    Run(tmp_path / "apart-out").review([apart], options())
    told = results(tmp_path / "whole", ["DetectedIssue.ndjson", "recommendations.csv"])
    assert told == results(tmp_path / "apart-out", ["DetectedIssue.ndjson", "recommendations.csv"])
    assert told == results(tmp_path / "whole-2", ["DetectedIssue.ndjson", "recommendations.csv"])
    assert "dq-supplement-dose-unknown" in {row["rule"] for row in rows(tmp_path / "whole")}
    account = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert (account["outdated"], account["inputs"][0]["type"]) == (1, "mixed")
