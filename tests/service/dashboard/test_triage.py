"""The worklist and the alert page without JavaScript: what is shown, what is done, and two who do it at once."""

import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from sqlalchemy import select

from rules.errors import RequestError
from service.alerts import models
from service.alerts.lifecycle import Request
from service.alerts.past_answers import micros
from tests.service.alerts.stories import inr, mk7, recommendation
from tests.service.dashboard.conftest import NOON, T

HOSTILE = "<img src=x onerror=alert(1)></td><script>alert(2)</script>\"'`{{7*7}}\u202e\x00{%raw%}"


class _Tags(HTMLParser):
    """Counts elements, so that a text that became one is seen."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def act(site, alert, action, **more):
    return site.post(f"/a/{alert.id}/act", action=action, version=str(alert.version), **more)


@pytest.mark.parametrize(
    ("action", "more", "state"),
    [
        ("acknowledge", {}, "acknowledged"),
        ("claim", {}, "new"),
        ("comment", {"note": "Called the ward."}, "new"),
        ("snooze", {"span": "1d"}, "new"),
        ("resolve", {"reason": "monitoring-ordered"}, "resolved"),
        ("override", {"reason": "will-monitor", "note": "INR on Friday."}, "overridden"),
        ("data-problem", {"reason": "patient-not-taking"}, "data-problem"),
    ],
)
def test_each_action_is_done_told_and_audited(site, alert, action, more, state):
    page = site.get(f"/a/{alert.id}").text
    assert f'name="action" value="{action}"' in page
    answer = act(site, alert, action, **more)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/a/{alert.id}?done={action}")
    after = site.alert(alert.id)
    assert (after.state, after.version) == (state, alert.version + 1)
    if action == "claim":
        assert after.assignee == "user/pharmacist-developer"
    if action == "snooze":
        assert after.snoozed_until == micros(NOON + timedelta(days=1))
    event = site.record.store().events(T, alert.id)[-1]
    assert (event["action"], event["actor"]) == (action, "user/pharmacist-developer")
    assert (event["reason"], event["note"]) == (more.get("reason", ""), more.get("note", ""))
    assert more.get("note", "") in site.get(f"/a/{alert.id}").text
    with site.record.database.reading() as connection:
        told = connection.execute(
            select(models.audit.c.action).where(models.audit.c.object == f"alert/{alert.id}")
        ).scalars()
        assert action in set(told)


def test_what_was_claimed_is_released_and_free_for_the_next(site, alert):
    act(site, alert, "claim")
    claimed = site.alert(alert.id)
    assert claimed.assignee == "user/pharmacist-developer"
    site.sign_in("lead")
    assert act(site, claimed, "claim").status_code == 422
    assert site.alert(alert.id) == claimed
    site.sign_in("pharmacist")
    assert 'name="action" value="release"' in site.get(f"/a/{alert.id}").text
    assert act(site, claimed, "release").status_code == 303
    free = site.alert(alert.id)
    assert free.assignee == ""
    site.sign_in("lead")
    assert act(site, free, "claim").status_code == 303
    assert site.alert(alert.id).assignee == "user/lead-developer"


def test_a_closed_alert_is_reopened_with_a_reason(site, alert):
    act(site, alert, "resolve", reason="dose-changed")
    closed = site.alert(alert.id)
    assert act(site, closed, "reopen").status_code == 422
    assert act(site, closed, "reopen", reason="closed-by-mistake").status_code == 303
    assert site.alert(alert.id).state == "new"


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("override", {}),
        ("override", {"reason": "because-i-say-so"}),
        ("override", {"reason": "closed-by-mistake"}),
        ("resolve", {}),
        ("data-problem", {"reason": "will-monitor"}),
        ("snooze", {}),
        ("snooze", {"span": "90d"}),
        ("snooze", {"span": "1000y"}),
        ("comment", {"note": "   "}),
        ("comment", {"note": "x" * 2001}),
        ("assign", {"to": "user/x"}),
        ("clear", {}),
        ("", {}),
        ("reopen", {"reason": "closed-by-mistake"}),
    ],
)
def test_what_does_not_fit_is_said_and_changes_nothing(site, alert, action, more):
    answer = act(site, alert, action, **more)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert site.alert(alert.id) == alert


@pytest.mark.parametrize("version", ["", "x", "-1", "9" * 400, "²"])
def test_a_form_without_a_version_changes_nothing(site, alert, version):
    answer = site.post(f"/a/{alert.id}/act", action="claim", version=version)
    assert answer.status_code in {409, 422}
    assert site.alert(alert.id) == alert


def test_of_two_who_act_at_once_one_wins_and_the_other_sees_it(site, alert):
    assert act(site, alert, "override", reason="will-monitor").status_code == 303
    site.sign_in("lead")
    late = act(site, alert, "resolve", reason="dose-changed")
    assert late.status_code == 409
    assert "Nothing of yours was saved" in late.text
    assert "pharmacist-developer" in late.text
    assert site.alert(alert.id).state == "overridden"


def test_a_reader_sees_and_cannot_act(site, alert):
    site.sign_in("reader")
    assert 'name="action"' not in site.get(f"/a/{alert.id}").text
    assert 'name="action"' not in site.get("/work").text
    assert act(site, alert, "claim").status_code == 403


def test_the_list_shows_severity_in_words_patient_problem_result_and_owner(site):
    site.see(
        901,
        recommendation(indicator="critical", summary="INR moves."),
        patient="mrn-901",
        labs=(inr(2.4),),
    )
    page = site.get("/work").text
    row = next(part for part in page.split("<tr ") if "mrn-901" in part)
    for words in ("Critical", "INR moves.", "2.4", "nobody yet", "Acknowledge"):
        assert words in row


def test_acting_from_the_list_comes_back_to_the_same_view(site, alert):
    answer = act(
        site,
        alert,
        "acknowledge",
        **{"from": "work", "f_view": "open", "f_by": "patient", "f_patient": "mrn-1"},
    )
    place = answer.headers["location"]
    assert place == f"/work?view=open&by=patient&done=acknowledge&alert={alert.id}#a{alert.id}"
    assert site.get(place).status_code == 200


def test_views_show_what_they_name(site, alert):
    def shows(view):
        return f'href="/a/{alert.id}"' in site.get(f"/work?view={view}").text

    assert shows("todo")
    assert shows("unassigned")
    assert not shows("mine")
    assert not shows("closed")
    act(site, alert, "claim")
    assert shows("mine")
    assert not shows("unassigned")
    act(site, site.alert(alert.id), "resolve", reason="dose-changed")
    assert shows("closed")
    assert not shows("open")


def test_a_snoozed_alert_is_away_until_its_time(site, alert):
    act(site, alert, "snooze", span="4h")
    assert f'href="/a/{alert.id}"' not in site.get("/work").text
    site.now = NOON + timedelta(hours=4, minutes=1)
    site.sign_in("pharmacist")
    assert f'href="/a/{alert.id}"' in site.get("/work").text


def test_a_critical_alert_offers_a_day_at_most(site):
    site.see(902, recommendation(indicator="critical"), patient="mrn-902")
    critical = max(site.alerts(size=200), key=lambda row: row.id)
    page = site.get(f"/a/{critical.id}").text
    assert "24 hours" in page
    assert "3 days" not in page
    assert act(site, critical, "snooze", span="3d").status_code == 422


def test_a_critical_alert_is_put_off_for_a_day_in_all_however_often_and_by_whomever(site):
    site.see(903, recommendation(indicator="critical"), patient="mrn-903")
    number = max(row.id for row in site.alerts(size=200))
    store = site.record.store()

    def snooze(actor, begin, until):
        row = store.alert(T, number)
        asked = Request(action="snooze", actor=actor, at=NOON + begin, until=NOON + until)
        return store.change(T, number, row.version, asked)

    hour = timedelta(hours=1)
    snooze("user/ann", 0 * hour, 20 * hour)
    snooze("user/ann", 20 * hour, 24 * hour)
    for actor in ("user/ann", "user/bob"):
        with pytest.raises(RequestError, match="together"):
            snooze(actor, 23 * hour, 25 * hour)
    row = store.alert(T, number)
    again = {"actor": "user/ann", "reason": "dose-changed"}
    for action in ("resolve", "reopen"):
        row = store.change(T, number, row.version, Request(action=action, at=NOON + 24 * hour, **again))  # fmt: skip
    with pytest.raises(RequestError, match="together"):
        snooze("user/ann", 24 * hour, 26 * hour)


def _critical(site, number):
    site.see(number, recommendation(indicator="critical"), patient=f"mrn-{number}")
    return max(site.alerts(size=200), key=lambda row: row.id)


def _offered(site, alert):
    """Spans, days and what wakes it, as the page of an alert offers them."""
    page = site.get(f"/a/{alert.id}").text
    found = re.search(
        r'<select class="form-select" name="span">(.*?)</select>(.*?)</form>', page, re.DOTALL
    )
    if not found:
        return None
    spans = re.findall(r'value="(\w+)"', found[1])
    wakes = re.search(r'name="wakes_on">(.*?)</select>', found[2])[1]
    return spans, 'type="date"' in found[2], re.findall(r'value="([\w-]*)"', wakes)


def test_a_critical_alert_is_offered_only_what_is_left_of_its_day(site):
    alert = _critical(site, 906)
    assert _offered(site, alert) == (["1h", "4h", "1d"], True, ["", "new-result"])
    act(site, alert, "snooze", span="1h")
    site.now = NOON + timedelta(hours=14)  # ten of 24 hours are left, and no midnight more
    site.sign_in("pharmacist")
    alert = site.alert(alert.id)
    assert _offered(site, alert) == (["1h", "4h", "rest"], False, ["", "new-result"])
    assert act(site, alert, "snooze", span="1d").status_code == 422
    assert act(site, alert, "snooze", span="rest").status_code == 303
    assert site.alert(alert.id).snoozed_until == micros(NOON + timedelta(hours=24))
    site.now = NOON + timedelta(hours=23, minutes=50)
    site.sign_in("pharmacist")
    alert = site.alert(alert.id)
    assert _offered(site, alert) == (["rest"], False, ["", "new-result"])
    site.now = NOON + timedelta(hours=24)
    site.sign_in("pharmacist")
    assert _offered(site, alert) is None
    assert "It cannot be snoozed again" in site.get(f"/a/{alert.id}").text
    assert act(site, alert, "snooze", span="rest").status_code == 422


def test_a_critical_alert_never_waits_for_an_escalation_that_cannot_come(site):
    alert = _critical(site, 907)
    refused = act(site, alert, "snooze", span="1h", wakes_on="escalation")
    assert refused.status_code == 422
    assert "nothing is more severe" in refused.text
    assert site.alert(alert.id).snoozed_until is None
    assert "Nothing is more severe, so it never waits for that." in site.get(f"/a/{alert.id}").text


def test_what_was_put_off_as_a_warning_may_be_put_off_once_it_is_critical(site):
    site.see(904, recommendation(), patient="mrn-904")
    number = max(row.id for row in site.alerts(size=200))
    store = site.record.store()
    asked = Request(action="snooze", actor="user/ann", at=NOON - timedelta(days=2), until=NOON + timedelta(hours=9))  # fmt: skip
    store.change(T, number, store.alert(T, number).version, asked)
    site.see(905, recommendation(indicator="critical"), patient="mrn-904")
    row = store.alert(T, number)
    assert (row.indicator, row.snoozed_until) == ("critical", None)
    later = Request(action="snooze", actor="user/ann", at=NOON, until=NOON + timedelta(hours=20))
    assert store.change(T, number, row.version, later).snoozed_until is not None


def test_hostile_text_stays_text(site):
    product = mk7()
    import msgspec

    evil = msgspec.structs.replace(
        product, product=HOSTILE, record=HOSTILE[:40], source=(HOSTILE,), dose_note=HOSTILE
    )
    lab = msgspec.structs.replace(
        inr(), reported=HOSTILE, source=(HOSTILE,), performer=HOSTILE, code=HOSTILE
    )
    said = recommendation(because=(evil, lab), summary=f"Summary {HOSTILE}", indicator="critical")
    said = msgspec.structs.replace(
        said,
        why=HOSTILE,
        options=(HOSTILE,),
        limits=HOSTILE,
        missing=(HOSTILE,),
        title=HOSTILE,
        version=HOSTILE,
    )
    calm = site.get("/work").text
    site.see(903, said, patient=HOSTILE, uses=(evil,), labs=(lab,))
    alert = max(site.alerts(size=200), key=lambda row: row.id)
    act(site, alert, "comment", note=HOSTILE.replace("\x00", ""))
    for path in (
        "/work",
        "/work?by=patient",
        f"/a/{alert.id}",
        f"/p/{alert.patient}",
        f"/p/{alert.patient}/sheet",
    ):
        page = site.get(path)
        assert page.status_code == 200
        tags = _Tags(page.text).tags
        assert len([tag for tag, _ in tags if tag == "script"]) == 1
        assert [attrs.get("alt") for tag, attrs in tags if tag == "img"] == [""]
        assert not [name for _, attrs in tags for name in attrs if name.startswith("on")]
        assert "49" not in re.findall(r"&#34;(\d+)", page.text)
        assert "\u202e" not in page.text
        assert "\x00" not in page.text
        assert "onerror=alert(1)&gt;" in page.text, path
    assert "onerror" not in calm


def test_no_address_holds_what_a_patient_is_called(site):
    site.see(904, recommendation(), patient="mrn-904-secret")
    page = site.get("/work").text
    assert "mrn-904-secret" in page
    addresses = [
        value
        for _, attrs in _Tags(page).tags
        for name, value in attrs.items()
        if name in {"href", "action"}
    ]
    assert not [address for address in addresses if "904-secret" in address]


def test_looking_is_written_down(site, alert):
    site.get(f"/a/{alert.id}")
    table = models.audit
    (told,) = site.wait_for(table, table.c.object == f"alert/{alert.id}", table.c.action == "view")
    assert told.actor == "user/pharmacist-developer"


def test_an_alert_without_its_evidence_is_still_shown(site, alert):
    with site.record.database.writing() as connection:
        connection.execute(models.evidence.delete())
    page = site.get(f"/a/{alert.id}")
    assert page.status_code == 200
    assert "not kept any more" in page.text
    assert site.get("/work").status_code == 200


def test_a_store_that_does_not_answer_is_said_on_a_page(site, monkeypatch):
    from rules.errors import Unavailable

    def down(*_, **__):
        raise Unavailable("down")

    monkeypatch.setattr("service.dashboard.desk.session_of", down)
    answer = site.get("/work")
    assert answer.status_code == 503
    assert "The record does not answer" in answer.text
