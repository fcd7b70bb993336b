"""What a nightly review, or an edit of the knowledge, changes: named by rule and patient."""

import json
from pathlib import Path

from typer.testing import CliRunner

from service.batch.cli import app
from service.batch.comparing import told, write_difference
from service.batch.run import Run
from tests.service.batch.people import AS_OF, lab, population, write_bundles
from tests.service.batch.test_review import options, rows

PACK = """
id = "house"
title = "House rules"
version = "2026.11.1"
requires = ["vitamin-d-status"]
owner = "pharmacy"
status = "draft"
approver = "Dr A. Example"
[retires]
vitd-empiric-supplement = "not offered here"
"""


def test_a_later_run_tells_new_changed_and_cleared(tmp_path):
    people, shared = population(6)
    Run(tmp_path / "monday").review([write_bundles(tmp_path / "a", people, shared)], options())
    people["p001"] = [one for one in people["p001"] if one["id"] != "p001-o2"]
    people["p002"].append(lab("p002", "17861-6", 3.4, "mmol/L", 9))
    people["p003"].append(lab("p003", "1989-3", 9.0, "ng/mL", 9))
    Run(tmp_path / "tuesday").review([write_bundles(tmp_path / "b", people, shared)], options())
    target = tmp_path / "changes.ndjson"
    write_difference(tmp_path / "monday", tmp_path / "tuesday", target)
    changes = [json.loads(line) for line in target.read_text().splitlines()]
    found = {(one["patient"], one["rule"], one["change"]) for one in changes}
    before = {(row["patient"], row["rule"]) for row in rows(tmp_path / "monday")}
    after = {(row["patient"], row["rule"]) for row in rows(tmp_path / "tuesday")}
    assert {one[:2] for one in found if one[2] == "new"} == after - before
    assert {one[:2] for one in found if one[2] == "cleared"} == before - after
    assert ("p003", "vitd-deficiency-treat", "new") in found
    assert ("p001", "vitd-deficiency-treat", "cleared") in found


def test_the_same_run_twice_differs_in_nothing(tmp_path):
    people, shared = population(3)
    folder = write_bundles(tmp_path / "in", people, shared)
    Run(tmp_path / "a").review([folder], options())
    Run(tmp_path / "b").review([folder], options())
    difference = write_difference(tmp_path / "a", tmp_path / "b", tmp_path / "changes.ndjson")
    assert (tmp_path / "changes.ndjson").read_bytes() == b""
    assert list(told(difference)) == ["Nothing differs."]


def test_what_if_tells_per_rule_for_whom_it_would_vanish(tmp_path):
    people, shared = population(8)
    folder = write_bundles(tmp_path / "in", people, shared)
    pack = tmp_path / "packs" / "house"
    pack.mkdir(parents=True)
    (pack / "pack.toml").write_text(PACK)
    (pack / "__init__.py").write_text('"""House rules."""\n')
    out = tmp_path / "out"
    done = CliRunner().invoke(
        app,
        [str(folder), "--out", str(out), "--as-of", AS_OF, "--workers", "1", "--quiet", "--compare", str(pack.parent)],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    retired = [row["patient"] for row in rows(out) if row["rule"] == "vitd-empiric-supplement"]
    assert retired
    assert (
        f"vitd-empiric-supplement vanishes for {len(retired)} (Patient/{retired[0]}" in done.output
    )
    assert not [row for row in rows(out / "what-if") if row["rule"] == "vitd-empiric-supplement"]


def test_the_summary_needs_no_network_and_names_the_rules(tmp_path):
    people, shared = population(6)
    Run(tmp_path / "a").review([write_bundles(tmp_path / "in", people, shared)], options())
    page = (tmp_path / "a" / "summary.html").read_text()
    assert "http" not in page
    assert "<svg" in page
    assert "Recommendations by rule" in page
    assert "Age of results: " in page
    assert "None" not in page
    assert Path(tmp_path / "a" / "run.json").is_file()
