"""The list: a score that adds up before everyone's eyes, own views, filters without names, several alerts at once."""

import html
import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from sqlalchemy import event

from service.alerts import models
from service.alerts.past_answers import micros
from service.alerts.priority import scheme
from service.dashboard.worklist_page import _end_of
from tests.service.alerts.stories import RULES, call, inr, mk7, recommendation, reviewed, warfarin
from tests.service.dashboard.conftest import NOON, T

_many = iter(range(5000, 9000))


@pytest.fixture
def some(site):
    """A critical alert and two warnings of three patients of this test's own."""
    made = []
    for indicator in ("critical", "warning", "warning"):
        number = next(_many)
        site.see(number, recommendation(indicator=indicator), patient=f"many-{number}")
        made.append(max(site.alerts(size=200), key=lambda row: row.id))
    return made


def together(site, alerts, action, **more):
    picked = {f"pick_{row.id}": str(row.version) for row in alerts}
    return site.post("/work/act", action=action, **picked, **more)


def test_several_are_decided_at_once_and_taken_back(site, some):
    answer = together(site, some, "resolve", reason_resolve="dose-changed", f_view="open")
    place = answer.headers["location"]
    assert place.startswith("/work?view=open&done=resolve&count=3&undo=")
    assert {site.alert(row.id).state for row in some} == {"resolved"}
    page = site.get(place).text
    assert "Resolve: 3 alerts done" in page
    undo = re.search(r'name="undo" value="([^"]+)"', page)[1]
    back = site.post("/work/undo", undo=undo, f_view="open")
    assert back.headers["location"] == "/work?view=open&done=undo&count=3"
    assert {site.alert(row.id).state for row in some} == {"new"}
    assert site.post("/work/undo", undo=undo).status_code == 404


def test_what_does_not_fit_is_left_and_said(site, some):
    critical, first, second = some
    site.post(f"/a/{second.id}/act", action="comment", note="x", version=str(second.version))
    place = together(site, some, "override", reason_override="will-monitor").headers["location"]
    assert "count=1" in place
    page = site.get(place).text
    assert "1 critical, which are overridden one by one" in page
    assert "1 changed by a colleague meanwhile" in page
    states = [site.alert(row.id).state for row in some]
    assert states == ["new", "overridden", "new"]
    assert critical.indicator == "critical"
    assert first.state == "new"


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("resolve", {}),
        ("resolve", {"reason_resolve": "made-up"}),
        ("snooze", {"span": "1000y"}),
        ("assign", {"to": "nobody"}),
        ("reopen", {"reason": "closed-by-mistake"}),
        ("clear", {}),
    ],
)
def test_a_joint_decision_needs_what_a_single_one_needs(site, some, action, more):
    answer = together(site, some, action, **more)
    assert answer.status_code in {303, 422}
    if answer.status_code == 303:
        assert "count=0" in answer.headers["location"]
        assert "left_unfit=3" in answer.headers["location"]
    assert [site.alert(row.id) for row in some] == some


def test_nothing_chosen_is_said(site):
    assert site.post("/work/act", action="claim").status_code == 422


def test_readers_choose_nothing(site, some):
    site.sign_in("reader")
    assert 'name="pick_' not in site.get("/work").text
    assert together(site, some, "claim").status_code == 403
    assert site.post("/work/undo", undo="x").status_code == 403


def test_work_is_handed_to_a_colleague_who_may_decide(site, alert):
    site.sign_in("lead")
    site.sign_in("reader")
    site.sign_in("pharmacist")
    page = site.get(f"/a/{alert.id}").text
    offered = re.search(r'<select class="form-select" name="to" required>(.*?)</select>', page)[1]
    assert "lead-developer" in offered
    assert "reader-developer" not in offered
    fields = {"action": "assign", "version": str(alert.version)}
    assert site.post(f"/a/{alert.id}/act", to="reader-developer", **fields).status_code == 422
    assert site.post(f"/a/{alert.id}/act", to="lead-developer", **fields).status_code == 303
    assert site.alert(alert.id).assignee == "user/lead-developer"


def test_an_alert_waits_for_a_day_a_result_or_an_escalation(site, alert):
    def snooze(**more):
        row = site.alert(alert.id)
        answer = site.post(f"/a/{row.id}/act", action="snooze", version=str(row.version), **more)
        assert answer.status_code == 303, answer.text
        return site.alert(alert.id)

    until = snooze(day="2026-11-25", wakes_on="new-result")
    assert until.snoozed_until == micros(NOON.replace(day=25, hour=0))
    assert until.wakes_on == "new-result"
    assert "or new evidence" in site.get(f"/a/{alert.id}").text
    longest = snooze(wakes_on="escalation", span="1h")
    limits = site.record.options.snooze
    assert longest.snoozed_until == micros(NOON + limits.warning)
    for bad in (
        {"day": "2027-11-25"},
        {"day": "2026-11-22"},
        {"day": "soon"},
        {"wakes_on": "magic", "span": "1h"},
    ):
        answer = site.post(
            f"/a/{alert.id}/act", action="snooze", version=str(longest.version), **bad
        )
        assert answer.status_code == 422, bad
    assert site.alert(alert.id) == longest


def test_the_site_decides_how_long(site, alert, monkeypatch):
    import msgspec

    strict = msgspec.structs.replace(site.record.options.snooze, warning=timedelta(hours=2))
    options = msgspec.structs.replace(site.record.options, snooze=strict)
    monkeypatch.setattr(site.record, "options", options)
    page = site.get(f"/a/{alert.id}").text
    assert "1 hour<" in page
    assert "4 hours" not in page
    fields = {"action": "snooze", "span": "4h", "version": str(alert.version)}
    assert site.post(f"/a/{alert.id}/act", **fields).status_code == 422


def test_due_today_shows_what_was_put_off_until_today(site, alert):
    def shows():
        return f'href="/a/{alert.id}"' in site.get("/work?view=due").text

    assert not shows()
    row = site.alert(alert.id)
    site.post(f"/a/{row.id}/act", action="snooze", version=str(row.version), span="4h")
    assert shows()
    row = site.alert(alert.id)
    site.post(f"/a/{row.id}/act", action="snooze", version=str(row.version), span="3d")
    assert not shows()


def test_the_score_is_shown_as_the_sum_it_is(site):
    number = next(_many)
    low = recommendation(because=(inr(1.2), *recommendation().because[0].because))
    site.see(number, low, patient=f"many-{number}", labs=(inr(1.2),))
    row = max(site.alerts(size=200), key=lambda one: one.id)
    page = site.get(f"/a/{row.id}").text
    box = page[page.index("Why it stands here") :].partition("</section>")[0]
    addends = [int(one) for one in re.findall(r"<strong>\+?(\d+)</strong>", box)]
    assert addends[-1] == sum(addends[:-1]) == row.priority
    assert len(addends) >= 4
    assert scheme().titles["inr_distance"] in box
    assert "1.2, 0.8 below 2" in box
    line = next(part for part in site.get("/work").text.split("<tr ") if f'id="a{row.id}"' in part)
    assert "+".join(str(one) for one in addends[:-1]) in line


def test_the_highest_score_stands_first(site, some):
    shown = re.findall(r'data-alert="(\d+)"', site.get("/work").text)
    scores = [site.alert(int(number)).priority for number in shown]
    assert scores == sorted(scores, reverse=True)
    assert len(shown) > 2


def test_own_views_are_kept_for_one_person_and_hold_no_patient(site, alert):
    site.post(
        "/work/views", name="  My  K alerts ", f_rule="vka-mk4", f_owner="nobody", f_patient="mrn-1"
    )
    page = site.get("/work").text
    assert 'href="/work?owner=nobody&amp;rule=vka-mk4">My K alerts</a>' in page
    assert "mrn-1" not in page
    site.sign_in("lead")
    assert "My K alerts" not in site.get("/work").text
    site.sign_in("pharmacist")
    assert site.post("/work/views", name=" ").status_code == 422
    assert site.post("/work/views", name="x" * 41).status_code == 422
    site.post("/work/views/drop", name="My K alerts")
    assert "My K alerts" not in site.get("/work").text


def test_filters_narrow_and_can_be_taken_away(site, some):
    def numbers(query):
        return set(re.findall(r'data-alert="(\d+)"', site.get(f"/work?{query}").text))

    ours = {str(row.id) for row in some}
    assert numbers("indicator=critical") & ours == {str(some[0].id)}
    fields = {"action": "claim", "version": str(some[1].version)}
    site.post(f"/a/{some[1].id}/act", **fields)
    assert numbers("owner=me&view=open") & ours == {str(some[1].id)}
    assert str(some[1].id) not in numbers("owner=nobody")
    page = site.get("/work?indicator=critical&owner=nobody&rule=none-such").text
    assert page.count("take this filter away") == 3
    assert site.get("/work?indicator=x&owner=y&view=z").status_code == 200


def test_a_patient_is_found_by_a_form_and_never_by_an_address(site):
    site.see(next(_many), recommendation(), patient="mrn-find-me")
    answer = site.post("/p/find", patient=" Patient/mrn-find-me ")
    assert answer.status_code == 303
    assert "find-me" not in answer.headers["location"]
    assert "mrn-find-me" in site.get(answer.headers["location"]).text
    assert site.post("/p/find", patient="nobody-here").status_code == 404
    assert site.post("/p/find", patient="").status_code == 404


def test_by_patient_every_patient_stands_once(site, some):
    number = next(_many)
    both = (recommendation(), recommendation(rule="vka-inr-high", about=""))
    site.see(number, *both, patient=f"many-{number}")
    pages = [site.get("/work?by=patient").text]
    while more := re.search(r'href="(/work\?[^"]*after=[^"]+)"', pages[-1]):
        pages.append(site.get(html.unescape(more[1])).text)
    whole = "".join(pages)
    (group,) = (p for p in whole.split('<section class="group"') if f">many-{number}</a>" in p)
    assert "2 alerts" in group
    assert group.count("data-alert=") == 2
    assert whole.count(f">many-{number}</a>") == 1


def test_new_data_are_marked_at_the_alert_and_at_the_patient(site):
    def head():
        page = site.get("/work?by=patient&view=open&rule=vka-inr-high").text
        (group,) = (p for p in page.split('<section class="group"') if ">mrn-news</a>" in p)
        return group.split("</h2>")[0], group

    number = next(_many)
    site.see(number, recommendation(rule="vka-inr-high"), patient="mrn-news")
    assert not any("new data" in one for one in head())
    worse = recommendation(rule="vka-inr-high", because=(mk7(360.0), warfarin()))
    site.see(number + 7_000, worse, patient="mrn-news")
    assert all("new data" in one for one in head())


def test_the_page_asks_the_store_as_often_for_many_rows_as_for_few(site, some):
    def asked(path):
        found = []
        listen = lambda *_: found.append(1)  # noqa: E731
        engine = site.record.database.readers
        event.listen(engine, "before_cursor_execute", listen)
        try:
            rows = site.get(path).text.count("data-alert=")
        finally:
            event.remove(engine, "before_cursor_execute", listen)
        return len(found), rows

    few = asked("/work?rule=vka-inr-high")
    many = asked("/work?view=open")
    assert many[1] > few[1] + 2
    assert many[0] <= few[0] + 1


def test_a_thin_call_does_not_empty_the_page_of_a_patient(site):
    patient = "mrn-thin-call"
    site.see(960, patient=patient, uses=(warfarin(), mk7()), labs=(inr(),))
    draft = mk7(taking="draft", record="MedicationRequest/dr-1")
    unread = dict.fromkeys(
        ("medication-statements", "medication-requests", "labs-inr", "labs-25ohd"), "not sent"
    )
    for number, hook in ((961, "order-select"), (962, "patient-view")):
        made = call(number, tenant=T, patient=patient, minutes=number - 950, hook=hook)
        thin = reviewed(recommendation(), hook=hook, uses=(draft,), unread=unread)
        site.record.record(made, thin, may_speak=RULES)
        site.wait_for(models.evaluation, models.evaluation.c.id == made.id)
    key = site.record.keyring.patient_key(T, patient)
    for path in (f"/p/{key}", f"/p/{key}/sheet"):
        page = site.get(path).text.replace("<wbr>", "")
        assert "MedicationStatement/w" in page
        assert "Observation/inr" in page or "2026-11-01" in page
        assert "Incomplete review" not in page
        assert "A newer review" in page
        assert "Unsigned orders" not in page
        assert "1 product, dose not known" in page


@pytest.mark.parametrize("hook", ["order-select", "patient-view"])
def test_a_patient_of_whom_only_a_draft_is_known_is_told_to_be_incomplete(site, hook):
    patient = f"mrn-only-draft-{hook}"
    draft = mk7(taking="draft", record="MedicationRequest/dr-1")
    made = call(963, tenant=T, patient=patient, hook=hook)
    thin = reviewed(
        recommendation(), hook=hook, uses=(draft,), unread={"medication-statements": "not sent"}
    )
    site.record.record(made, thin, may_speak=RULES)
    site.wait_for(models.evaluation, models.evaluation.c.id == made.id)
    key = site.record.keyring.patient_key(T, patient)
    for path in (f"/p/{key}", f"/p/{key}/sheet"):
        page = site.get(path).text
        assert page.index("Incomplete review") < page.index("None was recorded")
        assert "medication statements" in page
        assert page.index("Unsigned orders") < page.index("MedicationRequest/dr-1")


def test_days_and_times_are_those_of_the_site(site, alert, monkeypatch):
    site.now = NOON.replace(hour=23, minute=30)
    site.sign_in("pharmacist")
    assert "as of 23:30 UTC" in site.get("/work").text
    desk = site.app.state.dashboard
    monkeypatch.setattr(desk, "zone", ZoneInfo("Europe/Vienna"))
    assert "as of 00:30 CET" in site.get("/work").text
    page = site.get(f"/a/{alert.id}").text
    assert " CET" in page
    assert " UTC" not in page
    evening = datetime(2026, 11, 23, 20, tzinfo=ZoneInfo("America/New_York"))
    assert _end_of(evening) == micros(datetime(2026, 11, 24, 5, tzinfo=UTC)) - 1


def test_a_reason_is_printed_in_the_words_in_which_it_was_chosen(site, alert):
    site.post(
        f"/a/{alert.id}/act", version=str(alert.version), action="resolve", reason="dose-changed"
    )
    page = site.get(f"/a/{alert.id}").text
    history = page[page.index('id="history"') :]
    assert "Dose or product changed" in history
    assert "dose changed" not in page


def test_a_row_shows_the_newest_result_that_is_known_and_not_that_of_the_alert(site):
    def shown(patient):
        (row,) = {row.id for row in site.alerts(size=200) if row.patient == patient}
        page = site.get("/work?view=open").text
        return page[page.index(f'id="a{row}"') :].split("</tr>")[0]

    number, patient = next(_many), "mrn-newest"
    later = {"taken": date(2026, 11, 20), "source": ("Observation/later",), "reported": "3.9"}
    newer = msgspec.structs.replace(inr(3.9), **later)

    def see(minutes, *labs):
        made = call(number, tenant=T, patient=patient, minutes=minutes)
        site.record.record(made, reviewed(recommendation(), labs=labs), may_speak=RULES)
        site.wait_for(models.evaluation, models.evaluation.c.id == made.id)

    see(0, inr(2.4))
    key = site.record.keyring.patient_key(T, patient)
    assert "2.4" in shown(key)
    for_alert = site.alerts(size=200, patient=key)[0].evaluation
    see(5, inr(2.4), newer)
    assert site.alerts(size=200, patient=key)[0].evaluation == for_alert, (
        "the alert rests on the same"
    )
    assert "3.9" in shown(key)
    assert "2026-11-20" in shown(key)
    see(9)
    assert "3.9" in shown(key), "a review that saw no results hides none"
    assert "Counted when the evidence of this alert last changed" in shown(key)
