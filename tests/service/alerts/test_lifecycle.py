"""What may happen to an alert, without a database."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.errors import RequestError
from service.alerts.lifecycle import (
    CLOSED,
    OPEN,
    Known,
    Request,
    Seen,
    SnoozeLimits,
    Standing,
    act,
    observe,
)
from tests.service.alerts.stories import NOON

QUIET = timedelta(days=90)
STATES = sorted(OPEN | CLOSED)
ACTIONS = (
    "acknowledge",
    "claim",
    "release",
    "assign",
    "resolve",
    "override",
    "data-problem",
    "snooze",
    "wake",
    "comment",
    "reopen",
)
INDICATORS = ("critical", "warning", "info")


def ask(action, **more):
    return Request(action=action, actor="user/a", at=NOON, **more)


def do(standing, action, **more):
    return act(standing, ask(action, **more), SnoozeLimits())


@given(
    st.sampled_from(STATES),
    st.sampled_from(ACTIONS),
    st.sampled_from(INDICATORS),
    st.sampled_from(["", "coded"]),
)
def test_no_action_leads_out_of_the_states_and_closing_always_says_who_and_when(
    state, action, indicator, reason
):
    before = Standing(state=state, indicator=indicator)
    try:
        after = do(before, action, reason=reason, to="user/b", until=NOON + timedelta(hours=1))
    except RequestError:
        return
    assert after.state in STATES
    assert after.state != "cleared" or before.state == "cleared", "only the system clears"
    if before.state in OPEN and after.state in CLOSED:
        assert (after.closed, after.closed_by) == (NOON, "user/a")
    if after.state in OPEN:
        assert after.closed is None


@pytest.mark.parametrize("state", sorted(CLOSED))
@pytest.mark.parametrize(
    "action",
    [
        "acknowledge", "claim", "release", "assign", "snooze", "wake", "resolve", "override", "data-problem",
    ],
)  # fmt: skip
def test_what_is_closed_is_not_worked_on(state, action):
    more = {"reason": "coded", "to": "user/b", "until": NOON + timedelta(hours=1)}
    with pytest.raises(RequestError, match="cannot be changed"):
        do(Standing(state=state, indicator="warning"), action, **more)


@pytest.mark.parametrize("action", ["override", "data-problem"])
def test_a_dismissal_needs_a_coded_reason(action):
    with pytest.raises(RequestError, match="coded reason"):
        do(Standing(state="new", indicator="warning"), action)


def test_nobody_takes_an_alert_from_somebody_else_unasked():
    taken = do(Standing(state="new", indicator="warning"), "assign", to="user/b")
    with pytest.raises(RequestError, match="somebody else"):
        do(taken, "claim")
    assert do(taken, "assign", to="user/a").assignee == "user/a"


@pytest.mark.parametrize(
    ("indicator", "hours", "allowed"),
    [("critical", 24, True), ("critical", 25, False), ("warning", 25, True)],
)
def test_a_critical_alert_is_put_off_for_a_day_at_most(indicator, hours, allowed):
    standing = Standing(state="new", indicator=indicator)
    until = NOON + timedelta(hours=hours)
    if allowed:
        assert do(standing, "snooze", until=until).snoozed_until == until
    else:
        with pytest.raises(RequestError, match="at most"):
            do(standing, "snooze", until=until)


def known(state, indicator="warning", mark="a", *, days_closed=1):
    closed = NOON - timedelta(days=days_closed) if state in CLOSED else None
    return Known(
        state=state,
        indicator=indicator,
        evidence_hash=mark,
        last_seen=NOON - timedelta(days=days_closed),
        closed=closed,
    )


@pytest.mark.parametrize(
    ("before", "indicator", "mark", "course"),
    [
        (None, "warning", "a", "first"),
        (known("new"), "warning", "a", "ongoing"),
        (known("acknowledged"), "warning", "b", "new-data"),
        (known("new"), "critical", "b", "escalated"),
        (known("new"), "info", "a", "ongoing"),
        (known("resolved"), "warning", "a", "still-closed"),
        (known("overridden"), "warning", "b", "recurred"),
        (known("data-problem"), "critical", "a", "recurred"),
        (known("resolved", days_closed=91), "warning", "a", "recurred"),
        (known("cleared"), "warning", "a", "recurred"),
    ],
)
def test_what_a_further_sighting_means(before, indicator, mark, course):
    assert observe(before, Seen(indicator=indicator, evidence_hash=mark, at=NOON), QUIET) == course


@given(
    st.sampled_from(STATES),
    st.sampled_from(INDICATORS),
    st.sampled_from(INDICATORS),
    st.sampled_from("ab"),
)
def test_a_sighting_that_arrives_late_only_counts(state, before, now, mark):
    late = Seen(indicator=now, evidence_hash=mark, at=NOON - timedelta(days=2))
    expected = "ongoing" if state in OPEN else "still-closed"
    assert observe(known(state, before), late, QUIET) == expected
