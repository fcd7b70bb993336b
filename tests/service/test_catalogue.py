"""The catalogue tells of every rule all that a person who answers for it must know, in words."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rules.authoring import c, fact, finding, m, none, parameter, recommend, rule, when_all
from rules.condition_words import ConditionWords
from rules.rulebook import load_rulebook
from service.cli import Exit, app
from service.rule_entries import Catalogue
from service.rules_page import claims_page, entry_lines, rules_page

BOOK = load_rulebook()
CATALOGUE = Catalogue(BOOK)
ELSEWHERE = Path(__file__).parents[2] / "examples" / "st_elsewhere" / "st_elsewhere_pack"
DANGEROUS = re.compile(r"(?<![\w\[])(IU|U|µg|μg|ug)(?![\w\]])")


def run(*words):
    return CliRunner().invoke(app, ["rules", *words])


def test_the_codes_of_reasons_to_decline_are_shown_for_whoever_maps_them():
    shown = run("show", "vka-mk7-new").output
    codes = BOOK.cards["vka-mk7-new"].override_reasons
    assert codes
    assert [code for code in codes if f"(`{code}`)" not in shown] == []


@pytest.mark.parametrize("name", CATALOGUE.names())
def test_every_rule_is_told_in_full(name):
    entry = CATALOGUE.entry(name)
    assert entry.conditions
    assert entry.urgency
    assert entry.example is not None, "no story lets it speak"
    assert entry.stories
    assert all((entry.intent, entry.population, entry.missing_data, entry.limits, entry.certainty))
    assert entry.status == "draft"
    assert entry.reviewed is None
    text = "\n".join(entry_lines(entry))
    for heading in (
        "Speaks when",
        "Urgency",
        "Example",
        "Applies to",
        "When data are missing",
        "Status",
        "History",
    ):
        assert f"**{heading}" in text, heading
    said = "\n".join((*entry.conditions, *(value for one in entry.numbers for value in one.values)))
    assert not DANGEROUS.search(said), said
    assert not re.search(r"\b(None|True|False)\b|finding:|ParameterRef", said)


def test_numbers_that_only_a_derivation_consults_are_listed_too():
    used = {one.name: one for one in CATALOGUE.entry("vka-mk7-new").numbers}
    floor = used["k.floor.mk7"]
    assert [value.partition(",")[0] for value in floor.values] == [
        "50 mcg a day", "50 mcg a day", "10 mcg a day",
    ]  # fmt: skip
    assert "source theuwissen-2013" in floor.values[-1]


def test_who_gives_way_to_whom_is_told_from_both_sides():
    for name in CATALOGUE.names():
        for line in BOOK.cards[name].yields_to:
            assert name in CATALOGUE.entry(line.rule).takes_precedence_over


def test_conditions_are_said_in_words():
    @rule("example")
    @when_all(
        c.patient << fact("patient") & (m.age_years >= parameter("testing.youngest")),
        c.level << finding("vitamin-d-level") & (m.band == "deficient"),
        c.k << finding("vitamin-k-with-vka")
        & (m.form != "mk4")
        & (m.new == False)  # noqa: E712
        & (m.daily > 10),
        none(finding("vitamin-k-steady") & (m.about == c.k.about)),
    )
    def example(case):
        return recommend(case.level)

    with_vka = "“vitamin K together with a vitamin K antagonist”"
    assert ConditionWords(BOOK).say(example) == (
        "of the patient, age in years is at least 18 years (`testing.youngest`)",
        "there is a finding “25(OH)D status”, band is deficient",
        f"there is a finding {with_vka}, form is known and is not mk4 and new: no and daily is above 10 mcg a day",
        f"there is no finding “INR stable on unchanged vitamin K”, about the same subject as {with_vka}",
    )


def test_the_page_holds_every_rule_once_and_the_claims_lead_to_them():
    page = rules_page(BOOK)
    assert sorted(re.findall(r"^### (\S+)$", page, re.MULTILINE)) == CATALOGUE.names()
    claims = claims_page(BOOK)
    assert re.findall(r"^## (\S+)$", claims, re.MULTILINE) == [f"S{n:02}" for n in range(1, 26)]
    linked = set(re.findall(r"rules\.md#([\w-]+)", claims))
    assert linked <= set(CATALOGUE.names())
    assert len(linked) > 40


def test_the_commands_list_and_show():
    listed = run("list", "--json")
    assert [one["rule"] for one in json.loads(listed.stdout)] == CATALOGUE.names()
    shown = run("show", "vka-natto")
    assert shown.exit_code == Exit.DONE
    assert "there is a finding “natto is eaten”" in shown.stdout
    assert "Natto is very high in vitamin K2" in shown.stdout


def test_a_rule_that_is_not_there_is_refused_with_its_neighbours():
    shown = run("show", "vka-nato")
    assert shown.exit_code == Exit.KNOWLEDGE_REFUSED
    assert "vka-natto" in shown.output


def test_the_list_for_people_names_every_rule_with_what_speaks_for_it():
    listed = run("list")
    assert listed.exit_code == Exit.DONE
    assert listed.output.split("\n", 1)[0].strip() == f"{len(CATALOGUE.names())} rules"
    assert [name for name in CATALOGUE.names() if name not in listed.output] == []


@pytest.fixture
def hospital(monkeypatch, tmp_path):
    """A site that runs ours together with a pack of its own, which a test may edit first."""
    pack = tmp_path / "st_elsewhere_pack"
    shutil.copytree(ELSEWHERE, pack, ignore=shutil.ignore_patterns("__pycache__"))
    names = [*(one.head.id for one in BOOK.packs), "st-elsewhere"]
    monkeypatch.setenv("DEKACARD_PACKS", ",".join(names))
    monkeypatch.setenv("DEKACARD_PACK_DIRS", str(pack))
    return pack


def test_a_rule_that_the_site_retired_is_refused_with_its_reason(hospital):
    shown = run("show", "dk-k2-form")
    assert shown.exit_code == Exit.KNOWLEDGE_REFUSED
    assert "is retired: The nutrition team explains the forms" in shown.output
    assert "dk-k2-form" not in json.dumps(json.loads(run("list", "--json").stdout))


def test_stories_that_end_otherwise_as_declared_are_listed_and_are_no_failure():
    checked = run("check", str(ELSEWHERE), "--engine", "compiled")
    assert checked.exit_code == Exit.DONE, checked.output
    assert (
        "Stories of ours that end otherwise, each for a reason the pack declares:" in checked.output
    )
    assert "Changed, because" in checked.output
    assert "end otherwise as declared." in checked.output


def test_a_story_that_ends_otherwise_undeclared_is_named_and_the_check_fails(hospital):
    numbers = hospital / "parameters.yaml"
    text = numbers.read_text(encoding="utf-8")
    changed = re.sub(r"(ste\.warfarin\.loading-from:.*?value: )\S+", r"\g<1>999999", text, flags=re.DOTALL)  # fmt: skip
    assert changed != text
    numbers.write_text(changed, encoding="utf-8")
    checked = run("check", "--engine", "compiled")
    assert checked.exit_code == Exit.FINDINGS_OPEN
    assert "ste-warfarin-strong-vitamin-d" in checked.output


def test_claims_are_told_and_their_absence_too(hospital, monkeypatch):
    (hospital / "claims.yaml").write_text("S99: said in one sentence\n", encoding="utf-8")
    told = run("claims").output
    assert re.search(r"^S99 +said in one sentence$", told, re.MULTILINE)
    assert re.search(r"^S01 +\w+: ", told, re.MULTILINE)
    monkeypatch.setenv("DEKACARD_PACKS", "core")
    assert run("claims").output.strip() == "No pack in force states claims."
