"""A population comes out the same through every door, in any order, with any number of workers."""

import csv
import json
from pathlib import Path

import msgspec
import pytest

from service.alerts.folding import fold
from service.batch.answers import MEASURED
from service.batch.run import Run
from service.batch.values import Options, OutputRefused
from service.documents import cases_in
from service.explaining import explanation_of, read_moment
from service.settings import Settings
from tests.service.batch.people import (
    AS_OF,
    WARFARIN,
    bundle,
    patient,
    population,
    request,
    statement,
    write_bundles,
    write_lines,
)

RESULTS = [
    "DetectedIssue.ndjson",
    "recommendations.csv",
    "recommendations.parquet",
    "gaps.ndjson",
    "failures.ndjson",
    "rejects.ndjson",
    "run.json",
]


def options(**given):
    usual = {
        "as_of": AS_OF,
        "profile": "nam-2011",
        "verbosity": "standard",
        "engine": "compiled",
        "zone": "UTC",
        "validation": "suspicious",
    }
    return Options(**usual | given)


def results(out, names=RESULTS):
    return {name: (out / name).read_bytes() for name in names}


def rows(out):
    with (out / "recommendations.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def rejects(out):
    return [json.loads(line) for line in (out / "rejects.ndjson").read_text().splitlines()]


def test_lines_bundles_and_hook_calls_say_the_same(tmp_path):
    people, shared = population()
    lines = write_lines(tmp_path / "lines", people, shared)
    bundles = write_bundles(tmp_path / "bundles", people, shared)
    Run(tmp_path / "a").review([lines], options())
    Run(tmp_path / "b").review([bundles], options())
    assert len(rows(tmp_path / "a")) > len(people)
    same = ["DetectedIssue.ndjson", "recommendations.csv", "recommendations.parquet"]
    assert results(tmp_path / "a", same) == results(tmp_path / "b", same)
    told = [(row["patient"], row["rule"], row["summary"]) for row in rows(tmp_path / "a")]
    assert told == list(alone(people, lambda own: bundle([*own, *shared])))
    assert told == list(alone(people, lambda own: hook_call(own, shared)))


KEYS = {
    "medicationStatements": "MedicationStatement",
    "medicationRequests": "MedicationRequest",
    "vitaminD": "Observation",
    "inr": "Observation",
    "minerals": "Observation",
    "kidney": "Observation",
    "conditions": "Condition",
    "procedures": "Procedure",
    "goals": "Goal",
    "serviceRequests": "ServiceRequest",
    "nutrition": "NutritionIntake",
}


def hook_call(own, shared):
    """The same record as an EHR sends it when the chart is opened."""
    everything = [*own, *shared]
    found = {
        key: bundle(
            [one for one in everything if one["resourceType"] in {kind, "Medication"}], "searchset"
        )
        for key, kind in KEYS.items()
    }
    return {
        "hook": "patient-view",
        "hookInstance": "0c6b8a6e-6d2f-4a53-9d0e-000000000001",
        "context": {"userId": "Practitioner/p", "patientId": own[0]["id"]},
        "prefetch": {"patient": own[0], **found},
    }


def alone(people, document):
    from service.bootstrap import build_engine
    from service.explanation import Explainer

    settings = Settings.read()
    engine = build_engine(settings)
    explainer = Explainer(engine.rulebook)
    for own in people.values():
        for case in cases_in(document(own), settings):
            told = explanation_of(case, read_moment(AS_OF), engine, explainer, settings)
            for one in told["recommendations"]:
                yield case.patient_id, one["rule"], one["summary"]


def test_what_a_run_counts_besides_leaves_every_answer_as_it_is():
    from service.bootstrap import build_engine
    from service.review import review

    settings = Settings.read()
    engine = build_engine(settings)
    asked = 0
    for path in sorted((Path(__file__).parents[2] / "acceptance" / "cases").glob("V*.json")):
        (case,) = cases_in(json.loads(path.read_text())["request"], settings)
        plain = review(case, read_moment(AS_OF), engine)
        counting = msgspec.structs.replace(case, asked=MEASURED)
        measured = review(counting, read_moment(AS_OF), engine)
        assert fold(measured.assessment, measured.facts) == fold(plain.assessment, plain.facts), (
            path.stem
        )
        asked += any(one.name in MEASURED for one in measured.assessment.findings)
    assert asked > 20


@pytest.mark.parametrize("engine", ["compiled", "durable"])
def test_workers_engine_and_order_do_not_show(tmp_path, engine):
    people, shared = population(9)
    one = write_lines(tmp_path / "lines", people, shared, seed=1)
    Run(tmp_path / "a").review([one], options())
    Run(tmp_path / "b", workers=2).review([one], options(engine=engine))
    assert results(tmp_path / "a") == results(tmp_path / "b")
    other = write_lines(tmp_path / "other", people, shared, parts=3, seed=2)
    Run(tmp_path / "c").review([other], options())
    shown = [name for name in RESULTS if name != "run.json"]
    assert results(tmp_path / "a", shown) == results(tmp_path / "c", shown)


def test_a_bad_line_is_a_reject_with_its_place_and_never_stops_the_run(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    good = [request("a", WARFARIN, 1), request("b", WARFARIN, 1)]
    broken = json.dumps(request("c", WARFARIN, 2))[:-2]
    twice = json.dumps(request("a", WARFARIN, 3)).replace(
        '"status"', '"status": "stopped", "status"'
    )
    nobody = {**request("x", WARFARIN, 4), "subject": {"display": "Ada Example"}}
    lines = [
        json.dumps(good[0]),
        "",
        broken,
        twice,
        json.dumps(nobody),
        json.dumps(good[1]),
        "[1]",
        "nonsense",
    ]
    (folder / "MedicationRequest.ndjson").write_text("\n".join(lines))
    (folder / "Patient.ndjson").write_text("".join(json.dumps(patient(k)) + "\n" for k in "abc"))
    Run(tmp_path / "out").review([folder], options())
    told = {(one["line"], one["code"], one.get("patient")) for one in rejects(tmp_path / "out")}
    assert told == {
        (3, "not-json", "c"),
        (4, "not-strict-json", "a"),
        (5, "no-patient", None),
        (7, "no-resource", None),
        (8, "not-json", None),
    }
    assert "Ada" not in (tmp_path / "out" / "rejects.ndjson").read_text()
    gaps = [
        json.loads(line) for line in (tmp_path / "out" / "gaps.ndjson").read_text().splitlines()
    ]
    unread = {(one["patient"], one["source"]) for one in gaps if "a line could not" in one["says"]}
    assert unread == {("a", "medication-requests"), ("c", "medication-requests")}


def test_line_numbers_count_from_the_beginning_of_the_file(tmp_path, monkeypatch):
    from service.batch import inputs

    monkeypatch.setattr(inputs, "STRETCH_BYTES", 1000)
    monkeypatch.setattr(inputs.tasks_of, "__defaults__", (1000,))
    lines = [json.dumps(request(f"k{number}", WARFARIN, 1)) for number in range(40)]
    lines[33] = "nonsense"
    (tmp_path / "MedicationRequest.ndjson").write_text("\n".join(lines) + "\n")
    account = Run(tmp_path / "out").review([tmp_path / "MedicationRequest.ndjson"], options())
    assert [one["line"] for one in rejects(tmp_path / "out")] == [34]
    assert account.told["patients"]["in"] == 39


def test_formulas_in_a_table_stay_text(tmp_path):
    own = [patient("=cmd|x"), statement("=cmd|x", None, 1, words="Vitamin D3 50000 IU daily")]
    path = tmp_path / "one.json"
    path.write_text(json.dumps(bundle(own)))
    Run(tmp_path / "out").review([path], options())
    assert rows(tmp_path / "out")
    assert all(row["patient"] == "'=cmd|x" for row in rows(tmp_path / "out"))


def test_a_folder_with_results_is_not_written_again(tmp_path):
    people, shared = population(2)
    folder = write_bundles(tmp_path / "in", people, shared)
    Run(tmp_path / "out").review([folder], options())
    before = results(tmp_path / "out")
    with pytest.raises(OutputRefused, match="finished run"):
        Run(tmp_path / "out").review([folder], options())
    assert results(tmp_path / "out") == before


def test_two_runs_on_one_folder_refuse_each_other(tmp_path):
    people, shared = population(2)
    folder = write_bundles(tmp_path / "in", people, shared)
    first = Run(tmp_path / "out")
    with first._locked(), pytest.raises(OutputRefused, match="another run"):
        Run(tmp_path / "out").review([folder], options())


def test_every_detected_issue_is_valid_fhir(tmp_path):
    from fhir_adapter.resources import parsed

    people, shared = population()
    Run(tmp_path / "out").review([write_bundles(tmp_path / "in", people, shared)], options())
    issues = (tmp_path / "out" / "DetectedIssue.ndjson").read_text().splitlines()
    assert len(issues) == len(rows(tmp_path / "out"))
    assert all(parsed(json.loads(one), "R4") for one in issues)
    assert len({json.loads(one)["id"] for one in issues}) == len(issues)
