"""A result with a comparator stands for a range, and lies in a band only when all of the range does."""

import math

import pytest

from rules.facts import LabResult
from rules.packs.vitamin_d_status.intervals import Interval, interval_of


def interval(comparator, value):
    lab = LabResult(source=("Observation/1",), measure="25ohd", value=value, unit="ng/mL", comparator=comparator)  # fmt: skip
    return interval_of(lab)


@pytest.mark.parametrize(
    ("comparator", "expected"),
    [
        ("", Interval(12, 12)),
        ("<", Interval(0, 12, high_open=True)),
        ("<=", Interval(0, 12)),
        (">", Interval(12, math.inf, low_open=True)),
        (">=", Interval(12, math.inf)),
    ],
)
def test_what_a_comparator_means(comparator, expected):
    assert interval(comparator, 12) == expected
    assert interval(comparator, 12).comparator == comparator


@pytest.mark.parametrize(
    ("comparator", "below", "from_", "above", "up_to"),
    [
        # at the cut-off of 12
        ("", False, True, False, True), ("<", True, False, False, True), ("<=", False, False, False, True),
        (">", False, True, True, False), (">=", False, True, False, False),
    ],
)  # fmt: skip
def test_at_a_cut_off_only_what_is_certain_counts(comparator, below, from_, above, up_to):
    held = interval(comparator, 12)
    assert (held.below(12), held.from_(12), held.above(12), held.up_to(12)) == (below, from_, above, up_to)  # fmt: skip


def test_beside_a_cut_off_a_plain_number_is_certain():
    held = interval("", 12)
    assert (held.below(12.1), held.from_(12.1), held.above(12.1), held.up_to(12.1)) == (True, False, False, True)  # fmt: skip
    assert (held.below(11.9), held.from_(11.9), held.above(11.9), held.up_to(11.9)) == (False, True, True, False)  # fmt: skip


def test_a_correction_moves_a_range_and_leaves_its_ends_open():
    assert interval("<", 10.2) + Interval(0.8, 0.8) == Interval(0.8, 11.0, high_open=True)
    assert Interval(0.8, 0.8) + interval(">", 10.2) == Interval(11.0, math.inf, low_open=True)
    assert interval("", 0.1) + interval("", 0.2) == Interval(0.3, 0.3)
