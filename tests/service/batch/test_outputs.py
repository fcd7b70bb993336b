"""The tables of a run: the Parquet schema is the documented one, the CSV says the same and is never a formula."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from service.batch.outputs import COLUMNS, write_outputs
from service.batch.run import Run
from tests.service.batch.people import AS_OF, population, write_bundles, write_lines
from tests.service.batch.test_review import options, results, rows

GUIDE = Path(__file__).parents[3] / "docs" / "analysts" / "reviewing-a-population.md"
LISTS = {"sources", "missing"}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    here = tmp_path_factory.mktemp("outputs")
    Run(here / "out").review([write_bundles(here / "in", *population(12))], options())
    return here / "out"


def test_the_parquet_schema_is_the_documented_one(out):
    line = next(one for one in GUIDE.read_text().splitlines() if "recommendations.parquet" in one)
    documented = re.findall(r"`([a-z_]+)`", line.partition("as a table")[2].partition(";")[0])
    schema = pq.read_schema(out / "recommendations.parquet")
    assert schema.names == documented == list(COLUMNS)
    assert "nothing is null" in line
    for field in schema:
        kind = "list<element: string>" if field.name in LISTS else "string"
        assert (str(field.type), field.nullable) == (kind, False)


def test_parquet_csv_and_detected_issues_hold_the_same_recommendations(out):
    table = pq.read_table(out / "recommendations.parquet").to_pylist()
    assert len(table) > 12
    plain = [{name: " ".join(row[name]) if name in LISTS else row[name] for name in COLUMNS} for row in table]  # fmt: skip
    assert plain == rows(out)
    assert any(len(row["sources"]) > 1 for row in table)
    issues = map(json.loads, (out / "DetectedIssue.ndjson").read_text().splitlines())
    assert [one["patient"]["reference"] for one in issues] == [
        f"Patient/{row['patient']}" for row in table
    ]


@pytest.mark.parametrize(
    "first", ["=", "+", "-", "@", "\t", "\r", "\n", "|", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
)
def test_no_cell_begins_a_formula_in_a_spreadsheet(tmp_path, first):
    hostile = first + "cmd|' /C calc'!A0,\"x"
    row = dict.fromkeys(COLUMNS, hostile) | {name: [hostile, "plain"] for name in LISTS}
    answer = {"rows": [row], "issues": [], "gaps": [], "failures": []}
    write_outputs(tmp_path, [answer], [], {}, lambda name, data: None)
    with (tmp_path / "recommendations.csv").open(newline="") as file:
        (cells,) = csv.DictReader(file)
    assert cells == dict.fromkeys(COLUMNS, "'" + hostile) | dict.fromkeys(LISTS, f"'{hostile} plain")  # fmt: skip
    # In Parquet, which no spreadsheet takes for formulas, the text stays what it is
    assert pq.read_table(tmp_path / "recommendations.parquet").to_pylist() == [row]


def test_what_is_missing_for_want_of_the_extra_is_said_and_changes_no_result(tmp_path):
    folder = write_lines(tmp_path / "in", *population(9))
    hidden = "import sys; sys.modules |= dict.fromkeys(('pyarrow', 'hyperscan', 're2')); from service.cli import main; main()"
    said = {}
    for name, python in (("with", ("-m", "service.cli")), ("without", ("-c", hidden))):
        command = [sys.executable, *python, "review", str(folder), "--out", str(tmp_path / name), "--as-of", AS_OF, "--quiet"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        said[name] = done.stderr
    assert said["with"] == ""
    assert "No Parquet table: install the extra 'batch'." in said["without"]
    assert "Lines were parsed one by one" in said["without"]
    assert not (tmp_path / "without" / "recommendations.parquet").exists()
    meta = json.loads((tmp_path / "without" / "run.meta.json").read_text())
    assert (meta["search"], meta["parquet"]) == ("none", "not written: the extra 'batch' is not installed")  # fmt: skip
    plain = [
        "DetectedIssue.ndjson",
        "recommendations.csv",
        "gaps.ndjson",
        "run.json",
        "summary.html",
    ]
    assert results(tmp_path / "without", plain) == results(tmp_path / "with", plain)
