"""The arithmetic of doses: from dosage and strength to an amount a day, or the reason why there is none."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_adapter.dosage import Dose
from fhir_adapter.product_words import Part
from fhir_adapter.regimen import Regimen, regimen_of
from rules.units import DoseUnit
from rules.vocabulary import Vocabulary

UNITS, UG, MG = DoseUnit("units"), DoseUnit("mass"), DoseUnit("mass", 1000.0)
K, D, W = Part("vitamin-k2-mk7", 100.0), Part("vitamin-d3", 1000.0), Part("warfarin", 5.0)
DAILY = Dose(pieces=1.0, interval_days=1.0)


def worked_out(vocabulary, part, *doses, others=()):
    return regimen_of(part, (part, *others), list(doses), vocabulary)


@pytest.mark.parametrize(
    ("part", "dose", "expected"),
    [
        (K, DAILY, Regimen(100.0, 1.0, 100.0)),
        (K, DAILY._replace(pieces=1.5, interval_days=7.0), Regimen(150.0, 7.0, 21.428571)),
        (K, DAILY._replace(pieces=0.0, notes=("n",)), Regimen(None, 1.0, problem="the amount is recorded as zero", note="n")),
        (K, DAILY._replace(single=True), Regimen(100.0, problem="it is a single dose")),
        (K, DAILY._replace(single=True, notes=("n",)), Regimen(100.0, problem="it is a single dose", note="n")),
        (K, DAILY._replace(interval_days=None, notes=("n",)), Regimen(100.0, problem="how often it is taken is not recorded", note="n")),
        (K, DAILY._replace(interval_days=None, ambiguous=True), Regimen(100.0, problem="the instruction can be read in two ways")),
        (K, DAILY._replace(ambiguous=True, notes=("n",)), Regimen(None, 1.0, problem="the instruction can be read in two ways", note="n")),
        (K, DAILY._replace(problem="x", notes=("n",)), Regimen(problem="the dosage cannot be read: x", note="n")),
        (K, DAILY._replace(notes=("a", "b")), Regimen(100.0, 1.0, 100.0, note="a; b")),
        (K, Dose(interval_days=1.0), Regimen(None, 1.0, problem="how many pieces are taken is not recorded")),
        (Part("vitamin-k1"), Dose(interval_days=1.0), Regimen(None, 1.0, problem="the amount is not recorded")),
        (Part("vitamin-k1"), Dose(interval_days=1.0, notes=("n",)), Regimen(None, 1.0, problem="the amount is not recorded", note="n")),
        (K, DAILY._replace(interval_days=1 / 3), Regimen(100.0, 0.333333, 300.0)),
        (W, Dose(amounts=((2.5, MG),), interval_days=1.0), Regimen(2.5, 1.0, 2.5)),
        (K, Dose(amounts=((100.0, UG),), pieces=1 / 3, relation="each", interval_days=1.0), Regimen(33.333333, 1.0, 33.333333)),
        (Part("vitamin-k1"), DAILY, Regimen(None, 1.0, problem="the strength of one piece is not known")),
        (Part("vitamin-d3", 400.0, "mL"), Dose(volume=2.0, interval_days=1.0), Regimen(800.0, 1.0, 800.0)),
        (D, Dose(volume=2.0, interval_days=1.0), Regimen(None, 1.0, problem="the dose is a volume of unknown concentration")),
        (Part("vitamin-d3", 400.0, "drop"), Dose(drops=3.0, interval_days=1.0), Regimen(1200.0, 1.0, 1200.0)),
        (D, Dose(drops=3.0, interval_days=1.0), Regimen(None, 1.0, problem="the dose is in drops of unknown strength")),
        (D, Dose(amounts=((25.0, UG),), interval_days=1.0), Regimen(1000.0, 1.0, 1000.0)),
        (D, Dose(amounts=((25.0, UG), (1000.0, UNITS)), interval_days=1.0), Regimen(1000.0, 1.0, 1000.0)),
        (D, Dose(amounts=((10.0, UG), (410.0, UNITS)), interval_days=1.0), Regimen(410.0, 1.0, 410.0)),
        (D, Dose(amounts=((25.0, UG), (5000.0, UNITS)), interval_days=1.0), Regimen(None, 1.0, problem="two different amounts are stated")),
        (K, Dose(amounts=((1000.0, UNITS),), interval_days=1.0), Regimen(None, 1.0, problem="the unit of the dose does not fit the substance")),
        (K, Dose(amounts=((50.0, UG),), pieces=2.0, relation="each", interval_days=1.0), Regimen(100.0, 1.0, 100.0)),
        (K, Dose(amounts=((100.0, UG),), pieces=2.0, relation="unclear", interval_days=1.0), Regimen(200.0, 1.0, 200.0)),
        (K, Dose(amounts=((200.0, UG),), pieces=2.0, relation="unclear", interval_days=1.0), Regimen(200.0, 1.0, 200.0)),
        (K, Dose(amounts=((300.0, UG),), pieces=2.0, relation="unclear", interval_days=1.0),
         Regimen(None, 1.0, problem="pieces, strength and amount contradict each other")),
        (Part("vitamin-k1"), Dose(amounts=((300.0, UG),), pieces=2.0, relation="unclear", interval_days=1.0),
         Regimen(None, 1.0, problem="whether the amount is for one piece or for all is unclear")),
        (K, Dose(amounts=((300.0, UG),), pieces=1.0, relation="unclear", interval_days=1.0), Regimen(300.0, 1.0, 300.0)),
    ],
)  # fmt: skip
def test_what_is_taken_a_day(vocabulary, part, dose, expected):
    assert worked_out(vocabulary, part, dose) == expected


@pytest.mark.parametrize(
    ("part", "dose", "others", "amount"),
    [
        # two figures of one label may differ by a twentieth, and not more
        (K, Dose(amounts=((100.0, UG), (0.105, MG))), (), 100.0),
        (K, Dose(amounts=((100.0, UG), (0.106, MG))), (), None),
        (K, Dose(amounts=((100.0, UG), (0.094, MG))), (), None),
        # strength or total, as far as they agree within a hundredth
        (K, Dose(amounts=((101.0, UG),), pieces=2.0, relation="unclear"), (), 202.0),
        (K, Dose(amounts=((102.0, UG),), pieces=2.0, relation="unclear"), (), None),
        (K._replace(amount=99.0), Dose(amounts=((100.0, UG),), pieces=2.0, relation="unclear"), (), 200.0),
        (K._replace(amount=99.0), Dose(amounts=((200.0, UG),), pieces=2.0, relation="unclear"), (), 200.0),
        (K, Dose(amounts=((202.0, UG),), pieces=2.0, relation="unclear"), (), 202.0),
        (K, Dose(amounts=((205.0, UG),), pieces=2.0, relation="unclear"), (), None),
        (K, Dose(amounts=((50.0, UG),), pieces=0.5, relation="unclear"), (), 50.0),
        (K, Dose(amounts=((50.0, UG),), relation="unclear"), (), 50.0),
        (K, Dose(amounts=((50.0, UG),), relation="each"), (), 50.0),
        (K, Dose(amounts=((50.0, UG),), pieces=2.0, relation="total"), (), 50.0),
        # counted in the other ingredient: a usual number of pieces, or nothing
        (K, Dose(amounts=((2015.0, UNITS),)), (D,), 200.0),
        (K, Dose(amounts=((500.0, UNITS),)), (D,), 50.0),
        (K._replace(amount=45.5), Dose(amounts=((500.0, UNITS),)), (D,), 22.75),
        (K, Dose(amounts=((508.0, UNITS),)), (D,), None),
        (K, Dose(amounts=((2000.0, UNITS),)), (Part("vitamin-d3"),), None),
        (K, Dose(amounts=((800.0, UNITS),)), (Part("vitamin-d3", 400.0, "mL"),), None),
        (Part("vitamin-k2-mk7", 20.0, "mL"), Dose(amounts=((2000.0, UNITS),)), (D,), None),
        (Part("vitamin-k2-mk7"), Dose(amounts=((2000.0, UNITS),)), (D,), None),
        (K, Dose(amounts=((2000.0, UNITS),), pieces=2.0, relation="unclear"), (D,), 200.0),
        # two ingredients that both could be meant: the one of which it is a usual number of pieces
        (K, Dose(amounts=((100.0, UG),)), (Part("vitamin-k1", 7.0),), 100.0),
        (Part("vitamin-k1", 7.0), Dose(amounts=((100.0, UG),)), (K,), 7.0),
        (Part("vitamin-d3", 400.0, "mL"), Dose(pieces=2.0), (), None),
        (D, Dose(volume=2.0), (), None),
    ],
)  # fmt: skip
def test_amounts_that_agree_and_amounts_that_do_not(vocabulary, part, dose, others, amount):
    assert (
        worked_out(vocabulary, part, dose._replace(interval_days=1.0), others=others).daily
        == amount
    )


def test_without_a_tolerance_two_figures_of_one_label_must_be_the_same(vocabulary):
    strict = Vocabulary(msgspec.structs.replace(vocabulary.content, label_tolerance=None))
    for second, daily in ((0.1, 100.0), (0.1001, None)):
        dose = Dose(amounts=((100.0, UG), (second, MG)), interval_days=1.0)
        assert worked_out(strict, K, dose).daily == daily


def test_why_an_amount_is_unknown_is_told(vocabulary):
    counts_other = Dose(amounts=((2000.0, UNITS),), interval_days=1.0)
    bare = Part("vitamin-k2-mk7")
    assert worked_out(vocabulary, bare, counts_other, others=(D,)).problem == "the dose counts another ingredient of the product"  # fmt: skip
    named = bare._replace(problem="the label gives two different strengths")
    for dose in (counts_other, DAILY):
        assert worked_out(vocabulary, named, dose, others=(D,)).problem == named.problem


def test_a_dose_that_counts_the_other_ingredient_is_turned_into_pieces(vocabulary):
    two = Dose(amounts=((2000.0, UNITS),), interval_days=1.0)
    assert worked_out(vocabulary, K, two, others=(D,)) == Regimen(200.0, 1.0, 200.0)
    odd = Dose(amounts=((2700.0, UNITS),), interval_days=1.0)
    assert worked_out(vocabulary, K, odd, others=(D,)).daily is None


def test_a_dose_in_mass_that_either_ingredient_could_be_is_unknown(vocabulary):
    both = Dose(amounts=((100.0, UG),), interval_days=1.0)
    other = Part("vitamin-k1", 100.0)
    found = worked_out(vocabulary, K, both, others=(other,))
    assert found.problem == "the dose does not say which ingredient it counts"


def test_doses_of_one_day_are_added_and_an_unknown_one_makes_the_sum_unknown(vocabulary):
    found = worked_out(vocabulary, W, DAILY, DAILY._replace(pieces=0.5, interval_days=0.5))
    assert found == Regimen(3.333333, 0.333333, 10.0, note="several doses of one day are added up")
    halves = worked_out(vocabulary, W, DAILY._replace(pieces=0.5), DAILY._replace(pieces=0.25))
    assert (halves.amount, halves.interval_days, halves.daily) == (1.875, 0.5, 3.75)
    told = worked_out(vocabulary, W, DAILY._replace(notes=("n",)), DAILY._replace(notes=("n",)))
    assert told.note == "n; several doses of one day are added up"
    unknown = worked_out(vocabulary, W, DAILY._replace(notes=("n", "m")), Dose(notes=("n",)))
    assert unknown == Regimen(problem="how many pieces are taken is not recorded", note="n; m")


@settings(deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0]), min_size=1, max_size=7))
def test_doses_on_days_of_the_week_are_a_seventh_of_what_is_taken_in_the_week(vocabulary, pieces):
    """Warfarin is often written day by day: seven roundings must not add up to another dose."""
    days = [Dose(pieces=count, interval_days=7.0) for count in pieces]
    found = worked_out(vocabulary, W, *days)
    assert found.daily == round(5.0 * sum(pieces) / 7, 6)
    assert found.interval_days == round(7 / len(pieces), 6)
    assert found.amount == round(5.0 * sum(pieces) / len(pieces), 6)


def test_steps_and_nothing_at_all_are_unknown(vocabulary):
    assert worked_out(vocabulary, W).problem == "no dosage is recorded"
    steps = [DAILY._replace(sequence=1.0), DAILY._replace(sequence=2.0)]
    assert worked_out(vocabulary, W, *steps).problem == "the dosage has several steps"


def test_an_amount_that_is_never_daily_says_so(vocabulary):
    limit = vocabulary.never_daily_from("vitamin-d3")
    part = Part("vitamin-d3", limit)
    unknown = "how often it is taken is not recorded"
    weekly = f"{unknown}; such an amount is usually taken weekly or monthly"
    assert worked_out(vocabulary, part, Dose(pieces=1.0)).problem == weekly
    assert worked_out(vocabulary, part._replace(amount=limit - 1), Dose(pieces=1.0)).problem == unknown  # fmt: skip
