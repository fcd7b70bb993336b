"""The driver: what it gives back, how it fails, what it leaves behind."""

import sys
import threading

import psutil
import pytest

import rules.driver
from rules.authoring import c, fact, finding, m, none, rule, when_all
from rules.compiler import Item, compile_rules
from rules.driver import DurableMatcher, explain_import_error, load_engine
from rules.errors import EngineError
from rules.oracle import CompiledMatcher

SCHEMA = {
    "patient": {"age_years": "integer?"},
    **{f"finding:k{n}": {"days": "integer"} for n in range(16)},
}
PATIENT = Item("patient", {"age_years": 70})


def made(name, *conditions):
    return rule(name)(when_all(*conditions)(lambda _: None))


def item(kind, days, about="a"):
    return Item(f"finding:k{kind}", {"about": about, "days": days})


def topic(first, last):
    """Rules that share kinds among themselves and with nobody else."""
    return [
        made(
            f"rule-{n:02}",
            c.p << fact("patient"),
            c.x << finding(f"k{first}"),
            c.y << finding(f"k{n}") & (m.days > c.x.days),
        )
        for n in range(first + 1, last)
    ]


@pytest.fixture
def two_topics():
    program = compile_rules([*topic(0, 8), *topic(8, 16)], SCHEMA, {})
    matcher = DurableMatcher(program)
    yield program, matcher
    matcher.close()


def test_a_match_is_the_rule_and_the_place_of_each_bound_item_in_the_order_written(two_topics):
    _, matcher = two_topics
    items = [item(1, 9), PATIENT, item(0, 3), item(1, 2)]
    assert matcher.match(items, 0) == [("rule-01", (1, 2, 0))]


def test_topics_without_their_triggers_are_left_alone_and_the_answer_is_the_same(
    two_topics, monkeypatch
):
    program, matcher = two_topics
    asked = []
    real = rules.driver._Handle.evaluate

    def evaluate(self, facts):
        asked.append({r.name for r in self.rules})
        return real(self, facts)

    monkeypatch.setattr(rules.driver._Handle, "evaluate", evaluate)
    items = [item(9, 9), PATIENT, item(8, 3), item(0, 1)]
    assert (
        matcher.match(items, 0)
        == [("rule-09", (1, 2, 0))]
        == CompiledMatcher(program).match(items, 0)
    )
    assert asked == [{f"rule-{n:02}" for n in range(9, 16)}]
    asked.clear()
    assert matcher.match([PATIENT, item(9, 9)], 0) == []
    assert asked == []


def test_a_rule_of_denials_alone_needs_no_trigger():
    program = compile_rules(
        [made("nothing", c.p << fact("patient"), none(finding("k0")))], SCHEMA, {}
    )
    matcher = DurableMatcher(program)
    assert matcher.match([PATIENT], 0) == [("nothing", (0,))]
    assert matcher.match([PATIENT, item(0, 1)], 0) == []
    matcher.close()


def test_what_is_remembered_about_present_kinds_is_bounded(two_topics, monkeypatch):
    _, matcher = two_topics
    monkeypatch.setattr(rules.driver, "_MOST_PLANS", 2)
    for kind in range(8):
        matcher.match([PATIENT, item(kind, 1)], 0)
        assert len(matcher._strata[0]._plans) <= 2


def test_a_closed_matcher_says_so_and_may_be_closed_again():
    matcher = DurableMatcher(compile_rules(topic(0, 3), SCHEMA, {}))
    matcher.close()
    matcher.close()
    with pytest.raises(EngineError, match="closed"):
        matcher.match([PATIENT], 0)


def test_too_many_firings_are_an_error_in_both_engines(monkeypatch):
    program = compile_rules(topic(0, 2), SCHEMA, {})
    items = [PATIENT, *(item(0, 1) for _ in range(12)), *(item(1, 2) for _ in range(12))]
    monkeypatch.setattr("rules.driver.MOST_MATCHES", 100)
    monkeypatch.setattr("rules.oracle.MOST_MATCHES", 100)
    for matcher in (DurableMatcher(program), CompiledMatcher(program)):
        with pytest.raises(EngineError, match="more than 100 firings"):
            matcher.match(items, 0)
        assert len(matcher.match(items[:-4], 0)) == 96
        matcher.close()


def test_a_definition_the_engine_refuses_stops_the_start(monkeypatch):
    program = compile_rules(topic(0, 3), SCHEMA, {})
    monkeypatch.setattr(rules.driver, "write_definition", lambda *_: '{"r0":{"all":')
    with pytest.raises(EngineError, match="refused 2 rules"):
        DurableMatcher(program)


def test_a_missing_engine_names_the_line_that_mends_it(monkeypatch):
    assert explain_import_error() is None
    monkeypatch.setitem(sys.modules, "durable_rules_engine", None)
    with pytest.raises(ImportError) as missing:
        load_engine()
    for words in (
        'CPPFLAGS="-O2 -DPyEval_CallObject=PyObject_CallObject"',
        "2.0.28",
        "DEKACARD_ENGINE=compiled",
    ):
        assert words in str(missing.value)
    assert explain_import_error() == str(missing.value)


def test_importing_the_driver_does_not_import_the_engine(monkeypatch):
    program = compile_rules(topic(0, 3), SCHEMA, {})
    monkeypatch.setitem(sys.modules, "durable_rules_engine", None)
    with pytest.raises(ImportError, match="CPPFLAGS"):
        DurableMatcher(program)
    assert CompiledMatcher(program).match([PATIENT, item(0, 1), item(1, 2)], 0)


@pytest.fixture
def restless_threads():
    """Threads that take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("restless_threads")
def test_threads_share_a_matcher_without_mixing_patients(two_topics):
    program, matcher = two_topics
    compiled = CompiledMatcher(program)
    patients = [
        [PATIENT, *(item(kind, (kind * seed) % 7) for kind in range(16) if (kind + seed) % 3)]
        for seed in range(60)
    ]
    expected = [compiled.match(one, 0) for one in patients]
    wrong = []

    def work(offset):
        for turn in range(120):
            place = (turn + offset) % len(patients)
            try:
                if matcher.match(patients[place], 0) != expected[place]:
                    wrong.append(place)
            except EngineError as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(n * 7,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert any(expected)


def test_two_hundred_reloads_leave_little_behind():
    program = compile_rules([*topic(0, 8), *topic(8, 16)], SCHEMA, {})
    items = [PATIENT, *(item(kind, kind) for kind in range(16))]

    def reload():
        matcher = DurableMatcher(program)
        assert matcher.match(items, 0)
        matcher.close()

    process = psutil.Process()
    for _ in range(20):
        reload()
    before = process.memory_info().rss
    for _ in range(200):
        reload()
    # Without delete_ruleset it is 60 MB and more; the allocator alone may keep a few.
    assert process.memory_info().rss - before < 8_000_000


def test_a_forgotten_matcher_gives_its_memory_back(monkeypatch):
    deleted = []
    engine = load_engine()

    class Watched:
        def __getattr__(self, name):
            return getattr(engine, name)

        def delete_ruleset(self, handle):
            deleted.append(handle)
            engine.delete_ruleset(handle)

    monkeypatch.setattr(rules.driver, "load_engine", Watched)
    matcher = DurableMatcher(compile_rules(topic(0, 3), SCHEMA, {}))
    del matcher
    assert len(deleted) == 1
