"""The rules pages: figures, control limits, reasons, and a change of mode by two people."""

import pytest

from service.alerts import models
from service.alerts.decisions import decisions
from service.alerts.lifecycle import Request
from service.alerts.past_answers import micros
from service.dashboard.rule_chart import BOTTOM, TOP, chart_of, spark_of
from service.rule_trends import Week, trends, with_limits
from tests.service.alerts.stories import recommendation
from tests.service.dashboard.conftest import NOON, T

RULE = "vka-k-ongoing-unmonitored"
DAY = int(NOON.timestamp()) // 86_400


def weeks(*fired, reviews=100):
    return [
        Week(start=7 * place, reviews=reviews, fired=count) for place, count in enumerate(fired)
    ]


def test_limits_are_three_standard_deviations_of_poisson_where_weeks_scatter_no_more_than_chance():
    trend = with_limits(weeks(10, 10, 10, 10, 10, 10))
    assert trend.mean == 0.1
    # 3 * sqrt(0.1 / 100) = 0.0949
    assert {(round(one.low, 4), round(one.high, 4)) for one in trend.weeks} == {(0.0051, 0.1949)}
    assert trend.outside == ()


def test_a_burst_lies_outside_and_ordinary_scatter_does_not():
    assert len(with_limits(weeks(10, 11, 9, 10, 11, 10, 9, 60)).outside) == 1
    scattered = with_limits(weeks(5, 25, 8, 28, 4, 22, 6, 27))
    assert scattered.outside == ()
    assert scattered.weeks[0].high > with_limits(weeks(*[16] * 8)).weeks[0].high


def test_a_week_with_few_reviews_has_wide_limits_and_one_without_has_none():
    few = [*weeks(10, 10, 10, 10, 10), Week(start=35, reviews=4, fired=1), Week(start=42, reviews=0, fired=0)]  # fmt: skip
    trend = with_limits(few)
    assert trend.weeks[5].high > trend.weeks[0].high
    assert trend.weeks[6].rate is None
    assert trend.weeks[6].high is None
    chart = chart_of(trend)
    assert len(chart.points) == 6
    assert chart.table[0].rate == "no reviews"


@pytest.mark.parametrize("fired", [(), (0, 0, 0, 0, 0), (3, 4, 5)])
def test_too_little_gives_no_limits(fired):
    trend = with_limits(weeks(*fired))
    assert trend.outside == ()
    assert all(one.high is None for one in trend.weeks)
    chart_of(trend)
    spark_of(trend)


def test_the_chart_draws_higher_rates_higher_and_stays_inside():
    chart = chart_of(with_limits(weeks(10, 20, 10, 60, 10, 10)))
    heights = [one.y for one in chart.points]
    assert heights[3] < heights[1] < heights[0]
    assert all(TOP <= one <= BOTTOM for one in heights)
    assert [one.at for one in chart.steps] == sorted((one.at for one in chart.steps), reverse=True)


def test_weeks_are_whole_and_end_today(site):
    table = models.rule_daily
    with site.record.database.writing() as connection:
        for day, rule, evaluations, fired in (
            (DAY, "", 10, 0), (DAY, RULE, 0, 3), (DAY - 6, "", 5, 0), (DAY - 7, "", 7, 0), (DAY - 7, RULE, 0, 2), (DAY - 14, RULE, 0, 99),
        ):  # fmt: skip
            connection.execute(
                table.insert().values(
                    tenant=T, day=day, rule=rule, mode="live", evaluations=evaluations, fired=fired
                )
            )
    found = trends(site.record.database, T, since_day=DAY - 13, until_day=DAY, rules=[RULE])[RULE]
    assert [(one.start, one.reviews, one.fired) for one in found.weeks] == [
        (DAY - 13, 7, 2),
        (DAY - 6, 15, 3),
    ]
    other = trends(site.record.database, T, since_day=DAY - 13, until_day=DAY, rules=["vka-natto"])
    assert [one.fired for one in other["vka-natto"].weeks] == [0, 0]
    assert list(other) == ["vka-natto"]
    assert trends(site.record.database, "mercy", since_day=DAY - 13, until_day=DAY, rules=[RULE])[RULE].weeks[0].fired == 0  # fmt: skip


def test_what_became_of_alerts_is_counted_by_state_reason_and_time(site):
    for number in range(3):
        site.see(number, recommendation(), patient=f"p{number}")
    site.see(9, recommendation(), tenant="mercy", patient="theirs")
    store = site.record.store()
    first, second, _ = sorted(site.alerts(), key=lambda row: row.id)
    given = {"actor": "user/a", "at": site.now}
    row = store.change(T, first.id, first.version, Request(action="resolve", reason="dose-changed", **given))  # fmt: skip
    assert row.state == "resolved"
    store.change(T, second.id, second.version, Request(action="override", reason="will-monitor", **given))  # fmt: skip
    told = decisions(site.record.database, T, RULE, micros(NOON) - 10**12)
    assert told.states == {"resolved": 1, "overridden": 1, "new": 1}
    assert sorted(told.reasons) == [("override", "will-monitor", 1), ("resolve", "dose-changed", 1)]
    assert told.waited == 2
    assert decisions(site.record.database, T, RULE, micros(NOON) + 10**12).states == {}


def test_every_rule_has_a_page_and_nothing_else_has(site):
    page = site.get("/rules").text
    names = sorted(site.app.state.engine.rulebook.rules)
    assert all(f'href="/rules/{name}"' in page for name in names)
    for name in names:
        assert site.get(f"/rules/{name}").status_code == 200
    assert site.get("/rules/no-such-rule").status_code == 404
    assert "draft" in site.get(f"/rules/{RULE}").text
    for view in ("pattern", "silent", "not-live", "waiting", "nonsense"):
        assert site.get(f"/rules?show={view}&days=28").status_code == 200


def test_a_lead_asks_for_a_mode_and_another_lead_approves(site):
    assert site.post(f"/rules/{RULE}/mode", mode="off", reason=" ").status_code == 422
    assert site.post(f"/rules/{RULE}/mode", mode="live", reason="as before").status_code == 422
    assert site.post(f"/rules/{RULE}/mode", mode="loud", reason="x").status_code == 422
    asked = site.post(f"/rules/{RULE}/mode", mode="review", reason="Too many <b>overrides</b>.")
    assert asked.headers["location"] == f"/rules/{RULE}?done=asked"
    page = site.get(f"/rules/{RULE}").text
    assert "A second person decides." in page
    assert "Too many &lt;b&gt;overrides&lt;/b&gt;." in page
    change = 1  # the first of a fresh record
    assert site.post(f"/rules/{RULE}/changes/{change}", decision="approve").status_code == 403
    assert site.app.state.parts.mode_of(T, RULE) == "live"
    second_lead(site)
    assert f"/rules/{RULE}/changes/{change}" in site.get(f"/rules/{RULE}").text
    assert site.post(f"/rules/{RULE}/changes/{change}", decision="maybe").status_code == 422
    done = site.post(f"/rules/{RULE}/changes/{change}", decision="approve")
    assert done.headers["location"].endswith("done=changed")
    assert site.app.state.parts.mode_of(T, RULE) == "review"
    assert site.post(f"/rules/{RULE}/changes/{change}", decision="refuse").status_code == 422


@pytest.mark.parametrize("role", ["reader", "pharmacist", "auditor", "admin"])
def test_others_see_rules_and_change_none(site, role):
    site.sign_in(role)
    assert "/mode" not in site.get(f"/rules/{RULE}").text
    assert site.post(f"/rules/{RULE}/mode", mode="off", reason="x").status_code == 403


def second_lead(site):
    """Become another person of the same role."""
    from service.alerts.access import new_account
    from service.identity import open_session

    given = {"tenant": T, "name": "lead-two", "now": site.now}
    new_account(site.record.database, site.record.keyring, role="lead", actor="operator", **given)
    site.secret = open_session(site.record.database, site.record.keyring, **given)
    site.client.cookies.clear()
    site.client.cookies.set("dekacard-dev", site.secret)
