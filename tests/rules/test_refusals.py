"""What packs, stories and code may not do, each refused with place and reason: the paths that nobody takes by intent."""

from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest

from rules.authoring import c, finding, m, none
from rules.conditions import Conjunction
from rules.engine import Engine
from rules.errors import (
    FactError,
    KnowledgeError,
    NotTrusted,
    RequestError,
    Unavailable,
    UnsafeRule,
)
from rules.facts import Context, FactSet, Finding, Patient
from rules.in_force import KnowledgeInForce
from rules.naming import compile_pattern
from rules.rulebook import load_rulebook
from rules.stories import read_stories
from rules.vignettes import _reason
from rules.vocabulary import load_vocabulary
from rules.wording import Wording

TODAY = date(2026, 11, 22)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def rulebook(tiny_pack):
    return load_rulebook(["tiny"], [tiny_pack])


@pytest.fixture(scope="module")
def core():
    return load_rulebook(["core"])


# Errors carry what the doors need ------------------------------------------------------------------------------------


def test_errors_carry_their_status_and_say_no_more_than_they_should():
    refused = RequestError("no", status=412, code="processing", diagnostics="d")
    assert (str(refused), refused.status, refused.code, refused.diagnostics) == ("no", 412, "processing", "d")  # fmt: skip
    stranger = NotTrusted("jku-not-listed", status=403)
    assert (str(stranger), stranger.reason, stranger.status) == ("not trusted", "jku-not-listed", 403)  # fmt: skip
    assert Unavailable("away", retry_after=7).retry_after == 7


# The notation of conditions ------------------------------------------------------------------------------------------


def test_tests_join_in_any_grouping():
    one, two, three = m.dose > 1, m.dose < 3, m.steady == False  # noqa: E712 - the notation
    assert (one & two) & three == Conjunction((one, two, three)) == one & (two & three)
    assert (one & two) & (three & one) == Conjunction((one, two, three, one))


@pytest.mark.parametrize(
    "write",
    [
        lambda: (m.dose > 1) & (m.dose < 3) & 4,
        lambda: (m.dose > 1) & 4,
        lambda: finding("taken") & 4,
        lambda: ((m.dose > 1) & (m.dose < 3)) | (m.dose > 4),
        lambda: finding("taken") | finding("severe"),
        lambda: (c.k << finding("taken")) | finding("severe"),
        lambda: bool((m.dose > 1) & (m.dose < 3)),
        lambda: bool(finding("taken")),
        lambda: bool(c.k << finding("taken")),
        lambda: none(finding("taken")) | finding("severe"),
        lambda: bool(none(finding("taken"))),
        lambda: none(finding("taken")) & (m.dose > 1),
    ],
    ids=range(12),
)
def test_what_python_would_change_silently_is_refused(write):
    with pytest.raises(UnsafeRule):
        write()


def test_a_denial_that_python_would_swallow_is_refused():
    """``none(...) and c.k << ...`` would leave only its right side, and the denial would be gone unsaid."""
    with pytest.raises(UnsafeRule, match="used as true or false"):
        none(finding("severe")) and (c.k << finding("taken"))


# Code lists ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("code_lists: [{for: problems, system: x, source: s, release: r, codes: {a: {colour: red}}}]", "x a:"),
        ("code_lists: [{for: drugs, system: x, source: s, release: r, not_ours: {a: why}, codes: {a: {is: thing, flag: V}}}]",
         "listed, and not ours"),
        ("code_lists: [{for: drugs, system: x, source: s, release: r, codes: {a: {flag: V}}}]", "neither 'is' nor"),
        ("code_lists: [{for: drugs, system: x, source: s, release: r, codes: {a: {is: nothing, flag: V}}}]",
         "is no ingredient"),
        ("names: [{is: thing, words: ['--'], finds: [a]}]", "has no letters"),
        ("names: [{is: thing, patterns: ['a+'], finds: [a]}]", "patterns need hints"),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_meant_is_refused(tmp_path, text, says):
    (tmp_path / "a.yaml").write_text("ingredients: {thing: {title: T, classes: [], unit: mg}}\n")
    (tmp_path / "b.yaml").write_text(text + "\n")
    with pytest.raises(KnowledgeError) as caught:
        load_vocabulary([tmp_path])
    assert says in str(caught.value)


def test_a_part_that_may_stand_once_stands_once(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text("dose_units: {pieces: [blob], drops: [], mass: {}, units: {}, volume: {}}\n")  # fmt: skip
    with pytest.raises(KnowledgeError, match="dose_units stands in another file already"):
        load_vocabulary([tmp_path])


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(KnowledgeError, match="is no regular expression"):
        compile_pattern("(")


def test_what_is_not_listed_has_no_code_to_order(core):
    assert core.vocabulary.order_code("no-such-measure") is None
    assert core.vocabulary.product_code("no-such-ingredient", 1.0) is None


# Packs and the rulebook ----------------------------------------------------------------------------------------------


def copy_of(pack, folder, **changed):
    import shutil

    other = folder / "other"
    shutil.copytree(pack, other)
    for name, (old, new) in changed.items():
        file = other / name.replace("_", ".")
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
    return other


def test_a_rule_of_two_packs_is_refused(tiny_pack, tmp_path):
    other = copy_of(tiny_pack, tmp_path / "more", pack_toml=('"tiny"', '"twin"'))
    for name in ("parameters.yaml", "findings.yaml", "cards.yaml", "actions.yaml", "citations.yaml",
                 "override_reasons.yaml", "derivations.py", "wording.yaml"):  # fmt: skip
        (other / name).unlink()
    with pytest.raises(KnowledgeError, match="stands in two packs"):
        load_rulebook(["tiny", "twin"], [tiny_pack, other])


def test_an_entry_of_two_packs_is_refused(tiny_pack, tmp_path):
    other = copy_of(tiny_pack, tmp_path / "more", pack_toml=('"tiny"', '"twin"'))
    for name in ("rules.py", "cards.yaml", "derivations.py", "parameters.yaml", "wording.yaml"):
        (other / name).unlink()
    with pytest.raises(KnowledgeError, match="stands in two packs"):
        load_rulebook(["tiny", "twin"], [tiny_pack, other])


def test_edited_copies_of_one_id_are_refused(tiny_pack, tmp_path):
    other = copy_of(tiny_pack, tmp_path / "more")
    with pytest.raises(KnowledgeError, match="two edited folders"):
        load_rulebook(["tiny"], [tiny_pack], edited=[tiny_pack, other])


def test_a_module_that_cannot_be_imported_is_refused_with_its_file(tiny_pack):
    (tiny_pack / "broken.py").write_text('"""Broken."""\n1 / 0\n')
    with pytest.raises(KnowledgeError, match=r"ZeroDivisionError.*\n?.*broken\.py|broken\.py"):
        load_rulebook(["tiny"], [tiny_pack])


def test_a_comparator_must_be_a_text_of_the_same_finding(tiny_pack):
    file = tiny_pack / "findings.yaml"
    file.write_text(file.read_text() + "odd: {title: O, says: o, fields: {a: number, b: number}, comparators: {a: b}}\n")  # fmt: skip
    with pytest.raises(KnowledgeError, match="is no such field"):
        load_rulebook(["tiny"], [tiny_pack])


def test_yaml_that_no_parser_can_begin_is_refused(tmp_path):
    from rules.yaml_files import read_yaml

    file = tmp_path / "x.yaml"
    file.write_text("a: \x07\n")
    with pytest.raises(KnowledgeError, match="not readable as YAML"):
        read_yaml(file)


# Knowledge in force --------------------------------------------------------------------------------------------------


def test_a_number_that_is_not_in_force_and_one_of_nobody_are_told_apart(rulebook):
    later = KnowledgeInForce(rulebook, date(2031, 1, 1), "nam-2011")
    with pytest.raises(KnowledgeError, match="has no value in force on 2031-01-01"):
        later.parameter("tiny.limit")
    with pytest.raises(KnowledgeError, match="stands in no active pack"):
        later.parameter("nobody.knows")
    with pytest.raises(KnowledgeError, match=r"declared in no findings\.yaml"):
        later.finding_fields("nobody")


def evidence_of(rulebook):
    from rules.evidence import Evidence

    knowledge = KnowledgeInForce(rulebook, TODAY, "nam-2011")
    facts = FactSet(patient=Patient(source=("Patient/1",), id="1"), context=Context())
    return Evidence(facts, knowledge, as_of=NOON, today=TODAY)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"steady": True, "colour": 1}, "no field 'colour'"),
        ({"steady": None}, "not optional but unknown"),
        ({"steady": "yes"}, "is no boolean"),
        ({}, "'steady' is missing"),
    ],
)
def test_a_finding_is_made_as_it_was_declared(rulebook, values, says):
    with pytest.raises(FactError, match=says):
        evidence_of(rulebook).finding("taken", "x", **values)


def test_a_value_that_a_finding_has_not_is_an_attribute_error():
    made = Finding(name="taken", values={"dose": 1.0})
    assert made.dose == 1.0
    with pytest.raises(AttributeError, match="has no value 'colour'"):
        made.colour  # noqa: B018 - the point


# Words ---------------------------------------------------------------------------------------------------------------


def test_words_for_what_has_none_are_refused(rulebook):
    words = Wording(rulebook)
    with pytest.raises(KnowledgeError, match="names nothing that the rule binds"):
        words.fill("{gone} is taken", {})
    with pytest.raises(KnowledgeError, match="no sentence for a fact of type"):
        words.subject(SimpleNamespace())


def test_a_finding_about_nobody_is_called_by_its_own_title(rulebook):
    words = Wording(rulebook)
    assert words.subject(Finding(name="severe")) == "Severe"
    assert words.field(Finding(name="severe"), "about") == "Severe"


def test_a_field_of_a_fact_that_is_unknown_says_so(rulebook):
    words = Wording(rulebook)
    assert words.field(Patient(id="1"), "age_years") == "not recorded"
    assert words.field(Patient(id="1", age_years=44), "age_years") == "44"


def test_values_of_every_shape_are_said(rulebook):
    words = Wording(rulebook)
    assert words.parameter_value([{"a": 1}, {"a": 2}], "d") == "table of 2 rows"
    assert words.parameter_value({"x": "low"}, "") == "x low"
    assert words.parameter_value(date(2026, 1, 2), "") == "2026-01-02"


# Stories -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\n", "a list of stories"),
        ("- today: 2026-11-22\n  vignette: x\n  expect: []\n", "must begin with"),
        ("- vignette: x\n  colour: red\n", "unknown key 'colour'"),
        ("- vignette: x\n  expect: []\n", "needs 'today'"),
        ("- vignette: x\n  today: soon\n  expect: []\n", "needs 'today'"),
        ("- vignette: x\n  today: 2026-11-22\n  expect: []\n  takes: ['nobodys-drug']\n", "no ingredient is called"),
    ],
)  # fmt: skip
def test_a_story_that_cannot_be_told_is_refused(core, tmp_path, text, says):
    file = tmp_path / "story.yaml"
    file.write_text(text)
    with pytest.raises(KnowledgeError) as caught:
        read_stories(file, core.vocabulary, "core")
    assert says in str(caught.value)


def test_why_a_rule_was_silent_is_told():
    gone = SimpleNamespace(rule="a", by="b")
    kept = SimpleNamespace(rule="c", reason="answered before")
    answer = SimpleNamespace(superseded=[gone], suppressed=[kept])
    assert _reason("a", answer) == " (it gave way to b)"
    assert _reason("c", answer) == " (suppressed: answered before)"
    assert _reason("d", answer) == ""


# The engine ----------------------------------------------------------------------------------------------------------


def test_a_rule_whose_words_fail_is_recorded_and_the_others_speak(tiny_pack):
    """The card names a field by a placeholder that only this rule's binding lacks."""
    from tests.rules.test_engine import facts, taking

    rulebook = load_rulebook(["tiny"], [tiny_pack])
    engine = Engine(rulebook, "compiled")
    card = rulebook.cards["tiny-high"]
    object.__setattr__(card, "summary", "{nobody} at {k.dose}.")
    answer = engine.assess(facts(taking(10.5)), as_of=NOON, today=TODAY)
    assert [one.rule for one in answer.failures] == ["tiny-high"]
    assert "names nothing" in answer.failures[0].error
    assert [one.rule for one in answer.recommendations] == ["tiny-any"]
    engine.close()


def test_without_an_installed_package_the_version_is_unknown(monkeypatch):
    from importlib.metadata import PackageNotFoundError

    from rules import engine

    def nowhere(_name):
        raise PackageNotFoundError

    monkeypatch.setattr(engine, "version", nowhere)
    assert engine.software_version() == "unknown"
