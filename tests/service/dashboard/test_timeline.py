"""The time line: true time, named axes with units, limits only where the record states them, unknown doses as such."""

from datetime import date
from itertools import pairwise

import pytest

from rules.facts import FactSet, Goal, LabResult, MedicationUse, Patient
from service.dashboard.casebook import as_reported, series
from service.dashboard.plots import sparkline
from service.dashboard.timeline import LEFT, RIGHT, WIDTH, Drawing, window_start

START, END = date(2026, 1, 1), date(2026, 12, 31)
UNITS = {"ug/d": "mcg a day", "ng/mL": "ng/mL"}


def lab(taken, value, measure="inr", unit="", **more):
    return LabResult(
        measure=measure, value=value, taken=taken, unit=unit, reported=f"{value}", **more
    )


def use(**more):
    given = {
        "record": "MedicationStatement/1",
        "ingredient": "vitamin-k2-mk7",
        "classes": ("vitamin-k",),
        "unit": "ug",
    }
    return MedicationUse(**{**given, **more})


def draw(**facts):
    drawing = Drawing(
        START, END, title=str.upper, amount=lambda value, unit: f"{value:g} {UNITS.get(unit, unit)}"
    )
    return drawing.draw(FactSet(patient=Patient(id="p"), **facts))


def test_equal_spans_are_equally_wide_and_the_newest_is_on_the_right():
    line = draw(
        labs=(
            lab(date(2026, 1, 11), 2.0),
            lab(date(2026, 1, 1), 2.1),
            lab(date(2026, 1, 31), 2.6),
            lab(END, 3.0),
        )
    )
    xs = [dot.x for dot in line.panels[0].dots]
    assert xs[0] == LEFT
    assert xs[-1] == WIDTH - RIGHT
    assert (xs[2] - xs[1]) == pytest.approx(2 * (xs[1] - xs[0]))
    assert [dot.label for dot in line.panels[0].dots] == ["", "", "", "3"]
    ys = [dot.y for dot in line.panels[0].dots]
    assert ys[-1] == min(ys), "higher values stand higher"


def test_each_axis_is_named_with_its_unit_and_has_round_steps():
    line = draw(
        labs=(
            lab(date(2026, 5, 1), 24, "25ohd", "ng/mL"),
            lab(date(2026, 8, 1), 61, "25ohd", "ng/mL"),
        )
    )
    (panel,) = line.panels
    assert panel.title == "25OHD, ng/mL"
    steps = [float(step.words) for step in panel.steps]
    assert steps[0] <= 24
    assert steps[-1] >= 61
    assert len({round(b - a, 6) for a, b in pairwise(steps)}) == 1


def test_limits_are_those_of_the_record_and_none_are_made_up():
    labs = (lab(date(2026, 5, 1), 2.4),)
    assert draw(labs=labs).panels[0].limits == ()
    assert "no reference limit" in draw(labs=labs).panels[0].note
    told = draw(labs=labs, goals=(Goal(measure="inr", low=2.5, high=3.5),)).panels[0]
    assert [one.words for one in told.limits] == ["target from 2.5", "target to 3.5"]
    upper = draw(
        labs=(lab(date(2026, 5, 1), 10.1, "calcium", "mg/dL", reference_high=10.3),)
    ).panels[0]
    assert [one.words for one in upper.limits] == ["lab's upper limit 10.3"]


def test_a_course_begins_and_ends_with_its_days_and_an_unknown_dose_is_no_zero():
    known = use(daily=100.0, dose_known=True, start=date(2026, 7, 2), end=date(2026, 10, 1))
    (panel,) = draw(uses=(known, use(start=date(2025, 1, 1), dose_known=False))).panels
    assert panel.title == "Vitamin K, mcg a day"
    assert [bar.known for bar in panel.bars] == [True, False]
    assert panel.bars[1].x == LEFT
    assert "dose not known" in panel.bars[1].words
    assert panel.bars[0].words == "VITAMIN-K2-MK7, 100 mcg a day, since 2026-07-02 until 2026-10-01"
    assert panel.bars[0].x > LEFT
    assert panel.bars[0].x + panel.bars[0].width < WIDTH - RIGHT


def test_stopped_and_undrawable_things_are_left_out():
    assert draw(uses=(use(taking="no", daily=1.0, dose_known=True),)).panels == ()
    assert draw(labs=(lab(date(2025, 5, 1), 2.4), lab(None, 2.0))).panels == ()
    assert draw().panels == ()


def test_results_in_another_unit_or_with_a_problem_are_not_joined_by_a_line():
    labs = [
        lab(date(2026, 1, 1), 60, "25ohd", "nmol/L"),
        lab(date(2026, 2, 1), 20, "25ohd", "ng/mL"),
        lab(date(2026, 3, 1), 30, "25ohd", "ng/mL", problem="implausible"),
        lab(date(2026, 4, 1), 25, "25ohd", "ng/mL"),
    ]
    assert [one.value for one in series(labs, "25ohd")] == [20, 25]
    assert series([], "25ohd") == []


def test_a_flat_or_single_result_can_be_drawn():
    assert draw(labs=(lab(date(2026, 5, 1), 0.0),)).panels
    assert draw(labs=(lab(date(2026, 5, 1), 2.0), lab(date(2026, 6, 1), 2.0))).panels


def test_windows_end_at_the_review():
    facts = FactSet(patient=Patient(id="p"), labs=(lab(date(2026, 3, 1), 2.0),))
    assert (END - window_start(facts, END, "3m")).days == 92
    assert window_start(facts, END, "all") == date(2026, 2, 22)
    assert window_start(FactSet(patient=Patient(id="p")), END, "all") < END


def test_a_sparkline_keeps_true_time():
    spark = sparkline(
        [(date(2026, 1, 1), 1.0), (date(2026, 1, 11), 2.0), (date(2026, 1, 31), 1.0)], (1.5, 3.0)
    )
    points = spark.points.split()
    assert f"{spark.x},{spark.y}" == points[-1]
    top, height = spark.band
    assert top < float(points[1].split(",")[1]) < top + height
    xs = [float(point.split(",")[0]) for point in points]
    assert (xs[2] - xs[1]) == pytest.approx(2 * (xs[1] - xs[0]), abs=0.2)
    assert sparkline([(START, 1.0)]) is None
    assert sparkline([(START, 1.0), (END, 1.0)], (2.0, None)).band is None


def test_products_taken_together_add_up_and_say_of_what():
    uses = (
        use(daily=45.0, dose_known=True, start=date(2026, 2, 1)),
        use(ingredient="vitamin-k1", daily=30.0, dose_known=True, start=date(2026, 6, 1), end=date(2026, 6, 30)),
    )  # fmt: skip
    bars = draw(uses=uses).panels[0].bars
    assert [bar.words.split(" together")[0] for bar in bars] == [
        "VITAMIN-K2-MK7, 45 mcg a day, since 2026-02-01",
        "75 mcg a day",
        "VITAMIN-K2-MK7, 45 mcg a day, since 2026-02-01",
    ]
    alone, both, after = bars
    assert both.height > alone.height == after.height
    assert (both.x, after.x) == (
        pytest.approx(alone.x + alone.width),
        pytest.approx(both.x + both.width),
    )


def test_a_course_of_unknown_dose_stands_beside_the_sum_and_raises_nothing():
    uses = (
        use(daily=45.0, dose_known=True, start=date(2026, 2, 1)),
        use(ingredient="vitamin-k1", dose_known=False, start=date(2026, 2, 1)),
    )
    known, unknown = draw(uses=uses).panels[0].bars
    assert (known.known, unknown.known) == (True, False)
    assert "dose not known" in unknown.words


def test_an_unsigned_order_is_no_course():
    assert not draw(uses=(use(daily=45.0, dose_known=True, taking="draft"),)).panels


def test_results_in_another_unit_are_counted_where_they_cannot_be_drawn():
    line = draw(
        labs=(
            lab(date(2026, 1, 5), 50, "25ohd", "nmol/L"),
            lab(date(2026, 2, 5), 22, "25ohd", "ng/mL"),
        )
    )
    assert len(line.panels[0].dots) == 1
    assert line.panels[0].note.endswith("1 in another unit: see the table")


@pytest.mark.parametrize(
    ("reported", "shown"),
    [("1.6 {INR}", "1.6"), ("22 ng/mL", "22 ng/mL"), ("", "2.0"), ("8 [iU]/mL{plasma}", "8 [iU]/mL")],
)  # fmt: skip
def test_annotations_of_units_are_not_shown_to_people(reported, shown):
    assert as_reported(LabResult(measure="inr", value=2.0, reported=reported)) == shown


def test_alerts_of_one_day_do_not_cover_each_other():
    drawing = Drawing(START, END, title=str.upper, amount=lambda value, unit: f"{value:g} {unit}")
    facts = FactSet(patient=Patient(id="p"), labs=(lab(END, 3.0),))
    day = date(2026, 1, 20)
    line = drawing.draw(facts, [(day, "warning", "a"), (day, "critical", "b"), (END, "info", "c")])
    places = [(mark.x, mark.y) for mark in line.marks]
    assert len(set(places)) == 3
    assert places[0][0] == places[1][0]
    assert abs(places[0][1] - places[1][1]) >= 12, "a mark is 12 high"
    assert places[2][1] == min(y for _, y in places), "who stands alone stands in the first row"
    assert line.panels[0].top > max(y for _, y in places) + 6
    alone = drawing.draw(facts, [(END, "info", "c")])
    assert alone.panels[0].top < line.panels[0].top


@pytest.mark.parametrize(("before", "side"), [(2.0, -1), (3.0, -1), (4.0, 1)])
def test_the_newest_value_stands_where_the_line_does_not_pass(before, side):
    line = draw(labs=(lab(START, before), lab(END, 3.0)))
    newest = line.panels[0].dots[-1]
    assert (newest.label_y - newest.y) * side > 0
