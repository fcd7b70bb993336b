"""What a nightly review, or an edit of the knowledge, changes: named by rule and patient."""

import json
import re
import shutil
from collections import Counter
from html import unescape
from pathlib import Path

from typer.testing import CliRunner

from rules.errors import KnowledgeError
from rules.rulebook import BUNDLED
from service.batch.cli import app
from service.batch.comparing import told, write_difference
from service.batch.run import Run
from service.batch.workshop import rulebook_of
from tests.service.batch.people import AS_OF, lab, population, statement, write_bundles
from tests.service.batch.test_review import options, rows
from tests.service.batch.test_store import on_warfarin

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


EDITS = [
    (
        "parameters.yaml",
        'value: {ng/mL: 12, nmol/L: 30}, cite: ross-2011, says: "below 12 ng/mL (30 nmol/L): at risk of deficiency"',
        'value: {ng/mL: 8, nmol/L: 20}, cite: ross-2011, says: "tried: below 8 ng/mL"',
    ),
    (
        "cards.yaml",
        "for everybody, without a level.\n  indicator: [{is: info}]",
        "for everybody, without a level.\n  indicator: [{is: warning}]",
    ),
]
WORDS = ("return template.format(**names)", 'return template.format(**names) + " (tried)"')


def edited_copy(folder, name, *edits):
    """A copy of a bundled pack under another folder name, with some words of its files changed."""
    copy = folder / f"my-{name}"
    shutil.copytree(BUNDLED / name, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in edits:
        text = (copy / file).read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        (copy / file).write_text(text.replace(old, new))
    return copy


def compare(folder, out, packs):
    return CliRunner().invoke(
        app,
        [str(folder), "--out", str(out), "--as-of", AS_OF, "--workers", "2", "--quiet", "--compare", str(packs)],
    )  # fmt: skip


def test_what_if_tells_what_an_edited_copy_of_a_bundled_pack_would_change(tmp_path):
    people, shared = population(12)
    folder = write_bundles(tmp_path / "in", people, shared)
    edited_copy(tmp_path / "packs", "vitamin_d_status", *EDITS)
    out = tmp_path / "out"
    done = compare(folder, out, tmp_path / "packs")
    assert done.exit_code == 0, (done.output, done.exception)
    low = sorted(row["patient"] for row in rows(out) if row["rule"] == "vitd-deficiency-treat")
    assert low
    assert f"vitd-deficiency-treat vanishes for {len(low)} (Patient/{low[0]}" in done.output
    assert "vitd-empiric-supplement turns from info to warning for" in done.output
    before, after = (
        json.loads((one / "run.json").read_text())["knowledge"] for one in (out, out / "what-if")
    )
    assert {name for name in before if before[name] != after[name]} == {"vitamin-d-status"}


def test_an_edit_of_code_counts_for_the_packs_that_import_it(tmp_path):
    folder = write_bundles(tmp_path / "in", {"ada": on_warfarin(words="Vitamin K2 MK-7")}, [])
    edited_copy(tmp_path / "packs", "core", ("words.py", *WORDS))
    done = compare(folder, tmp_path / "out", tmp_path / "packs")
    assert "says something else for 1 (Patient/ada)" in done.output


def test_an_edit_whose_head_cannot_be_read_is_told_before_the_review(tmp_path):
    people, shared = population(2)
    folder = write_bundles(tmp_path / "in", people, shared)
    edited_copy(
        tmp_path / "packs",
        "vitamin_d_status",
        ("pack.toml", 'status = "draft"', 'status = "perhaps"'),
    )
    done = compare(folder, tmp_path / "out", tmp_path / "packs")
    assert isinstance(done.exception, KnowledgeError)
    assert "status" in str(done.exception)
    assert not (tmp_path / "out").exists()  # said before the review began


def numbers_under(page, heading):
    """The numbers of the section or figure with this heading, by what stands before each."""
    assert page.count(heading) == 1, heading
    own = page.partition(heading)[2]
    own = own[: own.index("</figure>" if heading.startswith("<h3>") else "</section>")]
    found = re.findall(r"<th scope='row'>(.*?)</th>.*?<td class='n'>([\d,]+)</td></tr>", own)
    return {unescape(name): int(number.replace(",", "")) for name, number in found}


def test_the_summary_needs_no_network_and_shows_rules_gaps_ages_and_intake(tmp_path):
    people, shared = population(6)
    people["p001"].append(lab("p001", "1989-3", 8.0, "ng/mL", 8, taken="2020-01-02"))
    for key, dose in (("p001", "2000"), ("p003", "2000"), ("p005", "12000")):
        people[key].append(statement(key, None, 7, words=f"Vitamin D3 {dose} IU daily"))
    out = tmp_path / "a"
    Run(out).review([write_bundles(tmp_path / "in", people, shared)], options())
    page = (out / "summary.html").read_text()
    assert "http" not in page
    assert "None" not in page
    cards = rulebook_of(options()).cards
    fired = Counter(cards[row["rule"]].title for row in rows(out))
    assert len(fired) > 3
    assert numbers_under(page, "<h2>Recommendations by rule</h2>") == fired
    lines = (out / "gaps.ndjson").read_text().splitlines()
    reasons = Counter(json.loads(line)["code"] for line in lines)
    assert reasons == {"medication-not-recognised": 1}
    assert numbers_under(page, "<h2>What could not be read or had</h2>") == {
        "Medication not recognised": 1
    }
    results = "<span class='quiet'>4 results</span></h3>"
    assert numbers_under(page, f"<h3>25(OH)D {results}") == {
        "0 to 29 days old": 3,
        "720 days old or more": 1,
    }
    assert numbers_under(page, "<h3>INR <span class='quiet'>2 results</span></h3>") == {
        "30 to 59 days old": 2
    }
    whose = "<h3>Patients by daily intake <span class='quiet'>3 patients</span></h3>"
    assert numbers_under(page, whose) == {
        "2,000 to 2,499 international units": 2,
        "10,000 international units or more": 1,
    }
    for plot, columns in (
        ("25(OH)D, 4 results", 2),
        ("INR, 2 results", 1),
        ("Patients by daily intake, 3 patients", 2),
    ):
        drawn = page.partition(f"aria-label='{plot}: numbers below'>")[2].partition("</svg>")[0]
        assert drawn.count("<rect class='bar'") == columns
    assert Path(out / "run.json").is_file()
