"""A finding is kept as its declaration says, however often findings of the same types were made before."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.errors import FactError
from rules.evidence import Evidence
from rules.facts import FactSet, Patient
from rules.in_force import KnowledgeInForce
from rules.rulebook import load_rulebook

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
RULEBOOK = load_rulebook()
KNOWLEDGE = KnowledgeInForce(RULEBOOK, NOON.date(), RULEBOOK.profiles[0])
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.text("ab", max_size=2),
    st.dates(date(2000, 1, 1), date(2030, 1, 1)),
)  # fmt: skip


@st.composite
def fillings(draw):
    """A declared finding with some of its fields in any order, now and then one that is not declared."""
    name = draw(st.sampled_from(sorted(RULEBOOK.finding_fields)))
    fields = draw(st.permutations(sorted(RULEBOOK.finding_fields[name])))
    fields = fields[: draw(st.integers(max(0, len(fields) - 1), len(fields)))]
    fitting = {
        "text": st.text("ab", max_size=2), "name": st.text("ab", max_size=2), "integer": st.integers(-9, 9),
        "number": st.floats(-9, 9), "boolean": st.booleans(), "day": st.dates(),
    }  # fmt: skip
    kinds = RULEBOOK.finding_fields[name]
    values = {}
    for field in fields:
        spec = kinds[field]
        wild = draw(st.integers(0, 9)) == 0
        fits = st.one_of(fitting[spec.kind], st.none()) if spec.optional else fitting[spec.kind]
        values[field] = draw(VALUES if wild else fits)
    if draw(st.integers(0, 9)) == 0:
        values["undeclared"] = draw(VALUES)
    return name, values


def plainly(name, values):
    """What is kept, field by field, without anything remembered."""
    declared, kept = RULEBOOK.finding_fields[name], {}
    for field, value in values.items():
        spec = declared.get(field)
        if spec is None or (value is None and not spec.optional):
            raise FactError(field)
        if value is None:
            continue
        if type(value) not in spec.types:
            raise FactError(field)
        kept[field] = round(float(value), 6) if spec.kind == "number" else value
    if any(not spec.optional and field not in kept for field, spec in declared.items()):
        raise FactError(name)
    return kept


@given(st.lists(fillings(), min_size=1, max_size=4))
def test_values_are_kept_as_declared(filled):
    evidence = Evidence(FactSet(patient=Patient()), KNOWLEDGE, as_of=NOON, today=NOON.date())
    for name, values in filled:
        try:
            expected = plainly(name, values)
        except FactError:
            with pytest.raises(FactError):
                evidence.finding(name, **values)
            continue
        made = evidence.finding(name, **values)
        assert list(made.values.items()) == list(expected.items())
        assert [type(one) for one in made.values.values()] == [
            type(one) for one in expected.values()
        ]
