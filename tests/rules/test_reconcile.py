"""Who gives way to whom, and what was answered before: each condition from both sides."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from rules.assessment import HistoryEntry, Recommendation
from rules.reconcile import holds, rank, supersede, suppress

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def said(rule, about="thing", indicator="warning", fingerprint="f", certainty="low"):
    return Recommendation(
        rule=rule, version="1", pack="p", topic_code="T", title="t", status="draft", about=about, indicator=indicator,
        certainty=certainty, summary="s", why="w", because=(), chain=(), fingerprint=fingerprint,
    )  # fmt: skip


def card(*yields, repeat_after=None):
    choices = [
        SimpleNamespace(rule=rule, when=when, same_subject=same) for rule, when, same in yields
    ]
    return SimpleNamespace(yields_to=choices, repeat_after=repeat_after)


class Evidence:
    """Findings by name with their subjects, and numbers in force."""

    def __init__(self, **findings):
        self._findings = findings
        self.numbers = {"suppression.info": 90, "suppression.warning": 30, "suppression.critical": 7,
                        "suppression.lasting-reasons": ["data-wrong"], "again": 365}  # fmt: skip

    def findings(self, name):
        return tuple(SimpleNamespace(about=about) for about in self._findings.get(name, ()))

    def parameter(self, name):
        return SimpleNamespace(value=self.numbers[name])


def left(fired, cards, evidence=None, quiet=()):
    kept, gone = supersede(fired, cards, evidence or Evidence(), quiet)
    return [one.rule for one in kept], [(one.rule, one.about, one.by) for one in gone]


BARE = {"strong": card(), "other": card()}


def test_the_weaker_is_named_with_its_subject_and_whom_it_gave_way_to():
    cards = BARE | {"weak": card(("strong", None, True))}
    assert left([said("weak"), said("strong")], cards) == (
        ["strong"],
        [("weak", "thing", "strong")],
    )
    assert left([said("weak"), said("other")], cards) == (["weak", "other"], [])


@pytest.mark.parametrize(("same", "gone"), [(True, []), (False, [("weak", "thing", "strong")])])
def test_another_subject_counts_only_where_the_card_says_any(same, gone):
    cards = BARE | {"weak": card(("strong", None, same))}
    assert left([said("weak"), said("strong", about="else")], cards)[1] == gone


@pytest.mark.parametrize(
    ("subjects", "gone"),
    [((), False), (("thing",), True), (("",), True), (("else",), False)],
)
def test_a_condition_must_hold_about_the_same_subject_or_the_patient(subjects, gone):
    cards = BARE | {"weak": card(("strong", "reason", True))}
    evidence = Evidence(reason=subjects)
    assert bool(left([said("weak"), said("strong")], cards, evidence)[1]) == gone
    assert holds("reason", "thing", evidence) == gone


def test_a_choice_that_does_not_hold_leaves_the_next_one():
    cards = BARE | {"weak": card(("other", "reason", True), ("strong", None, True))}
    fired = [said("weak"), said("other"), said("strong")]
    assert left(fired, cards)[1] == [("weak", "thing", "strong")]


def test_a_quiet_rule_takes_nobody_out_but_gives_way_itself():
    cards = BARE | {"weak": card(("strong", None, True)), "strong": card(("weak", None, True))}
    fired = [said("weak"), said("strong")]
    assert left(fired, cards, quiet={"strong"}) == (["weak"], [("strong", "thing", "weak")])


def before(
    days, outcome="accepted", *, rule="weak", about="thing", fingerprint="f", user="me", reason=""
):
    return HistoryEntry(
        rule=rule, about=about, fingerprint=fingerprint, outcome=outcome, when=NOON - days * DAY, user=user, reason=reason
    )  # fmt: skip


def answered(*history, indicator="warning", repeat_after=None, user="me"):
    """The reason of silence; ``None`` when it speaks."""
    spoken, silent = suppress(
        [said("weak", indicator=indicator)], history, as_of=NOON, user=user, evidence=Evidence(),
        cards={"weak": card(repeat_after=repeat_after)},
    )  # fmt: skip
    assert len(spoken) + len(silent) == 1
    assert [(one.rule, one.about) for one in silent] in ([], [("weak", "thing")])
    return silent[0].reason if silent else None


@pytest.mark.parametrize(("indicator", "days"), [("info", 90), ("warning", 30), ("critical", 7)])
def test_an_answer_silences_for_its_window_and_not_a_moment_longer(indicator, days):
    reason = answered(before(days - 0.001), indicator=indicator)
    assert reason is not None
    assert reason.endswith(f"silent for {days} days")
    assert answered(before(days), indicator=indicator) is None


def test_an_answer_of_this_moment_counts_and_one_of_later_does_not():
    assert answered(before(0)) is not None
    assert answered(before(-0.01)) is None
    assert answered(before(-0.01), before(2)) is not None


@pytest.mark.parametrize("other", [{"rule": "x"}, {"about": "x"}, {"fingerprint": "x"}], ids=str)
def test_the_answer_to_something_else_silences_nothing(other):
    assert answered(before(1, **other)) is None
    assert answered(before(1, **other), before(2)) is not None


def test_warnings_are_remembered_for_the_person_and_information_for_the_patient():
    assert answered(before(1, user="you")) is None
    assert answered(before(1, user="you"), before(2)) is not None
    assert answered(before(1, user="you"), indicator="info") is not None
    assert answered(before(1, user="you"), indicator="critical") is None


def test_being_shown_silences_only_what_is_repeated_after_a_while():
    assert answered(before(1, "shown")) is None
    assert answered(before(1, "shown"), before(2)) is not None
    told = answered(before(364.9, "shown"), repeat_after="again")
    assert told == "said on 2025-11-22, repeated after 365 days"
    assert answered(before(365, "shown"), repeat_after="again") is None


def test_wrong_data_silence_for_good_and_other_reasons_for_the_window():
    lasting = answered(before(400, "overridden", reason="data-wrong"))
    assert lasting == "answered data-wrong on 2025-10-18, and the data have not changed"
    assert answered(before(400, "overridden", reason="taste")) is None
    assert answered(before(400, "accepted", reason="data-wrong")) is None


def test_the_newest_answer_is_told():
    told = answered(before(20, "accepted"), before(3, "overridden", reason="taste"))
    assert told == "overridden on 2026-11-19, silent for 30 days"
    told = answered(before(3, "overridden", reason="taste"), before(20, "accepted"))
    assert told == "overridden on 2026-11-19, silent for 30 days"


def test_without_history_nothing_is_left_out_and_no_number_is_asked_for():
    one = said("weak")
    assert suppress([one], (), as_of=NOON, user="", evidence=None, cards={}) == ([one], [])


def test_rank_is_by_urgency_then_certainty_then_name_then_subject():
    order = [
        said("z", indicator="critical"), said("b", certainty="high"), said("a", certainty="low"),
        said("c", "a", certainty="low"), said("c", "b", certainty="low"), said("a", indicator="info"),
    ]  # fmt: skip
    assert rank(reversed(order)) == tuple(order)
