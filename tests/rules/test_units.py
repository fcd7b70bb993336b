"""Units of doses and results: each factor, each dimension, and what is no unit of a substance."""

import pytest

from rules.errors import KnowledgeError
from rules.rulebook import load_rulebook
from rules.units import DoseUnit, Units

VOCABULARY = load_rulebook(["core"]).vocabulary
UNITS = Units(VOCABULARY.content)


def amount(ingredient, value, unit):
    read = UNITS.dose_unit(unit)
    return None if read is None else UNITS.amount(ingredient, value, read)


@pytest.mark.parametrize(
    ("ingredient", "value", "unit", "expected"),
    [
        ("vitamin-k2-mk7", 0.1, "mg", 100.0),
        ("vitamin-k2-mk7", 100, "ug", 100.0),
        ("vitamin-k2-mk7", 100, "MCG", 100.0),
        ("vitamin-k2-mk7", 100.1234564, "ug", 100.123456),
        ("vitamin-k2-mk7", 100, "[IU]", None),
        ("vitamin-k2-mk7", 1, "mL", None),
        ("warfarin", 5, "mg", 5.0),
        ("warfarin", 2500, "ug", 2.5),
        ("warfarin", 1, "ug", 0.001),
        ("warfarin", 0.0004, "ug", 0.0),
        ("warfarin", 1.2345678, "ug", 0.001235),
        ("warfarin", 5, "tablet", None),
        ("vitamin-d3", 1000, "[IU]", 1000.0),
        ("vitamin-d3", 0.0000014, "[IU]", 0.000001),
        ("vitamin-d3", 25, "ug", 1000.0),
        ("vitamin-d3", 0.025, "mg", 1000.0),
        ("vitamin-d3", 0.12345678, "ug", 4.938271),
        ("vitamin-d3", 0.025, "drop", None),
    ],
)
def test_an_amount_in_the_ingredients_own_unit(ingredient, value, unit, expected):
    assert amount(ingredient, value, unit) == expected


def test_a_scale_of_units_counts_times_and_not_through():
    assert UNITS.amount("vitamin-d3", 2.0, DoseUnit("units", 1000.0)) == 2000.0


@pytest.mark.parametrize(("value", "expected"), [(1e12, None), (-1e12, None), (float("nan"), None)])
def test_an_absurd_amount_is_none(value, expected):
    assert UNITS.amount("warfarin", value, DoseUnit("mass", 1000.0)) is expected


def test_the_first_absurd_amount_is_the_limit_itself():
    from rules.units import _TOO_MUCH

    unit = DoseUnit("mass", 1.0)
    assert UNITS.amount("vitamin-k1", _TOO_MUCH, unit) is None
    assert UNITS.amount("vitamin-k1", _TOO_MUCH - 1, unit) == _TOO_MUCH - 1


def test_what_is_not_listed_counts_in_milligrams():
    assert UNITS.unit_of("nobody-knows-this") == "mg"
    assert UNITS.unit_of("warfarin") == "mg"
    assert UNITS.unit_of("vitamin-k1") == "ug"
    assert UNITS.unit_of("vitamin-d3") == "[IU]"


@pytest.mark.parametrize(
    "spelled", ["ug", " UG ", "ug.", "{ug}", "{mcg}.", "mcg", "µg", "Microgram"]
)
def test_one_unit_in_many_spellings(spelled):
    read = UNITS.dose_unit(spelled)
    assert read is not None, spelled
    assert (read.dimension, read.times) == ("mass", 1.0)


@pytest.mark.parametrize("spelled", ["", "furlong", "ng/mL", "g g", "mIU", "MIU", "m[IU]", "M[IU]"])
def test_no_unit_is_none(spelled):
    """UCUM's m[IU] is a thousandth and M[IU] a million: spellings that differ in case alone are not trusted."""
    assert UNITS.dose_unit(spelled) is None


@pytest.mark.parametrize("spelled", ["ng/mL", "ng / mL", "N G  /  M L", " NG/ML ", "ug/L"])
def test_a_result_in_mass_stays_in_mass(spelled):
    read = UNITS.lab_unit("25ohd", spelled)
    assert read is not None
    assert (read.unit, read.family, read.times) == ("ng/mL", "mass", 1.0)


def test_a_result_in_moles_stays_in_moles_and_nothing_is_read_for_another_measure():
    assert UNITS.lab_unit("25ohd", "nmol/L").family == "molar"
    assert UNITS.lab_unit("25ohd", "mg") is None
    assert UNITS.lab_unit("no-such-measure", "ng/mL") is None


def test_units_of_another_vitamin_are_not_counted_as_vitamin_d(tmp_path):
    """One microgram is 40 units of vitamin D; of vitamin A, for one, it is not."""
    from rules.vocabulary import load_vocabulary

    (tmp_path / "u.yaml").write_text(
        'ingredients: {retinol: {title: Retinol, classes: [vitamin-a], unit: "[IU]"},'
        ' d: {title: D, classes: [native-vitamin-d], unit: "[IU]"}}\n'
        "substances: [{classes: [native-vitamin-d], units_per_ug: 40, cite: label}]\n"
    )
    units = Units(load_vocabulary([tmp_path]).content)
    assert units.amount("retinol", 300, DoseUnit("mass")) is None
    assert units.amount("d", 1, DoseUnit("mass")) == 40


def test_a_word_for_two_units_is_refused(tmp_path):
    from rules.vocabulary import load_vocabulary

    (tmp_path / "u.yaml").write_text(
        "dose_units: {pieces: [blob], drops: [blob], mass: {}, units: {}, volume: {}}\n"
    )
    with pytest.raises(KnowledgeError, match=r"'blob' stands for two things"):
        load_vocabulary([tmp_path])


def test_a_spelling_for_two_units_of_a_measure_is_refused(tmp_path):
    from rules.vocabulary import load_vocabulary

    (tmp_path / "u.yaml").write_text(
        "measures: {m: {title: M, source: s, units: {a/b: {family: mass, aliases: [x]}, c/d: {family: molar, aliases: [x]}}}}\n"
    )
    with pytest.raises(KnowledgeError, match=r"the unit 'x' stands for two things"):
        load_vocabulary([tmp_path])


def test_without_a_list_of_dose_units_nothing_is_a_unit(tmp_path):
    from rules.vocabulary import load_vocabulary

    (tmp_path / "u.yaml").write_text("foods: {}\n")
    assert Units(load_vocabulary([tmp_path]).content).dose_unit("mg") is None
