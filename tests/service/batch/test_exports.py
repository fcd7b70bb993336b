"""Folders with traps, and what exporters leave: manifests, deletions, errors, links to what is current."""

import json
import os
import socket
from pathlib import Path

import pytest

from rules.errors import RequestError
from tests.service.batch.people import (
    AS_OF,
    WARFARIN,
    bundle,
    of_each_type,
    patient,
    population,
    request,
    statement,
    write_bundles,
    write_lines,
)
from tests.service.batch.test_inputs import codes, reviewed
from tests.service.batch.test_review import rejects, rows

ROOT = Path(__file__).parents[3]


# Folders with traps -------------------------------------------------------------------------------------------


def test_links_out_of_the_folder_and_pipes_are_rejects_and_never_waited_for(tmp_path):
    folder = write_bundles(tmp_path / "in", *population(2))
    sibling = tmp_path / "in-secret"
    sibling.mkdir()
    (sibling / "other.json").write_text(json.dumps(bundle([patient("secret")])))
    (folder / "sibling.json").symlink_to(sibling / "other.json")
    (folder / "folder.ndjson").symlink_to(sibling)
    (folder / "more").symlink_to(sibling)
    (folder / "nowhere.json").symlink_to(folder / "gone.json")
    (folder / "loop.json").symlink_to(folder / "loop.json")
    (folder / "again.json").symlink_to("p000.json")
    os.mkfifo(folder / "pipe.ndjson")
    listening = socket.socket(socket.AF_UNIX)
    os.chdir(folder)  # names of sockets are short
    listening.bind("sock.json")
    os.chdir(ROOT)
    account, out = reviewed(tmp_path, folder)
    listening.close()
    refused = {
        "sibling.json",
        "folder.ndjson",
        "more",
        "nowhere.json",
        "loop.json",
        "pipe.ndjson",
        "sock.json",
    }
    assert codes(out) == {(name, 0, "no-plain-file") for name in refused}
    assert account.told["patients"]["in"] == 2
    assert "secret" not in (out / "recommendations.csv").read_text()


def test_a_pipe_given_by_name_is_refused_with_what_to_do(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RequestError, match="standard input"):
        reviewed(tmp_path, tmp_path / "pipe")


def test_a_manifest_cannot_name_files_beside_its_folder(tmp_path):
    folder = write_lines(
        tmp_path / "export", {"ada": [patient("ada"), *of_each_type("ada")]}, [], parts=1
    )
    sibling = tmp_path / "export-secret"
    sibling.mkdir()
    (sibling / "Patient.ndjson").write_text(json.dumps(patient("secret")) + "\n")
    output = [
        {"type": "Patient", "url": url}
        for url in (
            "../export-secret/Patient.ndjson",
            f"file://{sibling}/Patient.ndjson",
            "https://x/..%2fexport-secret%2fPatient.ndjson",
        )
    ]
    (folder / "manifest.json").write_text(
        json.dumps({"transactionTime": AS_OF, "request": "https://x/$export", "output": output})
    )
    account, out = reviewed(tmp_path, folder / "manifest.json")
    assert {code for _, _, code in codes(out)} == {"manifest-file-missing"}
    assert account.told["patients"]["in"] == 0


def test_the_same_names_in_two_folders_stay_apart(tmp_path):
    one = write_bundles(tmp_path / "north" / "export", {"ada": [patient("ada")]}, [])
    two = write_bundles(tmp_path / "south" / "import", {"ada": [patient("ben")]}, [])
    (two / "ada.json").write_text("nonsense")
    account, out = reviewed(tmp_path, one, two)
    assert [one["file"] for one in account.told["inputs"]] == ["export/ada.json", "import/ada.json"]
    assert codes(out) == {("import/ada.json", 0, "not-json")}


# Exports ------------------------------------------------------------------------------------------------------


def export(tmp_path, name, moment, resources, *, deleted=(), errors=(), more=None):
    folder = tmp_path / name
    folder.mkdir(parents=True)
    output = []
    by_type = {}
    for one in resources:
        by_type.setdefault(one["resourceType"], []).append(json.dumps(one))
    for kind, lines in by_type.items():
        (folder / f"{kind}.ndjson").write_text("\n".join(lines) + "\n")
        output.append({"type": kind, "url": f"https://x/bulk/{kind}.ndjson", "count": len(lines)})
    manifest = {"transactionTime": moment, "request": "https://x/$export", "output": output}
    for part, lines in (("deleted", deleted), ("error", errors)):
        if lines:
            (folder / f"{part}.ndjson").write_text("\n".join(json.dumps(one) for one in lines))
            manifest[part] = [
                {
                    "type": "Bundle" if part == "deleted" else "OperationOutcome",
                    "url": f"https://x/bulk/{part}.ndjson",
                }
            ]
    (folder / "manifest.json").write_text(json.dumps(manifest | (more or {})))
    return folder


def deletion(*names):
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"request": {"method": "DELETE", "url": one}} for one in names],
    }


def somebody(key="ada", updated=""):
    own = [
        patient(key),
        *of_each_type(key),
        request(key, WARFARIN, 1),
        statement(key, None, 1, words="Vitamin K2 MK-7 100 mcg daily", start="2026-05-10"),
    ]
    return [one | ({"meta": {"lastUpdated": updated}} if updated else {}) for one in own]


def rules_of(out, key="ada"):
    return {
        row["rule"] for row in rows(out) if row["patient"] == key and row["rule"].startswith("vka")
    }


def test_what_a_later_export_deleted_leaves_the_review(tmp_path):
    monday = export(
        tmp_path, "monday", "2026-11-20T00:00:00Z", [*somebody("ada"), *somebody("ben")]
    )
    _, before = reviewed(tmp_path, monday, name="before")
    assert rules_of(before)
    tuesday = export(
        tmp_path,
        "tuesday",
        "2026-11-21T00:00:00Z",
        [],
        deleted=[deletion("MedicationStatement/ada-s1"), deletion("Patient/ben")],
    )
    account, after = reviewed(tmp_path, monday, tuesday, name="after")
    assert not rules_of(after)
    assert account.told["deletions"] == {"listed": 2, "applied": 2}
    assert account.told["patients"]["in"] == 1
    assert not rejects(after)


def test_what_was_made_anew_after_its_deletion_stays(tmp_path):
    monday = export(
        tmp_path,
        "monday",
        "2026-11-20T00:00:00Z",
        somebody("ada", "2026-11-19T00:00:00Z"),
        deleted=[deletion("MedicationStatement/ben-s1")],
    )
    old = export(
        tmp_path,
        "old",
        "2026-11-01T00:00:00Z",
        [],
        deleted=[deletion("MedicationStatement/ada-s1")],
    )
    account, out = reviewed(tmp_path, monday, old)
    assert rules_of(out)
    assert account.told["deletions"] == {"listed": 2, "applied": 0}


@pytest.mark.parametrize("updated", ["2026-11-01T00:00:00Z", "2026-11-21T00:00:00Z"])
def test_a_shared_medication_can_be_deleted_and_made_anew(tmp_path, updated):
    own = [patient("ada"), *of_each_type("ada"), statement("ada", None, 1, reference="d")]
    shared = {
        "resourceType": "Medication",
        "id": "d",
        "meta": {"lastUpdated": updated},
        "code": {"text": "Vitamin D3 50000 IU daily"},
    }
    folder = export(
        tmp_path,
        "export",
        "2026-11-20T00:00:00Z",
        [*own, shared],
        deleted=[deletion("Medication/d")],
    )
    _, out = reviewed(tmp_path, folder)
    gone = {row["rule"] for row in rows(out)} <= {"vitd-empiric-supplement"}
    assert gone == (updated < "2026-11-20")


def test_errors_of_the_exporter_are_told(tmp_path):
    def outcome(severity):
        return {
            "resourceType": "OperationOutcome",
            "issue": [{"severity": severity, "code": "exception"}],
        }

    quiet = export(tmp_path, "quiet", AS_OF, somebody(), errors=[outcome("information")])
    _, out = reviewed(tmp_path, quiet, name="a")
    assert not rejects(out)
    loud = export(
        tmp_path,
        "loud",
        AS_OF,
        somebody(),
        errors=[outcome("error"), outcome("warning"), outcome("fatal")],
    )
    _, out = reviewed(tmp_path, loud, name="b")
    assert codes(out) == {("error.ndjson", 0, "export-errors")}
    assert "(2)" in rejects(out)[0]["says"]


def test_a_file_shorter_than_promised_is_not_taken_for_whole(tmp_path):
    folder = export(tmp_path, "export", AS_OF, somebody())
    lines = (folder / "MedicationRequest.ndjson").read_text().splitlines(keepends=True)
    (folder / "MedicationRequest.ndjson").write_text("".join(lines[:-1]))
    account, out = reviewed(tmp_path, folder)
    assert {code for _, _, code in codes(out)} == {"incomplete-file"}
    assert account.told["not_fetched"]["medication-requests"] == "not fetched as a whole"


def fetched(tmp_path):
    """A folder as smart-fetch leaves it: exports in subfolders, links to what is current, a log in each."""
    top = tmp_path / "fetched"
    first = export(
        top, "001.2026-11-01", "2026-11-01T00:00:00Z", [*somebody("ada"), *somebody("old")]
    )
    second = export(
        top, "002.2026-11-10", "2026-11-10T00:00:00Z", [*somebody("ada"), *somebody("ben")]
    )
    third = export(top, "003.2026-11-20", "2026-11-20T00:00:00Z", [])
    for folder, moment in ((first, "2026-11-01"), (second, "2026-11-10"), (third, "2026-11-20")):
        (folder / "manifest.json").unlink()
        event = {
            "exportId": "x",
            "eventId": "status_complete",
            "eventDetail": {"transactionTime": f"{moment}T00:00:00Z"},
        }
        (folder / "log.ndjson").write_text(
            json.dumps({"eventId": "kickoff"}) + "\n" + json.dumps(event) + "\n"
        )
    (third / "deleted").mkdir()
    (third / "deleted" / "MedicationStatement.ndjson").write_text(
        json.dumps(deletion("MedicationStatement/ben-s1")) + "\n"
    )
    (top / ".metadata").write_text("{}")
    for path in second.glob("*.ndjson"):
        if path.name != "log.ndjson":
            (top / f"{path.stem}.001.ndjson").symlink_to(path.relative_to(top))
    return top


def test_the_folder_of_smart_fetch_is_read_by_its_links_and_deletions(tmp_path):
    account, out = reviewed(tmp_path, fetched(tmp_path))
    assert not rejects(out)
    assert account.told["patients"]["in"] == 2  # nobody of the export that a later one replaced
    assert rules_of(out, "ada")
    assert not rules_of(out, "ben")


def test_a_deletion_without_a_moment_is_told_and_not_applied(tmp_path):
    top = fetched(tmp_path)
    (top / "003.2026-11-20" / "log.ndjson").unlink()
    _, out = reviewed(tmp_path, top)
    assert {code for _, _, code in codes(out)} == {"deletion-without-moment"}
    assert rules_of(out, "ben")
