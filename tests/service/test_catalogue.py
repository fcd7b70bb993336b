"""The catalogue tells of every rule all that a person who answers for it must know, in words."""

import json
import re

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
