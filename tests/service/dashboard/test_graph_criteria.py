"""The plot against the eleven criteria of Sittig et al. (doi:10.1093/jamia/ocv013), read from the page as it is served.

Patient identification, title, name, scale and values of the x axis, name with unit, scale and values of the y axis,
reference range, details of each point, legend.
"""

import re
import xml.etree.ElementTree as ET
from datetime import date, timedelta
from itertools import pairwise

import msgspec
import pytest

from rules.facts import Goal
from tests.service.alerts.stories import RULES, call, inr, mk7, recommendation, reviewed, warfarin
from tests.service.dashboard.conftest import T

DAYS = [date(2026, 3, 1), date(2026, 3, 31), date(2026, 5, 30), date(2026, 11, 1)]
VALUES = [2.4, 2.2, 2.8, 1.6]
NAME = "graph-patient"


@pytest.fixture(scope="module")
def plot(application):
    site = application.sign_in("pharmacist")
    labs = [
        msgspec.structs.replace(
            inr(value, ref=f"Observation/i{number}"), taken=day, reported=f"{value}"
        )
        for number, (day, value) in enumerate(zip(DAYS, VALUES, strict=True))
    ]
    labs += [
        msgspec.structs.replace(
            lab, measure="calcium", unit="mg/dL", value=9.1 + number / 10, reference_high=10.5
        )
        for number, lab in enumerate(labs[:3])
    ]
    taken = (
        mk7(90.0),
        msgspec.structs.replace(warfarin(), daily=5.0, amount=5.0, unit="mg", dose_known=True),
    )
    made = reviewed(recommendation(), labs=tuple(labs), uses=taken)
    goals = (Goal(measure="inr", low=2.0, high=3.0),)
    made = msgspec.structs.replace(made, facts=msgspec.structs.replace(made.facts, goals=goals))
    site.record.record(call(1, tenant=T, patient=NAME), made, may_speak=RULES)
    site.wait_for(site_table(), site_table().c.tenant == T)
    (row,) = [row for row in site.alerts() if row.about]
    page = site.get(f"/p/{row.patient}?window=1y").text
    return ET.fromstring(re.search(r'<svg class="plot".*?</svg>', page, re.DOTALL)[0])


def site_table():
    from service.alerts import models

    return models.evaluation


def texts(plot, kind):
    return [
        "".join(one.itertext()).strip() for one in plot.iter("text") if kind in one.get("class", "")
    ]


def panel(plot, name):
    return next(
        one
        for one in plot.iter("g")
        if one.get("class") == "panel" and name in "".join(one.itertext())
    )


def dots(plot, name="INR"):
    return [one for one in panel(plot, name).iter("circle") if one.get("class") == "dot"]


def test_1_the_patient_is_named_in_the_picture(plot):
    assert NAME in texts(plot, "plot-title")[0]


def test_2_a_title_says_what_is_shown(plot):
    (title,) = texts(plot, "plot-title")
    assert "results, doses and alerts" in title
    assert re.search(r"\d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d", title)
    assert title.partition(":")[0].removeprefix("Patient ") in plot.find("title").text


def test_3_the_x_axis_is_named(plot):
    assert texts(plot, "x-name") == ["Date (equal days are equally wide)"]


def test_4_the_x_axis_keeps_true_time_with_the_newest_on_the_right(plot):
    xs = [float(one.get("cx")) for one in dots(plot)]
    assert xs == sorted(xs)
    per_day = [
        (right - left) / (later - earlier).days
        for (left, right), (earlier, later) in zip(pairwise(xs), pairwise(DAYS), strict=True)
    ]
    assert max(per_day) - min(per_day) < 0.01


def test_5_the_x_axis_has_dates_at_their_places(plot):
    names = [
        (float(one.get("x")), one.text)
        for one in plot.iter("text")
        if "month-name" in one.get("class", "")
    ]
    assert len(names) >= 4
    assert all(re.fullmatch(r"[A-Z][a-z]{2} 20\d\d", words) for _, words in names)
    months = {words: x for x, words in names}
    first = next(x for words, x in months.items() if words in {"Mar 2026", "May 2026", "Jul 2026"})
    assert min(months.values()) <= first <= max(months.values())
    x, _ = next((x, words) for x, words in names if words == "Mar 2026")
    assert float(dots(plot)[0].get("cx")) == pytest.approx(x, abs=0.2), (
        "1 March stands where it says March"
    )


def test_6_each_y_axis_is_named_with_measure_and_unit(plot):
    titles = texts(plot, "panel-title")
    assert [one.partition(" (")[0] for one in titles] == [
        "INR, ratio",
        "calcium, mg/dL",
        "Vitamin K, mcg a day",
        "Vitamin K antagonist, mg a day",
    ]


def steps(plot, name):
    found = panel(plot, name)
    lines = [float(one.get("y1")) for one in found.iter("line") if one.get("class") == "step"]
    values = [
        float(one.text.replace(",", ""))
        for one in found.iter("text")
        if "step-value" in one.get("class", "")
    ]
    return lines, values


def test_7_each_y_axis_is_linear_and_grows_upwards(plot):
    for name in ("INR", "calcium"):
        lines, values = steps(plot, name)
        assert len(lines) == len(values) >= 3
        assert len({round(b - a, 6) for a, b in pairwise(values)}) == 1
        assert len({round(a - b) for a, b in pairwise(lines)}) == 1
        assert lines == sorted(lines, reverse=True)


def test_8_the_y_values_are_numbers_at_their_places(plot):
    lines, values = steps(plot, "INR")
    scale = (lines[0] - lines[-1]) / (values[-1] - values[0])
    for dot, value in zip(dots(plot), VALUES, strict=True):
        expected = lines[0] - (value - values[0]) * scale
        assert float(dot.get("cy")) == pytest.approx(expected, abs=0.3)


def test_9_reference_limits_are_drawn_and_named(plot):
    told = texts(plot, "limit-words")
    assert told == ["target from 2", "target to 3", "lab's upper limit 10.5"]
    (band,) = [one for one in panel(plot, "INR").iter("rect") if one.get("class") == "band"]
    top, height = float(band.get("y")), float(band.get("height"))
    inside = [top <= float(dot.get("cy")) <= top + height for dot in dots(plot)]
    assert inside == [2.0 <= value <= 3.0 for value in VALUES]


def test_10_each_point_tells_its_value_and_day(plot):
    told = [one.find("title").text for one in dots(plot)]
    assert told == [f"{day}: {value}" for day, value in zip(DAYS, VALUES, strict=True)]
    bars = [one.find("title").text for one in panel(plot, "Vitamin K antagonist").iter("rect")]
    assert bars == ["warfarin, 5 mg a day, since 2024-03-01"]


def test_11_a_legend_explains_every_mark_that_is_used(plot):
    (legend,) = [one for one in plot.iter("g") if one.get("class") == "legend"]
    words = [one.text for one in legend.iter("text")]
    assert words == [
        "result",
        "target range",
        "limit the record states",
        "dose a day",
        "dose not known",
        "alert first seen",
    ]
    for kind in ("dot", "band", "limit", "bar"):
        assert [one for one in legend.iter() if one.get("class", "").split(" ")[0] == kind]


def test_alerts_stand_on_the_same_axis(plot):
    (mark,) = [one for one in plot.iter("g") if one.get("class", "").startswith("mark ")]
    assert mark.find("title").text.startswith("2026-11-22: warning, Ongoing vitamin K2")
    x = float(re.search(r"translate\((-?[\d.]+)", mark.get("transform"))[1]) + 6
    newest = float(dots(plot)[-1].get("cx"))
    per_day = (newest - float(dots(plot)[0].get("cx"))) / (DAYS[-1] - DAYS[0]).days
    assert (x - newest) / per_day == pytest.approx((date(2026, 11, 22) - DAYS[-1]).days, abs=0.3)
    assert timedelta(0) < date(2026, 11, 22) - DAYS[-1]
