"""Packs that cannot be meant stop the start, each with its place; what is remembered between patients is bounded."""

import runpy
from datetime import date

import pytest
import yaml

import rules.plan
import rules.program
import rules.yaml_files
from rules.authoring import c, fact, finding, m, rule, when_all
from rules.compiler import compile_rules
from rules.engine import Engine
from rules.errors import KnowledgeError
from rules.rulebook import load_rulebook
from rules.topics import MOST_CONDITIONS, MOST_KINDS, MOST_PATTERNS, divide
from rules.vignettes import stories_of
from tests.rules.test_refusals import copy_of

TODAY = date(2026, 11, 22)


def edit(folder, name, old, new):
    file = folder / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("pack.toml", 'status = "draft"\n', 'status = "draft"\n[retires]\nnobody = "r"\n', "is no rule"),
        ("pack.toml", 'status = "draft"\n', 'status = "draft"\n[overrides]\n"tiny.none" = "r"\n', "does not state"),
        ("derivations.py", 'requires=["taken"]', 'requires=["given"]', "no derivation gives"),
        ("pack.toml", 'status = "draft"\n', 'status = "draft"\nrequires = ["absent==2026"]\n', "which is not active"),
    ],
    ids=["retires", "overrides", "reads", "requires"],
)  # fmt: skip
def test_a_pack_that_names_what_is_not_there_is_refused(tiny_pack, name, old, new, says):
    edit(tiny_pack, name, old, new)
    with pytest.raises(KnowledgeError, match=says):
        load_rulebook(["tiny"], [tiny_pack])


def test_packs_that_require_each_other_are_refused(tiny_pack, tmp_path):
    other = copy_of(tiny_pack, tmp_path / "more", pack_toml=('"tiny"', '"twin"'))
    for file in other.iterdir():
        if file.name != "pack.toml":
            file.unlink()
    for folder, needed in ((tiny_pack, "twin"), (other, "tiny")):
        edit(
            folder,
            "pack.toml",
            'status = "draft"\n',
            f'status = "draft"\nrequires = ["{needed}"]\n',
        )
    with pytest.raises(KnowledgeError, match="in a circle"):
        load_rulebook(["tiny", "twin"], [tiny_pack, other])


def test_an_id_that_is_taken_is_refused(tiny_pack, tmp_path):
    other = copy_of(tiny_pack, tmp_path / "more")
    with pytest.raises(KnowledgeError, match="is taken by"):
        load_rulebook(["tiny"], [tiny_pack, other])


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(KnowledgeError, match="no folder of packs"):
        load_rulebook(["tiny"], [tmp_path / "nowhere"])


def test_what_a_module_refuses_itself_keeps_its_own_words(tiny_pack):
    edit(tiny_pack, "rules.py", '@rule("tiny-advice")', '@rule("tiny-any")')
    with pytest.raises(KnowledgeError, match="tiny-any"):
        load_rulebook(["tiny"], [tiny_pack])


def test_without_the_c_parser_the_plain_one_reads_the_same(tmp_path, monkeypatch):
    file = tmp_path / "a.yaml"
    file.write_text("a: [1, 2.5, yes]\nb: {c: 2026-11-22}\n")
    read = rules.yaml_files.read_yaml(file)
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert runpy.run_path(rules.yaml_files.__file__)["read_yaml"](file) == read


def made(number, *kinds, days=0):
    bound = [c.p << fact("patient"), c.x << finding(kinds[0]) & (m.days > number + days)]
    more = [finding(kind) & (m.days > c.x.days) for kind in kinds[1:]]
    aliases = [getattr(c, f"y{place}") << one for place, one in enumerate(more)]
    return rule(f"r-{number}")(when_all(*bound, *aliases)(lambda _: None))


def test_rules_that_are_too_many_for_one_rule_set_are_divided_within_its_limits():
    """Beyond these sizes the engine loses facts, hangs, or overruns its tables."""
    schema = {
        "patient": {"age_years": "integer?"},
        "finding:a": {"days": "integer"},
        "finding:b": {"days": "integer"},
    }
    program = compile_rules([made(number, "a", "b") for number in range(150)], schema, {})
    topics = divide(program.rules[0])
    assert len(topics) > 1
    assert sum(len(topic.rules) for topic in topics) == 150
    for topic in topics:
        assert 1 + sum(len(one.steps) for one in topic.rules) <= MOST_PATTERNS
        paths = {
            step.tests[: length + 1]
            for one in topic.rules
            for step in one.steps
            if step.kind == "finding:a"
            for length in range(len(step.tests))
        }
        assert len(paths) <= MOST_CONDITIONS < MOST_KINDS


def test_what_is_remembered_between_patients_is_bounded_and_forgetting_changes_nothing(
    root, monkeypatch
):
    def answers():
        book = load_rulebook()
        told = stories_of(
            book,
            root / "rules" / "packs" / "vitamin_k_antagonists" / "vignettes" / "vka-mk7-new.yaml",
        )
        engine = Engine(book, "compiled")
        assessed = [
            engine.assess(one.facts, as_of=one.as_of, today=one.today) for one in (*told, *told)
        ]
        plans = [compiled.plan for _, compiled in engine._in_force.values()]
        return [(one.recommendations, one.suppressed) for one in assessed], plans

    usual, _ = answers()
    assert any(spoken for spoken, _ in usual)
    monkeypatch.setattr(rules.plan, "_MOST_REMEMBERED", 1)
    monkeypatch.setattr(rules.program, "_MOST_REMEMBERED", 1)
    forgetful, plans = answers()
    assert forgetful == usual
    assert all(max(len(plan._begun), len(plan._giving)) <= 1 for plan in plans)


def test_a_band_profile_that_nobody_has_is_refused():
    with pytest.raises(KnowledgeError, match="no band profile"):
        Engine(load_rulebook(), "compiled").knowledge(TODAY, "nobody-2000")
