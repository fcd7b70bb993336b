"""What an analyst gets wrong is said before the work begins, in one line; a full disk can be gone on from."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.batch.cli import app
from service.batch.run import Run
from tests.service.batch.people import AS_OF, WARFARIN, population, write_lines
from tests.service.batch.test_review import options, rejects, results, rows


def said(*given):
    done = CliRunner().invoke(
        app, [*map(str, given), "--as-of", AS_OF, "--quiet", "--workers", "1"]
    )
    refused = "" if isinstance(done.exception, SystemExit) else str(done.exception or "")
    return done.exit_code, refused + done.output


@pytest.fixture
def folder(tmp_path):
    return write_lines(tmp_path / "in", *population(6), parts=1)


def test_an_output_that_cannot_be_written_is_refused(tmp_path, folder):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/results")):
        code, told = said(folder, "--out", out)
        assert code == 14, told
        assert f"{out} cannot be written" in told


def test_what_to_compare_with_is_looked_at_first(tmp_path, folder):
    for flag in ("--compare-run", "--compare"):
        code, told = said(folder, "--out", tmp_path / "out", flag, tmp_path)
        assert not (tmp_path / "out").exists()
        assert code == 1
        assert "holds no" in str(told)


def test_results_inside_the_input_are_not_taken_for_data(tmp_path, folder):
    Run(folder / "results").review([folder], options())
    Run(tmp_path / "again").review([folder], options())
    assert not rejects(tmp_path / "again")
    assert results(folder / "results") == results(tmp_path / "again")


def test_without_room_the_run_is_interrupted_and_goes_on_when_there_is_more(tmp_path, folder):
    """A real limit of the system, as a quota sets it: no file of results may grow beyond it."""
    out = tmp_path / "out"
    # what measures coverage would fail as well, and say so
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    limited = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (3000, 3000)); from service.batch.cli import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", limited, str(folder), "--out", str(out), "--as-of", AS_OF, "--quiet"],
        capture_output=True, cwd=Path(__file__).parents[3], check=False, env=plain,
    )  # fmt: skip
    assert done.returncode == 13, done.stderr
    assert b"--resume" in done.stderr
    assert b"Traceback" not in done.stderr
    code, told = said(folder, "--out", out, "--resume")
    assert code == 0, told
    Run(tmp_path / "whole").review([folder], options())
    assert results(out) == results(tmp_path / "whole")


@pytest.mark.parametrize(
    ("cut", "change", "told_so"),
    [
        (1, "unsure", "something of theirs was rejected"),
        (30, "cleared", "1 rejects name no patient: what vanished may still be true."),
    ],
)
def test_what_is_no_longer_said_because_of_a_reject_is_not_called_cleared_without_a_word(
    tmp_path, folder, cut, change, told_so
):
    """The line that broke still says whose it is, or it does not."""
    Run(tmp_path / "before").review([folder], options())
    known = {row["patient"] for row in rows(tmp_path / "before")}
    assert "p000" in known
    path = folder / "MedicationRequest.000.ndjson"
    lines = [line[:-cut] if '"p000-r1"' in line else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    code, told = said(folder, "--out", tmp_path / "after", "--compare-run", tmp_path / "before")
    assert code == 12, told
    assert told_so in told
    changes = [
        json.loads(line)
        for line in (tmp_path / "after" / "changes.ndjson").read_text().splitlines()
    ]
    lost = {(one["patient"], one["change"]) for one in changes if one["is"] is None}
    assert lost == {("p000", change)}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, "is missing or withheld"),
        ({"subject": {"extension": [{"valueCode": "masked"}]}}, "is missing or withheld"),
        ({"subject": {"identifier": {"value": "943"}}}, "by an identifier or a name only"),
        ({"subject": {"reference": "Group/7"}}, "no Patient (a Group"),
        ({"subject": {"reference": "#p"}}, "inside itself (contained)"),
    ],
)
def test_why_nobody_knows_whose_a_record_is(tmp_path, more, says):
    inside = tmp_path / "in"
    inside.mkdir()
    record = {"resourceType": "MedicationRequest", "id": "r", "medicationCodeableConcept": WARFARIN}
    (inside / "one.json").write_text(json.dumps(record | more))
    (inside / "lines.ndjson").write_text(json.dumps(record | more) + "\n")
    (inside / "table.json").write_text('{"rows": []}')
    (inside / "empty.json").write_text('{"resourceType": "Bundle", "entry": []}')
    Run(tmp_path / "out").review([inside], options())
    told = {one["file"]: one["says"] for one in rejects(tmp_path / "out")}
    assert says in told["one.json"]
    assert says in told["lines.ndjson"]
    assert "no resourceType" in told["table.json"]
    assert told["empty.json"] == "The Bundle holds no resource."
    assert "943" not in json.dumps(told)
