"""The manifest of an export: what it promises is compared with what is there, and what it found empty counts as read."""

import json

import pytest

from rules.errors import RequestError
from service.batch.run import Run
from service.documents import TYPES_OF_SOURCE
from tests.service.batch.people import population, write_lines
from tests.service.batch.test_review import options, rejects


def export(tmp_path, **more):
    people, shared = population(4)
    folder = write_lines(tmp_path / "in", people, shared, parts=1)
    output = [
        {
            "type": path.name.partition(".")[0],
            "url": f"https://fhir.example.org/bulk/{path.name}",
            "count": len(path.read_text().splitlines()),
        }
        for path in sorted(folder.iterdir())
    ]
    manifest = {
        "transactionTime": "2026-11-22T12:00:00Z",
        "request": "https://fhir.example.org/$export?_type=Patient,NutritionIntake",
        "output": output,
        "error": [],
    }
    manifest |= more
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder, manifest


def test_a_complete_export_needs_no_moment_and_an_empty_type_counts_as_read(tmp_path):
    folder, _ = export(tmp_path)
    (folder / "Goal.000.ndjson").unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["output"] = [one for one in manifest["output"] if one["type"] != "Goal"]
    manifest["request"] += ",Goal"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    account = Run(tmp_path / "out").review([folder / "manifest.json"], options(as_of=""))
    assert account.told["as_of"] == "2026-11-22T12:00:00Z"
    assert account.told["not_fetched"] == {}
    assert not rejects(tmp_path / "out")


def test_without_the_type_in_the_request_it_was_not_fetched(tmp_path):
    folder, _ = export(tmp_path)
    (folder / "Goal.000.ndjson").unlink()
    (folder / "manifest.json").unlink()
    account = Run(tmp_path / "out").review([folder], options())
    assert account.told["not_fetched"] == {"goals": "not fetched"}
    with pytest.raises(RequestError, match="--as-of"):
        Run(tmp_path / "other").review([folder], options(as_of=""))


def test_lines_and_files_that_are_promised_and_missing_are_rejects(tmp_path):
    folder, manifest = export(tmp_path)
    lines = (folder / "Condition.000.ndjson").read_text().splitlines(keepends=True)
    (folder / "Condition.000.ndjson").write_text("".join(lines[:-1]))
    manifest["output"].append(
        {"type": "Procedure", "url": "https://fhir.example.org/bulk/more.ndjson"}
    )
    (folder / "manifest.json").write_text(json.dumps(manifest))
    Run(tmp_path / "out").review([folder], options())
    assert {(one["file"], one["code"]) for one in rejects(tmp_path / "out")} == {
        ("manifest.json", "manifest-file-missing"),
        ("Condition.000.ndjson", "incomplete-file"),
    }


@pytest.mark.parametrize("narrowed", ["_since", "_typeFilter", "_elements"])
def test_an_export_of_a_part_counts_as_not_read_and_says_so(tmp_path, narrowed):
    folder, manifest = export(tmp_path)
    manifest["request"] += f"&{narrowed}=2026-11-19T02:00:00Z"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    account = Run(tmp_path / "out").review([folder], options())
    assert set(account.told["not_fetched"]) == set(TYPES_OF_SOURCE)
    (reject,) = rejects(tmp_path / "out")
    assert (reject["file"], reject["code"]) == ("manifest.json", "partial-export")
    assert narrowed in reject["says"]
