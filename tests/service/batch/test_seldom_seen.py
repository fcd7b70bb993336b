"""What a run seldom meets: inputs that are nearly right, contradictions on the command line, patients that break it."""

import errno
import json
import os
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from rules.errors import EngineError, KnowledgeError, RequestError
from service.batch import parquet, reviewing, shards, untriggered, workshop
from service.batch.comparing import told, write_difference
from service.batch.copies import Copies
from service.batch.deletions import read_deletions
from service.batch.inputs import Source
from service.batch.medications import Shelf
from service.batch.notes import Watched, notebook, notes_in
from service.batch.outputs import COLUMNS
from service.batch.planning import refuse_changed
from service.batch.reviewing import Reviewer
from service.batch.run import Run, _stoppable
from service.batch.shards import Form, Record, ShardReader, ShardWriter, shard_of
from service.batch.tables import write_tables
from service.batch.untriggered import measures_of
from service.batch.values import Interrupted, OutputRefused, ScanReport, ShardReport
from service.batch.what_if import review_apart
from tests.service.batch.people import (
    WARFARIN,
    bundle,
    coded,
    lab,
    patient,
    population,
    request,
    write_bundles,
    write_lines,
)
from tests.service.batch.test_inputs import codes, reviewed
from tests.service.batch.test_refusals import said
from tests.service.batch.test_review import options, rejects, results, rows
from tests.service.batch.test_untriggered import ENGINE, VITAMIN_D

LATER = {"meta": {"lastUpdated": "2026-11-02T08:00:00Z"}}
EARLIER = {"meta": {"lastUpdated": "2026-11-01T08:00:00Z"}}


def line_of(resource, key="ada", number=0):
    return Record(key, Form.LINE, 0, 0, number, json.dumps(resource).encode())


# The command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "give a PATH"),
        (["in", "--store"], "--store needs --client"),
        (["in", "--client", "developer", "--profile", "nam-2011"], "which --profile and"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path, given, says):
    code, answer = said(*given, "--out", tmp_path / "out")
    assert code == 2
    assert says in " ".join(answer.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_a_store_is_needed_to_keep_results_and_none_to_review_as_a_client(tmp_path, monkeypatch):
    monkeypatch.setenv("DEKACARD_DEV", "true")
    monkeypatch.delenv("DEKACARD_STORE_URL", raising=False)
    folder = write_bundles(tmp_path / "in", *population(2))
    code, answer = said(folder, "--out", tmp_path / "a", "--client", "developer", "--store")
    assert code == 1
    assert "DEKACARD_STORE_URL" in answer
    code, answer = said(folder, "--out", tmp_path / "b", "--client", "developer")
    assert code == 0, answer
    assert rows(tmp_path / "b")


def test_a_band_profile_that_is_none_is_refused_with_those_there_are(tmp_path):
    folder = write_bundles(tmp_path / "in", *population(1))
    with pytest.raises(RequestError, match=r"no band profile 'nobody'. Known: .*nam-2011"):
        Run(tmp_path / "out").review([folder], options(profile="nobody"))


def test_other_packs_that_cannot_be_used_are_told_by_the_other_process(tmp_path):
    folder = write_bundles(tmp_path / "in", *population(1))
    with pytest.raises(KnowledgeError, match="nonsense"):
        review_apart(
            [folder], tmp_path / "out", options(packs=("nonsense",)), workers=1, quiet=True
        )


@pytest.mark.parametrize(
    ("number", "raised"), [(errno.ENOSPC, Interrupted), (errno.EDQUOT, Interrupted), (errno.EBADF, OSError)]
)  # fmt: skip
def test_no_room_is_an_interruption_and_a_fault_of_ours_is_not(number, raised):
    with pytest.raises(raised) as caught, _stoppable():
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is raised


# Copies of what can be read once only -----------------------------------------------------------------------------


def test_a_copy_that_an_interrupted_run_made_is_not_made_again(tmp_path):
    query = """SELECT '{"resourceType":"Patient","id":"ada"}' AS anything"""
    (made,) = Copies(tmp_path, resume=False).of([], [query])
    assert json.loads(made.read_bytes()) == {"resourceType": "Patient", "id": "ada"}
    assert Copies(tmp_path, resume=True).of([], ["nonsense"]) == [made]
    made.unlink()
    assert Copies(tmp_path, resume=True).of([], [query]) == [made]
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(OutputRefused, match="another run"):
        Copies(tmp_path, resume=False).of([], [query])


# Inputs that are nearly right -------------------------------------------------------------------------------------


def test_a_path_that_is_not_there_or_has_no_readable_name_is_refused(tmp_path):
    with pytest.raises(RequestError, match="no such file"):
        reviewed(tmp_path, tmp_path / "gone.json")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.json"))
    odd.write_text(json.dumps(bundle([patient("ada")])))
    with pytest.raises(RequestError, match="not UTF-8"):
        reviewed(tmp_path, odd)


def test_what_is_no_data_is_passed_over_and_a_link_to_a_folder_is_told(tmp_path):
    folder = write_bundles(tmp_path / "in", *population(1))
    os.mkfifo(folder / "pipe.txt")
    (folder / "inner").mkdir()
    (folder / "link").symlink_to(folder / "inner")
    _, out = reviewed(tmp_path, folder)
    (told_,) = rejects(out)
    assert (told_["file"], told_["code"]) == ("link", "no-plain-file")
    assert "such links are not followed" in told_["says"]


def test_a_document_that_only_looks_like_a_manifest_is_read_as_data(tmp_path):
    folder = write_bundles(tmp_path / "in", *population(1))
    (folder / "table.json").write_text('{"output": [], "resourceType": "Binary"}')
    (folder / "cut.json").write_text('{"output": [')
    _, out = reviewed(tmp_path, folder)
    assert codes(out) == {("cut.json", 0, "not-json")}


def test_a_manifest_with_an_entry_that_is_none_is_told_and_followed_for_the_others(tmp_path):
    folder = write_lines(tmp_path / "in", *population(2), parts=1)
    named = [{"type": path.name.partition(".")[0], "url": path.name} for path in folder.iterdir()]
    for name, more in (("plain", []), ("odd", ["nothing"])):
        manifest = {"transactionTime": "2026-11-22T12:00:00Z", "output": [*more, *named]}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        reviewed(tmp_path, folder / "manifest.json", name=name)
    found, fewer = ({row["rule"] for row in rows(tmp_path / name)} for name in ("plain", "odd"))
    assert set() < fewer < found, "what rests on an absence is not said"
    assert not codes(tmp_path / "plain")
    assert codes(tmp_path / "odd") == {("manifest.json", 0, "manifest-file-missing")}


def test_single_resources_of_no_concern_are_no_rejects(tmp_path):
    folder = write_bundles(tmp_path / "in", *population(1))
    medication = {"resourceType": "Medication", "id": "m", "code": {"text": "Vitamin D3"}}
    ward = {"resourceType": "Location", "id": "ward"}
    nobodys = {
        "resourceType": "MedicationRequest",
        "id": "r",
        "medicationCodeableConcept": WARFARIN,
    }
    (folder / "m.json").write_text(json.dumps(medication))
    (folder / "ward.json").write_text(json.dumps(ward))
    (folder / "wards.json").write_text(
        json.dumps(bundle([ward, patient("ada"), patient("ben"), nobodys]))
    )
    (folder / "mixed.ndjson").write_text(f"{json.dumps(ward)}\n{json.dumps(medication)}\n")
    _, out = reviewed(tmp_path, folder)
    assert codes(out) == {("wards.json", 0, "no-patient")}


def test_lists_of_deletions_say_which_line_is_none(tmp_path):
    def deleting(method, url):
        entry = {"request": {"method": method, "url": url}}
        return json.dumps({"resourceType": "Bundle", "entry": [entry]})

    lines = ["", "{", "[]", '{"resourceType": "Patient"}', deleting("PUT", "Patient/b"), deleting("DELETE", "Patient/a")]  # fmt: skip
    (tmp_path / "deleted.ndjson").write_text("\n".join(lines) + "\n")
    bad = []
    found = read_deletions(
        [(tmp_path / "deleted.ndjson", "deleted.ndjson", "2026-11-01T00:00:00Z")], bad
    )
    assert list(found.listed) == ["Patient/a"]
    assert [(one.line, one.code) for one in bad] == [(n, "no-deletion") for n in (2, 3, 4)]
    gone = []
    assert not read_deletions([(tmp_path / "none", "none", "")], gone).listed
    assert [one.code for one in gone] == ["file-cut-off"]


def test_of_a_medication_the_later_version_counts_whichever_comes_first():
    old, new = (
        {"resourceType": "Medication", "id": "m", "code": {"text": words}} for words in "ab"
    )
    for first, second in ((old | EARLIER, new | LATER), (new | LATER, old | EARLIER)):
        shelf = Shelf(resources={})
        for one in (first, {"resourceType": "Medication"}, second):
            shelf.add(one)
        assert [shelf.view().get("Medication/m")["code"]["text"]] == ["b"]
        assert len(shelf.resources) == 1


def test_a_source_that_changed_after_it_was_planned_is_refused(tmp_path):
    file = tmp_path / "one.json"
    file.write_text("{}")
    state = file.stat()
    planned = Source(path=str(file), name="one.json", size=state.st_size, changed=state.st_mtime_ns, form="document")  # fmt: skip
    refuse_changed([planned])
    file.write_text("{ }")
    with pytest.raises(RequestError, match=r"one\.json changed"):
        refuse_changed([planned])
    file.unlink()
    with pytest.raises(RequestError, match=r"one\.json vanished"):
        refuse_changed([planned])


def test_a_code_without_a_system_measures_nothing():
    vocabulary = ENGINE.rulebook.vocabulary
    result = lab("ada", VITAMIN_D, 9, "ng/mL", 1)
    (known,) = measures_of(result, vocabulary)
    del result["code"]["coding"][0]["system"]
    assert measures_of(result, vocabulary) == set()
    result["component"] = [{"code": coded("http://loinc.org", "0-0")}, lab("ada", VITAMIN_D, 9, "", 2)]  # fmt: skip
    assert measures_of(result, vocabulary) == {known}


# Patients that break it -------------------------------------------------------------------------------------------


class Broken:
    """An engine that evaluates nobody."""

    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def assess(self, *_, **__):
        raise EngineError("broken")


def reviewer(engine=ENGINE):
    kinds = {"Patient", "MedicationRequest"}
    return Reviewer(
        engine, options(sieve=False), ["all.ndjson"], {}, kinds, {"diet": "not fetched"}
    )


@pytest.mark.parametrize("noted", [True, False])
def test_a_patient_who_is_set_aside_is_named_and_never_reviewed(tmp_path, noted):
    who, report, touched = reviewer(), ShardReport(), []
    who.aside, who.tell = frozenset({"bob"}), touched.append
    people = [
        (key, [line_of(patient(key), key), line_of(request(key, WARFARIN, 1), key, 1)])
        for key in ("ada", "bob")
    ]
    with notebook(tmp_path / "notes", Watched()) as notes:
        who.notebook = notes if noted else None
        list(who.review_all(people, report))
    assert touched == ["ada"]
    assert report.patients == 2
    assert [one.code for one in report.rejects] == ["worker-crashed"]
    failed = [one.patient for one in notes_in(tmp_path / "notes") if one.error]
    assert failed == (["bob"] if noted else [])


@pytest.mark.parametrize("noted", [True, False])
def test_a_patient_whom_the_engine_refuses_is_a_reject_and_a_failure_of_the_record(tmp_path, noted):
    who, report = reviewer(Broken(ENGINE)), ShardReport()
    with notebook(tmp_path / "notes", Watched()) as notes:
        who.notebook = notes if noted else None
        records = [line_of(patient("ada")), line_of(request("ada", WARFARIN, 1), number=1)]
        assert who.review_patient("ada", records, report) is None
    assert [one.code for one in report.rejects] == ["engine"]
    assert report.reviewed == 0
    assert [one.error for one in notes_in(tmp_path / "notes")] == ["engine-fault"] * noted


# What is kept between two steps -----------------------------------------------------------------------------------


def test_records_that_are_written_in_parts_come_back_in_order_and_damage_is_noticed(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(shards, "_SPILL_BYTES", 300)
    writer = ShardWriter(tmp_path / "task", 1)
    given = [Record(f"p{number}", Form.LINE, 0, 0, number, b"x" * 50) for number in range(40)]
    for one in given:
        writer.add(one)
        assert writer._bytes < 300, "memory is bounded"
    writer.finish(ScanReport())
    assert list(ShardReader(tmp_path / "task").records(shard_of("p0", 1))) == given
    body = bytearray((tmp_path / "task").read_bytes())
    body[-40] ^= 1
    (tmp_path / "task").write_bytes(body)
    with pytest.raises(ValueError, match="task is damaged"):
        ShardReader(tmp_path / "task")


def test_nobody_is_watched_where_nothing_was_written(tmp_path):
    assert "ada" not in Watched.read(tmp_path / "none")
    (tmp_path / "some").write_bytes(Watched.of(["ada"]).to_bytes())
    assert "ada" in Watched.read(tmp_path / "some")


def test_rows_that_fill_a_group_are_written_at_once_and_none_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ROWS", 2)
    made = parquet.ParquetRows(tmp_path / "t.parquet")
    for number in range(5):
        made.add({name: [] if name in {"sources", "missing"} else str(number) for name in COLUMNS})
    made.close()
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 3
    assert pq.read_table(tmp_path / "t.parquet")["patient"].to_pylist() == list("01234")


@pytest.mark.parametrize(
    ("module", "room"),
    [(untriggered, "_MOST_REMEMBERED"), (reviewing, "_MOST_TRAITS"), (workshop, "_MOST_BLOCKS_KEPT")],
)  # fmt: skip
def test_with_no_room_to_remember_results_are_the_same(tmp_path, monkeypatch, module, room):
    people = {key: [patient(key), lab(key, "17861-6", 9.1, "mg/dL", 1)] for key in ("ada", "ben")}
    folder = write_lines(tmp_path / "in", people, [])
    Run(tmp_path / "a").review([folder], options())
    monkeypatch.setattr(module, room, 0)
    Run(tmp_path / "b").review([folder], options())
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_a_run_about_which_there_is_nothing_to_say_makes_empty_tables_and_no_difference(tmp_path):
    folder = write_bundles(tmp_path / "in", {"ada": [patient("ada")]}, [])
    for name in ("a", "b"):
        Run(tmp_path / name).review([folder], options())
    assert not rows(tmp_path / "a")
    difference = write_difference(tmp_path / "a", tmp_path / "b", tmp_path / "changes")
    assert list(told(difference)) == ["Nothing differs."]
    write_tables(tmp_path / "a", tmp_path / "t.duckdb")
    with duckdb.connect(str(tmp_path / "t.duckdb"), read_only=True) as opened:
        assert opened.execute("SELECT count(*) FROM firings").fetchall() == [(0,)]
