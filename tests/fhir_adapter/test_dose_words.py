"""Dosage in words: how much and how often, and silence where the words say two things."""

import msgspec
import pytest

from fhir_adapter.amounts import amount_words
from fhir_adapter.dose_words import read_dose_words
from rules.vocabulary import Vocabulary


@pytest.mark.parametrize(
    ("words", "amounts", "pieces", "interval"),
    [
        ("2 caps of 5,000 IU weekly", (5000,), 2, 7),
        ("125 mcg (5000 IU) daily", (125, 5000), None, 1),
        ("5.000 IE täglich", (5000,), None, 1),
        ("5k IU daily", (5000,), None, 1),
        ("50,000 units once a week", (50000,), None, 7),
        ("1-0-1", (), 1, 0.5),
        ("2-0-1", (), 1.5, 0.5),
        ("0-0-1-0", (), 1, 1),
        ("every other day 1 tablet", (), 1, 2),
        ("1 tablet twice daily", (), 1, 0.5),
        ("one tablet morning and evening", (), 1, 0.5),
        ("2 x 1000 IU daily", (1000,), 2, 1),
        ("1 capsule every morning", (), 1, 1),
        ("1/2 tablet in the morning", (), 0.5, 1),
        ("take 2 daily", (), 2, 1),
        ("1-2 tablets daily", (), 2, 1),
        ("1 tablet q8h", (), 1, 1 / 3),
        ("einmal wöchentlich 1 Kapsel", (), 1, 7),
        ("2x täglich 1 Tablette", (), 1, 0.5),
        ("1 comprimé par jour", (), 1, 1),
        ("1 tablet on Mon, Wed and Fri", (), 1, 7 / 3),
        ("100,000 units every 3 months", (100000,), None, 84),
        ("1 capsule 3 times a week", (), 1, 7 / 3),
        ("Take 1 tablet by mouth once daily at 6 pm, adjust by INR", (), 1, 1),
        ("1½ tablets daily", (), 1.5, 1),
        ("½-0-½", (), 0.5, 0.5),
        ("1–2 tablets daily", (), 2, 1),
        ("one and a half tablets daily", (), 1.5, 1),
        ("take one and one-half (1 1/2) tablets daily", (), 1.5, 1),
        ("one half tablet daily", (), 0.5, 1),
        ("two 5 mg tablets daily", (5,), 2, 1),
        ("take 2 5 mg tablets daily", (5,), 2, 1),
        ("take by mouth two (2) capsules daily", (), 2, 1),
        ("2 x 3 tablets daily", (), 6, 1),
        ("2x1 Tablette täglich", (), 2, 1),
        ("1000-2000 IU daily", (2000,), None, 1),
        ("1,000 to 2,000 IU daily", (2000,), None, 1),
        ("take 20 daily", (), 20, 1),
        ("1 capsule, taken with 200 mL of water, daily", (), 1, 1),
        ("take by mouth 1/2 of a 5 mg tablet daily", (5,), 0.5, 1),
        ("take half of a 10 mg tablet daily", (10,), 0.5, 1),
        ("take two of the 1 mg tablets daily", (1,), 2, 1),
        ("50,000 IU x 1 weekly", (50000,), None, 7),
        # half and quarter tablets of warfarin, as they are written
        ("take 1/2 of a tablet daily", (), 0.5, 1),
        ("take 1/2 a tablet daily", (), 0.5, 1),
        ("take half of one tablet daily", (), 0.5, 1),
        ("take one-half (1/2) of a tablet daily", (), 0.5, 1),
        ("1/4 of a tablet daily", (), 0.25, 1),
        ("take 0.5 of a tablet daily", (), 0.5, 1),
        ("take 1-1/2 tablets daily", (), 1.5, 1),
        ("take 1 - 1/2 tablets daily", (), 1.5, 1),
        ("take 2-1/2 tablets daily", (), 2.5, 1),
        ("take 1 & 1/2 tablets daily", (), 1.5, 1),
        ("take 1+3/4 tablets daily", (), 1.75, 1),
        ("take 1/2-1 tablet daily", (), 1, 1),
        ("1-1/2-0", (), 0.75, 0.5),
        ("1 - 0 - 1/2", (), 0.75, 0.5),
        ("a third of a tablet daily", (), None, 1),
        ("a quarter of a tablet daily", (), 0.25, 1),
        ("three quarters of a tablet daily", (), 0.75, 1),
        ("1000 IE 2-0-2", (1000,), 2, 0.5),
        ("5 mg 1/2-0-0", (5,), 0.5, 1),
        ("1 Tablette 1-0-1", (), 1, 0.5),
    ],
)
def test_amount_and_interval(vocabulary, words, amounts, pieces, interval):
    said = read_dose_words(words, vocabulary)
    assert tuple(one.value for one in said.strengths) == amounts
    assert said.pieces == pieces
    assert said.interval_days == pytest.approx(interval)
    assert not said.ambiguous


@pytest.mark.parametrize(
    "words",
    [
        "biweekly",
        "as directed",
        "daily except Sunday",
        "1 tablet daily, check INR weekly",
        "2 tablets qam and 1 tablet qpm",
        "2 Tabletten 1-0-1",
        "5 Tropfen 2-0-2",
        # four at once, or four times: to read one of them as the dose would be a quarter of it
        "1 mg x 4 daily",
        "5 mg tablets x 2 daily",
        "1000 IU capsule * 2 daily",
    ],
)
def test_two_readings_give_no_interval(vocabulary, words):
    said = read_dose_words(words, vocabulary)
    assert said.ambiguous
    assert said.interval_days is None


@pytest.mark.parametrize("words", ["", "2023-01-01", "see note", "with food", "1000 IU", "one"])
def test_no_frequency_is_unknown(vocabulary, words):
    assert read_dose_words(words, vocabulary).interval_days is None


@pytest.mark.parametrize("words", ["an hour before breakfast daily", "5000 daily", "21 daily", "0.5 mg/kg daily", "400 IU/mL daily", "1000 IU per serving daily"])  # fmt: skip
def test_a_number_without_its_unit_and_a_concentration_are_no_amount(vocabulary, words):
    said = read_dose_words(words, vocabulary)
    assert (said.strengths, said.pieces, said.volume, said.drops) == ((), None, None, None)
    assert said.interval_days == 1


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("2 mL of 400 IU/mL daily", 800),
        ("400 IU per drop, 2 drops daily", 800),
        ("2000 IU per 5 mL, 10 mL daily", 4000),
        ("2 teaspoons of 400 IU/mL daily", 4000),
        ("1000 IU per spray, 2 sprays daily", 2000),
        ("90 mcg per capsule daily", 90),
        ("90 mcg per 2 capsules daily", 90),
    ],
)
def test_a_concentration_counts_as_often_as_it_is_taken(vocabulary, words, taken):
    (only,) = read_dose_words(words, vocabulary).strengths
    assert only.value == taken


def test_a_scheme_says_when_drops_are_taken_and_not_that_they_are_pieces(vocabulary):
    said = read_dose_words("5 Tropfen 1-0-1", vocabulary)
    assert (said.drops, said.pieces, said.interval_days) == (5, None, 0.5)


def test_what_it_is_taken_with_is_not_the_dose(vocabulary):
    said = read_dose_words("5 drops in 100 mL water daily", vocabulary)
    assert (said.drops, said.volume) == (5, None)


def test_a_length_is_not_a_frequency(vocabulary):
    said = read_dose_words("Take 1 capsule by mouth once a week for 8 weeks", vocabulary)
    assert (said.interval_days, said.bounded_days) == (7, 56)
    infusion = read_dose_words("10 mg IV once over 30 minutes", vocabulary)
    assert infusion.single
    assert infusion.bounded_days is None


def test_as_needed_is_noticed(vocabulary):
    assert read_dose_words("1 tablet q4-6h prn", vocabulary).as_needed
    assert not read_dose_words("1 tablet daily", vocabulary).as_needed


def test_what_the_amount_counts(vocabulary):
    def relation(words):
        return read_dose_words(words, vocabulary).relation

    assert relation("2 capsules of 1000 IU daily") == "each"
    assert relation("2,000 IU (2 capsules) daily") == "total"
    assert relation("2 capsules (2,000 IU) daily") == "unclear"
    assert relation("1000 IU per spray, 2 sprays daily") == "total"
    assert (
        relation("2 capsules daily")
        == relation("2,000 IU daily")
        == relation("2 mL (800 IU) daily")
        == ""
    )
    assert relation("2,000 IU = 2 capsules daily") == "total"
    assert relation("2,000 IU, 2 capsules daily") == "unclear"
    assert relation("2 capsules (1,000 IU each) daily") == "each"
    assert relation("half of a 5 mg tablet daily") == "each"
    assert relation("2 tablet(s) of 1000 IU daily") == "each"
    assert (
        relation("2 capsules x 1000 IU daily") == relation("2 capsules * 1000 IU daily") == "each"
    )
    assert relation("2,000 IU, 2 tablet(s) daily") == "unclear"
    assert relation("1000 IE 2-0-0") == "each"
    assert relation("2-0-0") == ""
    assert relation("2 x 1000 IU daily") == relation("two 1000 IU capsules daily") == "each"


def test_a_point_before_three_digits_is_neither_thousands_nor_a_fraction(vocabulary):
    for words in ("1.250 tablets daily", "2 x 1.250 tablets daily", "1.250 x 2 tablets daily"):
        assert read_dose_words(words, vocabulary).pieces is None
    assert read_dose_words("1 tablet every 1.250 days", vocabulary).interval_days is None


def test_packs_without_the_lists_read_no_dosage_and_say_so(vocabulary):
    def without(name):
        content = msgspec.structs.replace(vocabulary.content, code_lists=(), **{name: None})
        return Vocabulary(content)

    for missing in ("timing", "dose_units"):
        with pytest.raises(ValueError, match="no dosage words"):
            read_dose_words("1 tablet daily", without(missing))
    (strength,) = amount_words(without("timing")).strengths("vitamin k2 100 mcg")
    assert strength.value == 100
    assert amount_words(without("dose_units")).strengths("vitamin k2 100 mcg") == []
