"""What a page seldom has to say: lost evidence, a full list of views, a store that stumbles, browsers that ask by htmx."""

import re
import threading
from datetime import date, timedelta
from types import SimpleNamespace

import msgspec
import pytest

from rules.errors import NotTrusted, Unavailable
from rules.facts import FactSet, Goal, LabResult, Patient
from rules.rulebook import load_rulebook
from service.alerts import models
from service.alerts.keyring import KeyringError
from service.alerts.past_answers import micros
from service.dashboard import live, own_views
from service.dashboard.desk import Visit
from service.dashboard.issues import issue_of
from service.dashboard.replaying import _difference
from service.dashboard.rule_tree import _findings
from service.dashboard.templating import how_long, span_words
from service.dashboard.timeline import Drawing
from service.dashboard.worklist_page import parts_shown
from service.replay import Replayed
from tests.service.alerts.stories import RULE, mk7, recommendation, warfarin
from tests.service.dashboard.conftest import NOON, OURS, T
from tests.service.dashboard.test_timeline import END, START, draw, lab, use

_numbers = iter(range(20_000, 30_000))


def newest(site):
    return max(site.alerts(size=200), key=lambda row: row.id)


def seen(site, **more):
    """The alert of a patient of this test's own."""
    number = next(_numbers)
    site.see(number, recommendation(), patient=f"side-{number}", **more)
    return newest(site)


# Words ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=5), "5 min"),
        (timedelta(hours=47), "47 h"),
        (timedelta(days=3), "3 d"),
        (timedelta(days=200), "6 mo"),
    ],
)
def test_a_span_is_said_in_the_unit_that_a_person_would_take(ago, said):
    assert how_long(micros(NOON - ago), NOON) == said


@pytest.mark.parametrize(("hours", "said"), [(0.5, "30 min"), (5, "5 h"), (72, "3 d")])
def test_a_length_of_time_has_no_beginning(hours, said):
    assert span_words(int(hours * 3_600_000_000)) == said


def test_an_alert_of_before_the_score_has_the_points_of_its_severity():
    (part,) = parts_shown(SimpleNamespace(priority_parts="", priority=40, indicator="warning"))
    assert msgspec.to_builtins(part) == msgspec.to_builtins(type(part)("severity", 40, "warning"))


def test_a_finding_for_which_there_are_no_words_today_is_passed_over():
    book = load_rulebook()
    name = next(iter(book.findings))
    told = [{"name": one, "about": "", "values": {}} for one in ("of-another-day", name)]
    assert [one.name for one in _findings({"findings": told}, book)] == [name]


@pytest.mark.parametrize("state", ["new", "resolved"])
def test_an_alert_of_a_patient_who_was_forgotten_leaves_without_a_subject(state):
    row = SimpleNamespace(
        id=7, first_seen=micros(NOON), title="", rule=RULE, indicator="info", summary="", state=state, closed=None,
        changed=micros(NOON), close_reason="dose-changed", closed_by="user/a", note="", owner="",
    )  # fmt: skip
    issue = issue_of(row, "", None)
    assert "patient" not in issue
    assert issue["detail"] == issue["code"]["text"] == RULE
    assert ("mitigation" in issue) is (state == "resolved")


@pytest.mark.parametrize(
    ("recorded", "replayed", "told"),
    [
        (["a"], ["b"], ("a info: recorded, not found again", "b info: found, not recorded")),
        (["a"], ["a"], ("the recommendations are the same, other parts of the answer differ",)),
    ],
)
def test_how_a_replay_differs_is_told_by_recommendation(recorded, replayed, told):
    def answer(rules):
        spoken = [{"rule": one, "indicator": "info"} for one in rules]
        return msgspec.Raw(msgspec.json.encode({"recommendations": spoken}))

    done = Replayed(
        evaluation="e", as_of=NOON, knowledge={}, recorded=answer(recorded), replayed=answer(replayed), same=False
    )  # fmt: skip
    assert _difference(done) == told
    assert _difference(msgspec.structs.replace(done, same=True)) == ()


# The time line --------------------------------------------------------------------------------------------------------


def test_nothing_is_drawn_where_nothing_was_taken_between_two_courses():
    first = use(daily=90.0, dose_known=True, start=START, end=date(2026, 2, 1))
    again = use(daily=45.0, dose_known=True, start=date(2026, 6, 1), record="MedicationStatement/2")
    bars = draw(uses=(first, again)).panels[-1].bars
    assert len(bars) == 2
    assert bars[0].x + bars[0].width < bars[1].x


@pytest.mark.parametrize(
    ("low", "high", "named"), [(2.0, None, ["target from 2"]), (None, 3.0, ["target to 3"])]
)
def test_a_target_with_one_end_draws_one_limit(low, high, named):
    goal = Goal(measure="inr", low=low, high=high)
    panel = draw(labs=(lab(START, 2.0), lab(END, 2.5)), goals=(goal,)).panels[0]
    assert [line.words for line in panel.limits] == named


# Pages ----------------------------------------------------------------------------------------------------------------


def test_the_same_name_takes_the_new_filters_and_the_list_of_views_is_finite(site, monkeypatch):
    monkeypatch.setattr(own_views, "_MOST", 2)
    for rule in ("vka-mk4", "vka-natto"):
        assert site.post("/work/views", name="One", f_rule=rule).status_code == 303
    page = site.get("/work").text
    assert 'rule=vka-natto">One</a>' in page
    assert 'rule=vka-mk4">One</a>' not in page
    assert site.post("/work/views", name="Two", f_owner="nobody").status_code == 303
    refused = site.post("/work/views", name="Three", f_owner="nobody")
    assert refused.status_code == 422
    assert "At most 2 views can be kept" in refused.text
    for name in ("One", "Two"):
        site.post("/work/views/drop", name=name)


def test_an_export_holds_more_than_is_read_at_once(site, alert, monkeypatch):
    seen(site)
    whole = site.get("/work/export?format=ndjson&view=open").content
    monkeypatch.setattr("service.dashboard.exports._AT_ONCE", 1)
    assert site.get("/work/export?format=ndjson&view=open").content == whole
    assert whole.count(b"\n") >= 2


def test_a_second_replay_waits_for_the_first(site, alert, monkeypatch):
    from service import replay as replaying

    real, second = replaying.replay, []

    def slow(*given, **more):
        if not second:
            asking = threading.Thread(
                target=lambda: second.append(site.post(f"/a/{alert.id}/replay"))
            )
            asking.start()
            asking.join(30)
        return real(*given, **more)

    monkeypatch.setattr(replaying, "replay", slow)
    assert site.post(f"/a/{alert.id}/replay").status_code == 200
    assert second[0].status_code == 429
    assert "Another replay is running" in second[0].text


def test_what_is_new_is_told_once_until_there_is_more(site, alert, monkeypatch):
    monkeypatch.setattr(live, "_LOOKS", 3)
    monkeypatch.setattr(live, "_EVERY", 0.0)
    told = site.get(f"/live?since={alert.id - 1}").text
    assert told == "retry: 2000\n\ndata: 1 new alert, show\n\n"
    seen(site)
    assert "data: 2 new alerts, show" in site.get(f"/live?since={alert.id - 1}").text
    assert site.get(f"/live?since={newest(site).id}").text == "retry: 2000\n\n"
    for since in ("", "x", "-1", "9" * 20):
        assert site.get(f"/live?since={since}").status_code == 422


def test_a_store_that_falls_silent_ends_the_stream_and_not_the_page(site, alert, monkeypatch):
    def silent(*_):
        raise Unavailable("the store does not answer")

    monkeypatch.setattr(live.Live, "_count", silent)
    assert site.get(f"/live?since={alert.id - 1}").text == "retry: 2000\n\n"


def test_htmx_leaves_the_whole_page_where_nobody_is_signed_in(site):
    htmx = {**OURS, "HX-Request": "true"}
    assert "hx-redirect" not in site.client.get("/work", headers=htmx).headers
    refused = site.post("/work/views", headers=htmx, name=" ")
    assert (refused.status_code, refused.headers["hx-replace-url"]) == (422, "false")
    site.client.cookies.clear()
    gone = site.client.get("/work", headers=htmx)
    assert (gone.status_code, gone.headers["hx-redirect"]) == (401, "/login")
    assert "location" not in gone.headers
    assert site.client.get("/work", headers=OURS).headers["location"] == "/login"


def test_whoever_has_no_session_is_nobody():
    fields = dict.fromkeys(Visit.__struct_fields__)
    with pytest.raises(NotTrusted):
        _ = Visit(**fields).who


def test_a_page_that_cannot_be_made_says_no_more_than_that(site, alert, monkeypatch):
    def broken():
        raise KeyringError("key 7 of /etc/keys.json is not there")

    monkeypatch.setattr(site.record, "store", broken)
    page = site.get(f"/a/{alert.id}")
    assert page.status_code == 500
    assert "This page could not be made." in page.text
    assert "keys.json" not in page.text


def test_an_alert_without_its_evidence_keeps_its_page_and_its_patient(site):
    row = seen(site)
    with site.record.database.writing() as connection:
        connection.execute(
            models.evaluation.update()
            .where(models.evaluation.c.id == row.evaluation)
            .values(evidence="")
        )
    for path in (f"/a/{row.id}", f"/p/{row.patient}", "/work"):
        assert site.get(path).status_code == 200
    assert 'class="timeline"' not in site.get(f"/p/{row.patient}").text


def test_doses_that_are_not_known_are_counted_beside_the_sum(site):
    unknown = msgspec.structs.replace(
        mk7(), record="MedicationStatement/u", source=("MedicationStatement/u",), daily=None, amount=None, dose_known=False,
    )  # fmt: skip
    row = seen(site, uses=(mk7(45.0), unknown, warfarin()))
    told = " ".join(re.sub(r"<[^>]*>", " ", site.get(f"/p/{row.patient}").text).split())
    assert "45 mcg a day from 2 products, and 1 dose not known" in told


@pytest.mark.parametrize("state", ["withdrawn", "amended"])
def test_what_was_taken_back_is_no_newest_result(state):
    from service.dashboard.casebook import _newest_known

    def known(taken, value):
        result = LabResult(measure="inr", value=value, taken=taken, reported=str(value), source=("Observation/1",))  # fmt: skip
        return FactSet(patient=Patient(id="p"), labs=(result,))

    held, newer = known(date(2026, 3, 1), 9.9), known(date(2026, 2, 1), 2.1)
    told = SimpleNamespace(sources=b"{}", evidence_state=state)
    assert _newest_known(held, [newer], told)[0] is newer
    assert _newest_known(held, [newer], SimpleNamespace(sources=b"{}", evidence_state=""))[0] is held  # fmt: skip


def test_a_reason_that_is_too_long_is_refused_on_the_page_of_the_rule(site):
    site.sign_in("lead")
    page = site.post(f"/rules/{RULE}/mode", mode="off", reason="x" * 5_000)
    assert "characters at most" in page.text
    assert site.app.state.parts.mode_of(T, RULE) == "live"


def test_the_page_of_a_rule_draws_what_became_of_its_alerts(site, alert):
    site.sign_in("lead")
    assert '<rect class="part part-new" x="0.0"' in site.get(f"/rules/{RULE}").text


def test_an_alert_of_before_the_window_stands_outside_the_picture():
    drawing = Drawing(START, END, title=str.upper, amount=lambda value, unit: f"{value:g} {unit}")
    alerts = [(date(2025, 12, 31), "info", "before"), (date(2026, 5, 1), "info", "within")]
    told = drawing.draw(FactSet(patient=Patient(id="p"), labs=(lab(START, 2.0),)), alerts)
    assert [mark.words for mark in told.marks] == ["2026-05-01: within"]
