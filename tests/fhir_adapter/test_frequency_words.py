"""How often, as prescribers and people write it: what is said once, twice, in part, or in two ways."""

import pytest

from fhir_adapter.dose_words import read_dose_words
from fhir_adapter.frequency_words import masked_at


@pytest.mark.parametrize(
    ("words", "interval"),
    [
        # Sentences that prescribing systems build
        ("Take 1 tablet (1,000 Units) by mouth 2 (two) times daily", 1 / 2),
        ("Take 1 tablet by mouth 3 (three) times a day", 1 / 3),
        ("Take 1 capsule by mouth every 7 (seven) days", 7),
        ("Take 50000 units by mouth 1 (one) time per week", 7),
        ("Take 1 capsule by mouth Every 30 Days", 30),
        # Periods
        ("1000 IU/day", 1), ("1000 IU/d", 1), ("5000 iu/week", 7), ("1 tab q wk", 7), ("1 tab q month", 28),
        ("thrice weekly", 7 / 3), ("twice monthly", 14), ("twice a year", 182.5), ("twice yearly", 182.5), ("semi-weekly", 3.5),
        ("every other week", 14), ("every other month", 56), ("every third day", 3), ("once in two weeks", 14),
        ("every fourteen days", 14), ("jeden 2. Tag", 2), ("1 x taeglich", 1), ("every 2nd day", 2), ("once every 3 months", 84),
        ("q4h", 1 / 6), ("every 1440 minutes", 1), ("1440 times a day", 1 / 1440), ("every 36525 days", 36525),
        # Days of the week
        ("5 days a week", 7 / 5), ("2 days per week", 7 / 2), ("on 3 days each week", 7 / 3), ("7 days a week", 1), ("for 5 days a week", 7 / 5),
        ("Mon-Wed-Fri", 7 / 3), ("Mondays and Thursdays", 7 / 2), ("once a week on Sunday", 7), ("Mon and Thu at bedtime", 7 / 2),
        # Times of the day: one moment is often named twice
        ("every night at bedtime", 1), ("nightly at bedtime", 1), ("in the evening with dinner", 1), ("in the morning with breakfast", 1),
        ("every evening at bedtime", 1), ("at night at 9 pm", 1), ("nocte", 1), ("mane", 1), ("each night", 1),
        ("QAM and QHS", 1 / 2), ("at 8 am and 8 pm", 1 / 2), ("every morning and every evening", 1 / 2), ("morning noon night", 1 / 3),
        ("evening and bedtime", 1 / 2), ("evening, bedtime", 1 / 2), ("evening, 1 tablet at bedtime", 1 / 2), ("every morning and nightly", 1 / 2),
        ("1 tablet evening then 1 tablet bedtime", 1 / 2), ("morning, evening, morning", 1 / 2), ("once daily in the evening", 1),
    ],
)  # fmt: skip
def test_how_often(vocabulary, words, interval):
    assert read_dose_words(words, vocabulary).interval_days == pytest.approx(interval)


@pytest.mark.parametrize(
    "words",
    [
        "Monday through Friday", "Mon-Fri", "Mon to Sat", "1 tablet every morning except Sunday", "5 mg nightly except 7.5 mg on Mon",
        "1 tablet daily/week", "1 tablet every night, 2 on Monday", "daily, 5 days a week", "a few times a week", "several times a day", "occasionally",
        "1 (two) times daily", "0-0-0", "daily or every other day", "3 mg od alternating with 4 mg",
    ],
)  # fmt: skip
def test_what_could_mean_two_things_is_neither(vocabulary, words):
    said = read_dose_words(words, vocabulary)
    assert said.interval_days is None
    assert said.ambiguous


@pytest.mark.parametrize(
    "words",
    ["1 tablet with jam", "every 36526 days", "1441 times a day", "0 times a day", "every 0 days", "1 tablet", "with meals"],
)  # fmt: skip
def test_what_says_no_frequency_is_unknown(vocabulary, words):
    said = read_dose_words(words, vocabulary)
    assert said.interval_days is None
    assert not said.ambiguous


@pytest.mark.parametrize(
    ("words", "ranged"),
    [
        ("2 to 3 times daily", True), ("every 2-3 days", True), ("1-2 tablets daily", True), ("1000-2000 IU daily", True),
        ("2 x 1000-2000 IU daily", True), ("take 1-2 daily", True), ("take 2 daily", False), ("2 x 1000 IU daily", False), ("1-2 mL daily", True),
        ("2 times daily", False), ("every 2 days", False), ("1 tablet on Mon and Thu", False),
    ],
)  # fmt: skip
def test_a_range_is_told(vocabulary, words, ranged):
    """The high end counts, and that is said (of a frequency, the more frequent end)."""
    assert read_dose_words(words, vocabulary).ranged is ranged


@pytest.mark.parametrize(
    ("words", "days"),
    [
        ("daily for 2 to 3 weeks", 21), ("daily for 10 days", 10), ("daily x10d", 10), ("weekly for 12 weeks", 84), ("daily for 1 year", 365),
        ("for 5 days a week", None), ("over 30 minutes", None), ("for 24 hours", 1), ("for 36525 days", 36525), ("for 36526 days", None),
        ("for 0 days", None), ("for 1.250 days", None),
    ],
)  # fmt: skip
def test_how_long(vocabulary, words, days):
    assert read_dose_words(words, vocabulary).bounded_days == days


@pytest.mark.parametrize(
    ("words", "single"),
    [
        ("5 mg for 1 dose", True), ("50,000 IU x1 dose", True), ("300,000 IU single dose", True), ("5 mg once now", True),
        ("5 mg by mouth once", True), ("10 mg po once.", True), ("once", True), ("1 tablet daily, once", False), ("once with food", False),
        ("120 mg orlistat", False), ("single dose daily", False), ("5 mg once weekly", False), ("5 mg", False),
    ],
)  # fmt: skip
def test_a_single_dose(vocabulary, words, single):
    assert read_dose_words(words, vocabulary).single is single


def test_what_has_been_read_is_hidden_and_all_else_keeps_its_place():
    assert masked_at("1 tablet daily at noon", 9, 14) == "1 tablet ##### at noon"
