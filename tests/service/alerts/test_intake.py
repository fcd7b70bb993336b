"""From calls to alerts: one item for one problem, counted right, cleared only on full sight."""

import random
import string

import msgspec
from sqlalchemy import func, select

from rules.assessment import Gap
from service.alerts import models
from tests.service.alerts.stories import (
    ABOUT,
    NOON,
    RULE,
    RULES,
    call,
    cards_for,
    inr,
    mk7,
    recommendation,
    reviewed,
    warfarin,
)


def rows(database, table, *where):
    with database.reading() as connection:
        return connection.execute(select(table).where(*where).order_by(*table.primary_key)).all()


def take(recorder, drainer, made, review, **more):
    assert recorder.record(made, review, gap_cards=review.gap_cards, may_speak=RULES, **more)
    drainer.drain()


def test_1000_repeated_calls_and_three_batch_runs_make_one_alert(database, recorder, drainer):
    found = reviewed(recommendation())
    for number in range(1000):
        recorder.record(call(number, instance="same" if number < 10 else None), found)
    for run in range(3):
        recorder.record(call(run, hook="batch", source=f"run{run}:17", run=f"run{run}"), found)
    drainer.drain()
    (alert,) = rows(database, models.alert)
    assert (alert.seen_count, alert.state, alert.course, alert.episode) == (
        1003,
        "new",
        "ongoing",
        1,
    )
    seen = rows(database, models.occurrence)
    assert len(seen) == 1003 - 9
    assert sum(one.times for one in seen) == 1003
    assert len(rows(database, models.evaluation)) == 1003
    assert len(rows(database, models.audit)) == 1003
    assert len(rows(database, models.evidence)) == 1


def test_a_line_that_comes_twice_is_taken_in_once(database, recorder, drainer):
    for _ in range(2):
        recorder.record(call(1), reviewed(recommendation()))
    drainer.drain()
    (alert,) = rows(database, models.alert)
    assert alert.seen_count == 1
    assert len(rows(database, models.audit)) == 1
    assert not rows(database, models.spool_reject)


def test_an_order_that_is_being_composed_makes_no_alert_and_a_signed_one_does(
    database, recorder, drainer
):
    draft = recommendation(because=(mk7(taking="draft"), warfarin()))
    take(
        recorder,
        drainer,
        call(1, hook="order-select"),
        reviewed(draft, moment="order", hook="order-select"),
    )
    assert not rows(database, models.alert)
    take(
        recorder,
        drainer,
        call(2, hook="order-sign"),
        reviewed(draft, moment="order", hook="order-sign"),
    )
    (alert,) = rows(database, models.alert)
    assert alert.from_draft == 1
    take(recorder, drainer, call(3, minutes=5), reviewed(recommendation()))
    (alert,) = rows(database, models.alert)
    assert (alert.from_draft, alert.new_data) == (0, 0), (
        "the signed order is the draft, not new evidence"
    )


def test_a_full_look_that_finds_nothing_clears(database, recorder, drainer):
    take(recorder, drainer, call(1), reviewed(recommendation()))
    take(recorder, drainer, call(2, minutes=5), reviewed())
    (alert,) = rows(database, models.alert)
    assert (alert.state, alert.closed_by) == ("cleared", "dekacard")
    assert [one.action for one in rows(database, models.event)] == ["opened", "cleared"]


def test_a_partial_look_clears_nothing(database, recorder, drainer):
    take(recorder, drainer, call(0), reviewed(recommendation(because=(mk7(), warfarin(), inr()))))
    failing = (
        {"unread": {"medication-requests": "not prefetched"}},
        {"unread": {"labs-inr": "failed"}},
    )
    failing += ({"failures": ["derive-intake"]}, {"moment": "order", "hook": "order-sign"})
    unreadable = Gap(
        source="MedicationStatement/k", code="dose-unreadable", concerns=("vitamin-k",), says="?"
    )
    failing += ({"gaps": (unreadable,)},)
    for number, partial in enumerate(failing, start=1):
        take(recorder, drainer, call(number, minutes=number), reviewed(**partial))
        alerts = rows(database, models.alert, models.alert.c.rule == RULE)
        assert [one.state for one in alerts] == ["new"], partial
    recorder.record(call(8, minutes=8), reviewed(), may_speak=("another-rule",))
    recorder.record(call(9, minutes=-9), reviewed(), may_speak=RULES)
    drainer.drain()
    assert [one.state for one in rows(database, models.alert, models.alert.c.rule == RULE)] == [
        "new"
    ]
    newer = msgspec.structs.replace(inr(ref="Observation/newer"), taken=NOON.date())
    full = reviewed(unread={"nutrition": "not prefetched"}, labs=[newer])
    take(recorder, drainer, call(10, minutes=10), full)
    assert [one.state for one in rows(database, models.alert, models.alert.c.rule == RULE)] == [
        "cleared"
    ]


def test_what_was_answered_before_still_holds(database, recorder, drainer):
    take(recorder, drainer, call(1), reviewed(recommendation()))
    take(recorder, drainer, call(2, minutes=5), reviewed(suppressed=[(RULE, ABOUT)]))
    (alert,) = rows(database, models.alert)
    assert (alert.state, alert.seen_count) == ("new", 2)


def test_a_stronger_alert_hides_the_weaker_and_gives_it_back(database, recorder, drainer):
    weak, strong = (
        recommendation(),
        recommendation(rule="vka-inr-high", about="", indicator="critical"),
    )
    take(recorder, drainer, call(1), reviewed(weak))
    take(
        recorder,
        drainer,
        call(2, minutes=1),
        reviewed(strong, superseded=[(RULE, ABOUT, "vka-inr-high")]),
    )
    hidden = rows(database, models.alert, models.alert.c.rule == RULE)[0]
    assert (hidden.suppressed_by, hidden.state) == ("vka-inr-high", "new")
    take(recorder, drainer, call(3, minutes=2), reviewed(weak))
    assert rows(database, models.alert, models.alert.c.rule == RULE)[0].suppressed_by == ""


def test_new_values_mark_and_a_worse_one_escalates(database, recorder, drainer):
    take(recorder, drainer, call(1), reviewed(recommendation()))
    take(
        recorder,
        drainer,
        call(2, minutes=1),
        reviewed(recommendation(because=(mk7(90.0), warfarin()))),
    )
    (alert,) = rows(database, models.alert)
    assert (alert.new_data, alert.course, alert.version) == (1, "ongoing", 2)
    take(recorder, drainer, call(3, minutes=2), reviewed(recommendation(indicator="critical")))
    (alert,) = rows(database, models.alert)
    assert (alert.course, alert.indicator, alert.severity) == ("escalated", "critical", 2)


def test_a_renewal_of_the_same_dose_is_no_new_evidence(database, recorder, drainer):
    take(recorder, drainer, call(1), reviewed(recommendation()))
    renewed = recommendation(because=(mk7(record="MedicationStatement/renewed"), warfarin()))
    take(recorder, drainer, call(2, minutes=1), reviewed(renewed))
    (alert,) = rows(database, models.alert)
    assert (alert.new_data, alert.version) == (0, 1)


def test_an_amended_result_marks_its_alert_and_a_withdrawn_one_more_so(database, recorder, drainer):
    take(recorder, drainer, call(1), reviewed(recommendation(because=(mk7(), inr()))))
    take(recorder, drainer, call(2, minutes=1), reviewed(labs=[inr(4.2, status="corrected")]))
    (alert,) = rows(database, models.alert)
    assert (alert.evidence_state, alert.new_data) == ("amended", 1)
    take(recorder, drainer, call(3, minutes=2), reviewed(withdrawn=["Observation/inr"]))
    assert rows(database, models.alert)[0].evidence_state == "withdrawn"
    assert "evidence-withdrawn" in [one.action for one in rows(database, models.event)]


def test_what_could_not_be_evaluated_is_an_alert_until_it_can(database, recorder, drainer):
    gap = Gap(
        source="medication-statements", code="not-fetched", says="Statements could not be read."
    )
    take(
        recorder,
        drainer,
        call(1),
        reviewed(gap_cards=[gap], gaps=[gap], unread={"medication-statements": "timeout"}),
    )
    (alert,) = rows(database, models.alert)
    assert (alert.kind, alert.about, alert.state) == ("not-evaluated", "not-fetched", "new")
    take(recorder, drainer, call(2, minutes=1), reviewed())
    assert rows(database, models.alert)[0].state == "cleared"
    recorder.record_failure(call(3, minutes=2), "engine")
    drainer.drain()
    assert [one.about for one in rows(database, models.alert)] == ["not-fetched", "engine"]
    assert rows(database, models.evaluation)[-1].outcome in {"failed", "complete", "incomplete"}


def test_a_partial_look_does_not_clear_what_could_not_be_evaluated(database, recorder, drainer):
    unread = Gap(
        source="medication-statements",
        code="not-read",
        says="?",
        concerns=("medication-statements",),
    )
    take(
        recorder,
        drainer,
        call(1),
        reviewed(gap_cards=[unread], gaps=[unread], unread={"medication-statements": "failed"}),
    )
    broken = Gap(source="Observation/inr", code="no-unit", says="?")
    blind = {"unread": {"medication-requests": "failed"}}
    take(
        recorder, drainer, call(2, minutes=1), reviewed(gap_cards=[broken], gaps=[broken], **blind)
    )
    recorder.record_failure(call(3, minutes=2), "engine")
    take(recorder, drainer, call(4, minutes=3), reviewed(**blind))
    states = {one.about: one.state for one in rows(database, models.alert)}
    assert states == {"not-read": "new", "no-unit": "new", "engine": "new"}
    take(recorder, drainer, call(5, minutes=4), reviewed(unread={"labs-inr": "failed"}))
    states = {one.about: one.state for one in rows(database, models.alert)}
    assert states == {"not-read": "cleared", "no-unit": "new", "engine": "cleared"}
    take(recorder, drainer, call(6, minutes=5), reviewed())
    assert {one.state for one in rows(database, models.alert)} == {"cleared"}


def test_a_draft_does_not_take_over_an_alert_of_active_data(database, recorder, drainer):
    take(recorder, drainer, call(1), reviewed(recommendation()))
    draft = recommendation(indicator="critical", because=(mk7(180.0, taking="draft"), warfarin()))
    take(
        recorder,
        drainer,
        call(2, minutes=5, hook="order-sign"),
        reviewed(draft, moment="order", hook="order-sign"),
    )
    (alert,) = rows(database, models.alert)
    assert (alert.indicator, alert.from_draft) == ("critical", 0)


def test_a_late_line_neither_hides_nor_marks_unless_its_result_was_withdrawn(
    database, recorder, drainer
):
    found = recommendation(because=(mk7(), inr(6.0)))
    take(recorder, drainer, call(1, minutes=60), reviewed(found, labs=[inr(6.0)]))
    old = reviewed(labs=[inr(5.0)], superseded=[(RULE, ABOUT, "vka-inr-high")])
    take(recorder, drainer, call(2), old)
    (alert,) = rows(database, models.alert)
    assert (alert.suppressed_by, alert.evidence_state, alert.new_data) == ("", "", 0)
    assert (alert.seen_count, alert.version) == (2, 1)
    take(recorder, drainer, call(3, minutes=1), reviewed(withdrawn=["Observation/inr"]))
    assert rows(database, models.alert)[0].evidence_state == "withdrawn"


def test_a_result_that_was_amended_before_its_alert_marks_nothing(database, recorder, drainer):
    amended = inr(5.6, status="amended")
    found = reviewed(recommendation(because=(mk7(), amended)), labs=[amended])
    for number in range(2):
        take(recorder, drainer, call(number, minutes=number), found)
    assert rows(database, models.alert)[0].evidence_state == ""
    again = inr(5.2, status="amended")
    take(recorder, drainer, call(2, minutes=2), reviewed(labs=[again], moment="order"))
    assert rows(database, models.alert)[0].evidence_state == "amended"


def test_a_correction_that_leaves_the_value_as_it_was_still_marks(database, recorder, drainer):
    take(recorder, drainer, call(1), reviewed(recommendation(because=(mk7(), inr(5.6)))))
    corrected = inr(5.6, status="corrected")
    found = reviewed(recommendation(because=(mk7(), corrected)), labs=[corrected])
    take(recorder, drainer, call(2, minutes=1), found)
    assert rows(database, models.alert)[0].evidence_state == "amended"


def test_two_results_under_one_reference_do_not_amend_each_other(database, recorder, drainer):
    one, other = inr(5.6), inr(2.0)
    found = reviewed(recommendation(because=(mk7(), one)), labs=[one, other])
    for number in range(2):
        take(recorder, drainer, call(number, minutes=number), found)
    assert rows(database, models.alert)[0].evidence_state == ""


def test_modes_are_evaluated_alike_and_recorded_apart(database, recorder, drainer):
    modes = {"vka-inr-high": "shadow", "vitamin-d-above": "off"}
    found = reviewed(
        recommendation(),
        recommendation(rule="vka-inr-high"),
        recommendation(rule="vitamin-d-above"),
    )
    take(recorder, drainer, call(1, modes=modes), found)
    assert {one.rule: one.mode for one in rows(database, models.alert)} == {
        RULE: "live",
        "vka-inr-high": "shadow",
    }
    fired = {
        one.rule: (one.mode, one.fired) for one in rows(database, models.rule_daily) if one.rule
    }
    assert fired == {
        RULE: ("live", 1),
        "vka-inr-high": ("shadow", 1),
        "vitamin-d-above": ("off", 1),
    }


def test_one_client_never_meets_the_alerts_of_another(database, recorder, drainer):
    take(recorder, drainer, call(1), reviewed(recommendation()))
    take(recorder, drainer, call(1, tenant="mercy"), reviewed(recommendation()))
    first, second = rows(database, models.alert)
    assert first.key != second.key
    assert first.patient != second.patient


def test_the_store_holds_no_readable_patient_id_or_dose(database, recorder, drainer, keyring):
    made, found = call(1, patient="MRN-4711-canary"), reviewed(recommendation())
    take(recorder, drainer, made, found, cards=cards_for(keyring, made, found))
    with database.reading() as connection:
        for table in models.metadata.sorted_tables:
            assert "canary" not in str(connection.execute(select(table)).all()), table.name
        assert connection.scalar(select(func.count()).select_from(models.patient)) == 1


def test_a_line_that_makes_no_sense_is_kept_aside_and_stops_nothing(database, recorder, drainer):
    recorder.record(call(1), reviewed(recommendation()))
    recorder._spool.append(b'{"type":"nonsense"}')
    recorder.record(call(2), reviewed(recommendation()))
    drainer.drain()
    (kept,) = rows(database, models.spool_reject)
    assert kept.body == b'{"type":"nonsense"}'
    assert rows(database, models.alert)[0].seen_count == 2
    assert NOON


def test_a_text_too_long_for_an_index_does_not_stop_what_comes_after_it(
    database, recorder, drainer, keyring
):
    """PostgreSQL calls it an operational error, as it calls an outage: waiting for its end, nobody's alerts came."""
    noise = "".join(random.Random(1).choices(string.ascii_letters, k=9_000))
    found = reviewed(recommendation())
    for made in (call(1, user=f"Practitioner/{noise}"), call(2, patient="p2")):
        recorder.record(made, found, cards=cards_for(keyring, made, found))
    drainer.drain()
    aside = rows(database, models.spool_reject)
    assert len(rows(database, models.alert)) + len(aside) == 2
    assert len(aside) == (not database.is_sqlite)


def test_an_unread_source_keeps_what_an_earlier_version_could_not_evaluate(
    database, recorder, drainer
):
    """Such alerts were stored without what they need."""
    unreadable = Gap(source="MedicationStatement/k", code="dose-unreadable", says="?")
    take(recorder, drainer, call(1), reviewed(gaps=[unreadable], gap_cards=[unreadable]))
    table = models.alert
    database.write(lambda connection: connection.execute(table.update().values(needs="[]")))
    take(recorder, drainer, call(2, minutes=1), reviewed(unread={"medication-requests": "failed"}))
    kind = table.c.kind == "not-evaluated"
    assert [one.state for one in rows(database, table, kind)] == ["new"]
    take(recorder, drainer, call(3, minutes=2), reviewed())
    assert [one.state for one in rows(database, table, kind)] == ["cleared"]
