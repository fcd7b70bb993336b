"""Nothing that could harm the engine gets past the reader, and what passes arrives as it was."""

import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.authoring import c, fact, finding, m, none, rule, when_all
from rules.compiler import Item, compile_rules
from rules.driver import DurableMatcher
from rules.encoding import (
    MOST_ITEMS,
    ItemReader,
    Wire,
    blank_row,
    quick_reader_source,
    read_carefully,
    write_batch,
)
from rules.errors import FactError
from rules.oracle import CompiledMatcher

SCHEMA = {
    "patient": {"age_years": "integer?"},
    "context": {"hook": "text"},
    "finding:all": {
        "words": "text",
        "count": "integer",
        "dose": "number",
        "yes": "boolean",
        "maybe_words": "text?",
        "maybe_count": "integer?",
        "maybe_dose": "number?",
        "maybe_yes": "boolean?",
    },
    "finding:other": {"unused": "number"},
}
WHOLE = {"about": "a", "words": "w", "count": 1, "dose": 1.5, "yes": True}
PATIENT = Item("patient", {})


@rule("uses-all")
@when_all(
    c.p << fact("patient") & (m.age_years > 0),
    c.x << finding("all") & (m.words == "w") & (m.count > 0) & (m.dose > 0) & (m.yes == True),  # noqa: E712
    c.y << finding("all") & (m.maybe_words != "") & (m.maybe_count > 0) & (m.maybe_dose > 0),
    c.z << finding("all") & (m.maybe_yes == True) & (m.about == c.x.about),  # noqa: E712
)
def uses_all(_case): ...


@rule("any")
@when_all(c.x << finding("all") & (m.about != "never"))
def any_of_them(_case): ...


PROGRAM = compile_rules([uses_all, any_of_them], SCHEMA, {})


@pytest.fixture(scope="module")
def matchers():
    both = DurableMatcher(PROGRAM), CompiledMatcher(PROGRAM)
    yield both
    both[0].close()


HOSTILE = {
    "count": [
        math.nan,
        math.inf,
        1.0,
        1e22,
        2**53 + 1,
        2**63,
        -(2**64),
        True,
        "5",
        None,
        [],
        {},
        b"bytes",
    ],
    "dose": [math.nan, math.inf, -math.inf, 1e22, 2**63, True, "1.5", None, [1.0], 1j],
    "yes": [0, 1, "true", None, 1.0, []],
    "words": ["x" * 2_001, "x" * 70_000, 5, 5.0, True, None, b"w", ["w"]],
    "about": [None, 5, "x" * 70_000],
    "maybe_count": [1.5, False, "1"],
    "maybe_dose": [math.nan, "", True],
    "maybe_words": [0, "x" * 2_001],
    "maybe_yes": [0, "false"],
}


@pytest.mark.parametrize(
    ("field", "value"), [(f, v) for f, values in HOSTILE.items() for v in values]
)
def test_a_hostile_value_is_a_fact_error_that_names_the_field_and_not_the_value(
    matchers, field, value
):
    for matcher in matchers:
        with pytest.raises(FactError) as refused:
            matcher.match([PATIENT, Item("finding:all", WHOLE | {field: value})], 0)
        assert f"finding:all.{field}" in str(refused.value)
        assert "xxx" not in str(refused.value)


@pytest.mark.parametrize(
    "items",
    [
        [],
        [Item("finding:all", WHOLE)],
        [PATIENT, PATIENT],
        [PATIENT, Item("finding:nope", {})],
        [PATIENT, Item("$forward", {})],
        [PATIENT, Item("finding:all", {})],
        [PATIENT, Item("finding:all", {**WHOLE, "$forward": 1})],
        [PATIENT, Item("finding:all", {**WHOLE, "id": "7"})],
        [PATIENT, Item("finding:all", {**WHOLE, "sid": "7", "maybe_yes": None})],
        [PATIENT, Item("finding:all", {**WHOLE, "a.b": {"c": 1}})],
        [PATIENT, *[Item("finding:other", {})] * MOST_ITEMS],
        [PATIENT, *[Item("finding:all", WHOLE)] * 200],
    ],
)
def test_a_hostile_batch_is_a_fact_error(matchers, items):
    for matcher in matchers:
        with pytest.raises(FactError):
            matcher.match(items, 0)


def test_a_hostile_batch_leaves_the_matcher_as_it_was(matchers):
    for matcher in matchers:
        with pytest.raises(FactError):
            matcher.match([], 0)
        assert matcher.match([PATIENT, Item("finding:all", WHOLE)], 0) == [("any", (1,))]


def test_many_items_of_kinds_no_rule_of_the_stratum_looks_at_are_passed_over(matchers):
    items = [
        PATIENT,
        *[Item("finding:other", {"unused": math.nan})] * 900,
        Item("finding:all", WHOLE),
    ]
    for matcher in matchers:
        assert matcher.match(items, 0) == [("any", (901,))]


TEXTS = {
    "empty": "",
    "half a surrogate pair": "\ud800",
    "null": "\x00",
    "quotes": 'quo"te',
    "backslash": "back\\slash",
    "a name of the engine": "$forward",
    "beyond ASCII": "ümlaut \U0001f48a",
    "a number": "5",
    "a truth": "true",
    "as long as may be": "x" * 2_000,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_can_be_tested_and_joined(text):
    @rule("equal")
    @when_all(
        c.x << finding("all") & (m.words == text), c.y << finding("all") & (m.words == c.x.words)
    )
    def equal(_case): ...

    @rule("unequal")
    @when_all(c.x << finding("all") & (m.words != text))
    def unequal(_case): ...

    program = compile_rules([equal, unequal], SCHEMA, {})
    words = (text, text, text + "x" if len(text) < 2_000 else "x")
    items = [PATIENT, *(Item("finding:all", WHOLE | {"words": word}) for word in words)]
    durable = DurableMatcher(program)
    expected = [("equal", (1, 2)), ("equal", (2, 1)), ("unequal", (3,))]
    assert durable.match(items, 0) == CompiledMatcher(program).match(items, 0) == expected
    durable.close()


numbers = st.floats(-(2.0**53), 2.0**53) | st.integers(-(2**53), 2**53)


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=8), numbers)
def test_any_number_compares_and_joins_as_in_python(values, limit):
    @rule("above")
    @when_all(c.x << finding("all") & (m.dose > limit))
    def above(_case): ...

    @rule("same")
    @when_all(c.x << finding("all"), c.y << finding("all") & (m.dose == c.x.dose))
    def same(_case): ...

    @rule("less")
    @when_all(c.x << finding("all"), c.y << finding("all") & (m.dose < c.x.dose))
    def less(_case): ...

    program = compile_rules([above, same, less], SCHEMA, {})
    durable = DurableMatcher(program)
    items = [PATIENT, *(Item("finding:all", WHOLE | {"dose": value}) for value in values)]
    places = range(1, len(items))
    held = {place: float(values[place - 1]) for place in places}
    expected = [("above", (one,)) for one in places if held[one] > float(limit)]
    pairs = [(one, other) for one in places for other in places if one != other]
    expected += [("less", pair) for pair in pairs if held[pair[1]] < held[pair[0]]]
    expected += [("same", pair) for pair in pairs if held[pair[1]] == held[pair[0]]]
    assert durable.match(items, 0) == sorted(expected)
    durable.close()


hostile = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**53), 2**53),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.integers(), max_size=2),
    st.sampled_from(["x" * 2_000, "x" * 2_001, "\ud800", 1e-07, 5e-324, -0.0, 1e22, 2**63]),
)
fields = st.sampled_from([*SCHEMA["finding:all"], "about", "$forward", "id", "sid", "a.b"])


@settings(deadline=None)
@given(st.dictionaries(fields, hostile, max_size=10), st.booleans())
def test_the_quick_reader_agrees_with_the_careful_one(matchers, changes, whole):
    values = {**WHOLE, **changes} if whole else changes
    kind = PROGRAM.kinds["finding:all"]
    reader = ItemReader(PROGRAM, PROGRAM.rules[0])
    items = [PATIENT, Item("finding:all", values)]
    expected, refused = None, ""
    try:
        expected = read_carefully(kind, values)
    except FactError as error:
        refused = str(error)
    if expected is None:
        with pytest.raises(FactError, match=re.escape(refused)):
            reader.read(items)
        for matcher in matchers:
            with pytest.raises(FactError, match=re.escape(refused)):
                matcher.match(items, 0)
    else:
        ((_, row),) = reader.read(items)["finding:all"]
        assert [(type(v), str(v)) for v in row] == [(type(v), str(v)) for v in expected]
        assert matchers[0].match(items, 0) == matchers[1].match(items, 0)


def test_many_items_are_read_as_long_as_no_rule_must_look_at_too_many_combinations():
    @rule("three")
    @when_all(
        c.x << finding("all"),
        none(finding("other")),
        c.y << finding("all") & (m.count == c.x.count),
        c.z << finding("all") & (m.count == c.y.count),
    )
    def three(_case): ...

    compiled = CompiledMatcher(compile_rules([three, any_of_them], SCHEMA, {}))
    items = [PATIENT, *(Item("finding:all", WHOLE | {"count": n}) for n in range(126))]
    assert len(compiled.match(items, 0)) == 126  # 126 * 125 * 124 is still below two million
    with pytest.raises(FactError, match="too many"):
        compiled.match([*items, items[-1]], 0)


def test_as_many_items_as_may_be_are_read_and_not_one_more():
    reader = ItemReader(PROGRAM, PROGRAM.rules[0])
    others = [Item("finding:other", {})] * (MOST_ITEMS - 1)
    assert list(reader.read([PATIENT, *others])) == ["patient"]
    with pytest.raises(FactError, match="at most 1000"):
        reader.read([PATIENT, PATIENT, *others])


def _reader_of(*conditions):
    @rule("many")
    @when_all(*conditions)
    def many(_case): ...

    program = compile_rules([many], SCHEMA, {})
    return ItemReader(program, program.rules[0])


def _items(all_of=0, other=0, contexts=0):
    yield PATIENT
    yield from [Item("finding:all", WHOLE)] * all_of
    yield from [Item("finding:other", {"about": "a", "unused": 1.0})] * other
    yield from [Item("context", {"hook": "h"})] * contexts


def test_two_million_combinations_are_looked_at_and_not_one_more():
    reader = _reader_of(c.x << finding("all"), c.y << finding("other"), c.z << fact("context"))
    assert reader.read(list(_items(200, 100, 100)))
    with pytest.raises(FactError, match="2010000 combinations"):
        reader.read(list(_items(201, 100, 100)))


def test_an_item_is_combined_with_the_others_of_its_kind_and_not_with_itself():
    reader = _reader_of(*(getattr(c, name) << finding("all") for name in "wxyz"))
    assert reader.read(list(_items(39)))  # 39 * 38 * 37 * 36 is below two million
    with pytest.raises(FactError, match="2193360 combinations"):
        reader.read(list(_items(40)))


def test_a_kind_without_items_leaves_nothing_to_combine():
    reader = _reader_of(
        c.w << finding("other"), *(getattr(c, name) << finding("all") for name in "xyz")
    )
    assert reader.read(list(_items(200)))


def test_well_formed_items_take_the_quick_way():
    def carefully(_kind, values):
        raise AssertionError(f"read carefully: {values}")

    kind = PROGRAM.kinds["finding:all"]
    scope = {"carefully": carefully, "kind": kind, "declared": kind.declared}
    exec(quick_reader_source(kind), scope)
    maybe = {"maybe_words": "", "maybe_count": 0, "maybe_dose": 0.5, "maybe_yes": False}
    for values in (WHOLE, WHOLE | maybe, WHOLE | dict.fromkeys(maybe)):
        assert scope["read"](values) == read_carefully(kind, values)


def test_zero_has_no_sign_whichever_way_it_is_read():
    """Joins compare the text of numbers, and -0.0 reads unlike 0.0."""
    reader = ItemReader(PROGRAM, PROGRAM.rules[0])
    ((_, row),) = reader.read(
        [PATIENT, Item("finding:all", WHOLE | {"dose": -0.0, "maybe_dose": -0.0})]
    )["finding:all"]
    assert [str(value) for value in row if value == 0.0 and isinstance(value, float)] == ["0.0"] * 2


def test_a_blank_row_says_nothing_in_the_type_of_every_field():
    kind = PROGRAM.kinds["finding:all"]
    index, row = blank_row(kind)
    blanks = {"text": "", "integer": 0, "number": 0.0, "boolean": False}
    expected = [None if field.optional else blanks[field.type] for field in kind.fields]
    assert index == 0
    assert [(type(v), v) for v in row] == [(type(v), v) for v in expected]


def test_facts_are_written_as_the_reader_of_the_engine_takes_them():
    wire = Wire.of(PROGRAM)
    kind = PROGRAM.kinds["finding:all"]
    row = read_carefully(kind, WHOLE | {"dose": 1e-07})
    place = wire.place("finding:all", "dose")
    assert f'"f{place}":1.0e-07' in wire.writer(kind)((0, row), wire.symbols())
    assert write_batch(['{"a":1}', '{"b":2}']) == '[{"a":1},{"b":2}]'


def test_an_items_values_are_never_changed(matchers):
    values = dict(WHOLE)
    for matcher in matchers:
        matcher.match([PATIENT, Item("finding:all", values)], 0)
    assert values == WHOLE


@settings(deadline=None)
@given(st.floats(-(2.0**53), 2.0**53))
def test_numbers_are_written_with_a_dot_and_read_back_the_same(number):
    wire = Wire.of(PROGRAM)
    kind = PROGRAM.kinds["finding:all"]
    row = read_carefully(kind, WHOLE | {"dose": number, "maybe_dose": number})
    text = write_batch([wire.writer(kind)((0, row), wire.symbols())])
    (fact_read,) = json.loads(text)
    place = wire.place("finding:all", "dose")
    assert fact_read[f"f{place}"] == number
    assert all("." in part for part in text.split(",") if "e" in part)
    assert str(wire.constant(number)) in text or number == 0
