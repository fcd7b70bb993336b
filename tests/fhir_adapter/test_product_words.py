"""Products in words: every strength belongs to the ingredient it stands beside."""

import pytest

from fhir_adapter.product_words import read_product_words


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("D3 5,000 IU / K2 MK-7 100 mcg softgel", {"vitamin-d3": 5000, "vitamin-k2-mk7": 100}),
        ("5,000 IU D3 + 100 mcg K2", {"vitamin-d3": 5000, "vitamin-k2": 100}),
        ("K2/D3 100 mcg/5000 IU", {"vitamin-d3": 5000, "vitamin-k2": 100}),
        ("D3 K2 5000 IU", {"vitamin-d3": 5000, "vitamin-k2": None}),
        ("Vitamin D3 125 mcg (5000 IU) capsule", {"vitamin-d3": 5000}),
        ("Dekristol 20.000 I.E. Weichkapseln", {"vitamin-d3": 20000}),
        ("Vitamin D 50 000 UI ampoule", {"vitamin-d": 50000}),
        ("Vitamin D3 5k IU", {"vitamin-d3": 5000}),
        ("cholecalciferol 0.025 MG Oral Tablet", {"vitamin-d3": 1000}),
        ("Ergocalciferol 1.25 MG (50,000 UNT) Oral Capsule", {"vitamin-d2": 50000}),
        ("Calcium 600 mg with vitamin D3 800 IU", {"calcium": 600, "vitamin-d3": 800}),
        ("Vitamin D3 1000 IU and vitamin B12 1000 mcg", {"vitamin-d3": 1000}),
        ("MK-7 100 µg", {"vitamin-k2-mk7": 100}),
        ("MK-7 100 μg", {"vitamin-k2-mk7": 100}),
        ("Vitamin K2 0.1 MG", {"vitamin-k2": 100}),
        ("Vitamin D3 5000 IU per 2 softgels", {"vitamin-d3": 2500}),
        ("Vitamin K2 MK-7 180 mcg (serving size 2 capsules)", {"vitamin-k2-mk7": 90}),
        ("vitamin d3 5000", {"vitamin-d3": None}),
        ("Alpha D3 0.25 mcg", {"alfacalcidol": 0.25}),
        ("Vitamin D3 1.250 mg", {"vitamin-d3": None}),
        # as American drug lists name combinations
        ("Calcium + Vitamin D 600 mg-400 IU", {"calcium": 600, "vitamin-d": 400}),
        ("Calcium carbonate-vitamin D3 600 mg-10 mcg (400 unit) tablet", {"calcium-carbonate": 600, "vitamin-d3": 400}),
        ("Vitamin D3-vitamin K2 125 mcg-100 mcg", {"vitamin-d3": 5000, "vitamin-k2": 100}),
        ("Vitamin K2-D3 100-5000 mcg-unit", {"vitamin-d3": None, "vitamin-k2": None}),
        ("Vitamin K2 (MK-7) 45-180 mcg capsule", {"vitamin-k2-mk7": None}),
        ("Calcium-magnesium-vitamin D 600 mg-400 unit", {"calcium": None, "vitamin-d": 400}),
        ("VITAMIN D3 50 MCG (2000 UT) CAPS", {"vitamin-d3": 2000}),
        ("Calcium 600 mg + D 400 IU", {"calcium": 600, "vitamin-d": 400}),
        ("1,25-dihydroxyvitamin D 0.25 mcg", {"calcitriol": 0.25}),
        ("25-hydroxyvitamin D3 30 mcg", {"calcifediol": 30}),
        # nobody makes these: the unit is wrong
        ("Vitamin D3 5000 mg", {"vitamin-d3": None}),
        ("Vitamin D3 25 mg", {"vitamin-d3": 1_000_000}),
        ("Vitamin K2 101 mg", {"vitamin-k2": None}),
        ("Menatetrenone 45 mg", {"vitamin-k2-mk4": 45_000}),
    ],
)  # fmt: skip
def test_strengths_find_their_ingredient(vocabulary, words, parts):
    read = read_product_words(words, vocabulary)
    assert {part.ingredient: part.amount for part in read.parts} == parts


def test_a_label_that_contradicts_itself_has_no_strength(vocabulary):
    (part,) = read_product_words("Vitamin D3 125 mcg (4000 IU)", vocabulary).parts
    assert part.amount is None
    assert "two different strengths" in part.problem


def test_concentrations_are_per_volume_or_drop(vocabulary):
    def per(words):
        (part,) = read_product_words(words, vocabulary).parts
        return part.amount, part.per

    assert per("cholecalciferol 400 UNT/ML Oral Solution") == (400, "mL")
    assert per("Vitamin D3 2,000 IU per 5 mL") == (400, "mL")
    assert per("Vitamin D3 1,000 IU/drop") == (1000, "drop")
    assert per("Vitamin D3 10 mcg (400 IU)/mL") == (400, "mL")
    assert per("Vitamin D3 10 mcg/400 IU per mL") == (400, "mL")
    assert per("Vitamin D3 10 mcg (400 IU) per 0.5 mL") == (800, "mL")


def test_a_strength_that_could_mean_two_numbers_says_so(vocabulary):
    (part,) = read_product_words("Vitamin D3 1.250 mg", vocabulary).parts
    assert part.problem == "the strength could mean two numbers"


def test_forms_for_the_skin_are_noticed(vocabulary):
    assert read_product_words("Calcitriol 3 mcg/g ointment", vocabulary).topical
    assert not read_product_words("Vitamin D3 gel capsules", vocabulary).topical
