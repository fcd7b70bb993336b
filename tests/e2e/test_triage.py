"""Triage in depth in a real browser: several at once with a way back, keys for all of it, paper, files, hostile records."""

import pytest

from service.alerts.lifecycle import Request
from tests.e2e.accessibility import look_over
from tests.e2e.conftest import NOON, T, holds


def untouched(served, count):
    found = [
        one
        for one in served.alerts(view="todo")
        if one.state == "new" and not one.assignee and one.indicator != "critical"
    ]
    assert len(found) >= count
    return found[:count]


def choose(page, rows):
    for row in rows:
        page.locator(f"#a{row.id} .pick").check()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_several_are_resolved_together_and_taken_back(served, people, script):
    rows = untouched(served, 3)
    page = people(java_script_enabled=script)
    page.goto("/work?indicator=warning")
    bar = page.locator("#together")
    assert not bar.is_visible()
    choose(page, rows)
    assert bar.is_visible()
    bar.locator("summary", has_text="Resolve").click()
    bar.locator("select[name=reason_resolve]").select_option("dose-changed")
    bar.get_by_role("button", name="Resolve all").click()
    page.wait_for_url("**done=resolve**")
    assert {served.alert(row.id).state for row in rows} == {"resolved"}
    page.get_by_text("Resolve: 3 alerts done").first.wait_for()
    page.get_by_role("button", name="Undo").click()
    page.wait_for_url("**done=undo**")
    assert {served.alert(row.id).state for row in rows} == {"new"}
    assert "indicator=warning" in page.url, "the list is the one it was"


def test_keys_choose_decide_and_undo(served, people):
    page = people()
    page.goto("/work?view=unassigned&indicator=warning")
    numbers = [
        int(one.get_attribute("data-alert")) for one in page.locator("tr[data-alert]").all()
    ][:2]
    for key in ("j", "x", "j", "x", "c"):
        page.keyboard.press(key)
    page.wait_for_url("**done=claim**")
    assert {served.alert(number).assignee for number in numbers} == {"user/demo-pharmacist"}
    page.keyboard.press("u")
    page.wait_for_url("**done=undo**")
    assert {served.alert(number).assignee for number in numbers} == {""}


@pytest.mark.parametrize(
    ("key", "field"),
    [("s", "span"), ("r", "reason"), ("o", "reason"), ("d", "reason"), ("t", "to"), ("m", "note")],
)
def test_a_key_on_the_list_leads_to_its_form(served, people, key, field):
    page = people()
    page.keyboard.press("j")
    page.keyboard.press(key)
    page.wait_for_url("**/a/*")
    holds(page, f"document.activeElement.name === '{field}'")


@pytest.mark.parametrize(
    ("key", "path"),
    [("w", "/work"), ("r", "/rules"), ("b", "/batch"), ("q", "/queue"), ("p", "/p/*")],
)
def test_g_goes_everywhere(served, people, key, path):
    page = people()
    page.goto(f"/a/{served.fresh().id}")
    page.keyboard.press("g")
    page.keyboard.press(key)
    page.wait_for_url(f"**{path}")
    page.wait_for_load_state()


def test_work_is_handed_over_and_waits_for_a_result(served, people):
    (row,) = untouched(served, 1)
    page = people()
    page.goto(f"/a/{row.id}")
    aside = page.locator("aside[aria-label=Decide]")
    aside.locator("summary", has_text="Assign").click()
    aside.locator("select[name=to]").select_option("m-adeyemi")
    aside.get_by_role("button", name="Assign", exact=True).click()
    page.wait_for_url("**done=assign")
    assert served.alert(row.id).assignee == "user/m-adeyemi"
    aside.locator("summary", has_text="Snooze").click()
    aside.locator("input[name=day]").fill("2026-11-25")
    aside.locator("select[name=wakes_on]").select_option("new-result")
    aside.get_by_role("button", name="Snooze", exact=True).click()
    page.wait_for_url("**done=snooze")
    assert page.get_by_text("snoozed until 2026-11-25 00:00 UTC or new evidence").is_visible()
    aside.get_by_role("button", name="Wake").click()
    page.wait_for_url("**done=wake")
    assert served.alert(row.id).snoozed_until is None


def test_a_view_of_ones_own_is_kept_and_dropped(served, people):
    page = people()
    page.goto("/work?indicator=critical&by=patient")
    page.locator("summary", has_text="Keep this view").click()
    page.get_by_label("Name").fill("Critical by patient")
    page.get_by_role("button", name="Keep", exact=True).click()
    page.goto("/work")
    page.get_by_role("link", name="Critical by patient").click()
    page.wait_for_url("**/work?by=patient&indicator=critical")
    page.get_by_role("button", name="Drop the view Critical by patient").click()
    page.wait_for_url("**/work")
    assert page.get_by_role("link", name="Critical by patient").count() == 0


def test_a_replay_is_shown_where_it_was_asked_for(served, people):
    row = served.fresh()
    page = people()
    page.goto(f"/a/{row.id}")
    page.get_by_role("button", name="Replay the stored facts").click()
    page.get_by_text("With the rules of that day").first.wait_for(timeout=60_000)
    assert page.get_by_text("The same answer, byte for byte.").is_visible()
    assert "replay" in page.locator("section[aria-labelledby=history]").inner_text()


def test_files_are_downloaded_and_a_patient_is_found(served, people):
    page = people()
    for form, ending in (("CSV", "csv"), ("NDJSON", "ndjson"), ("FHIR", "json")):
        with page.expect_download() as told:
            page.locator(".exports").get_by_role("link", name=form, exact=True).click()
        assert told.value.suggested_filename.endswith(ending)
    patient = page.locator(".c-patient a").first.inner_text()
    page.get_by_label("Patient id").fill(patient)
    page.get_by_role("button", name="Open", exact=True).click()
    page.wait_for_url("**/p/*")
    assert page.locator(".banner-id").inner_text() == patient
    assert patient not in page.url


def test_the_score_opens_into_its_parts(served, people):
    page = people()
    score = page.locator("details.score").first
    score.locator("summary").click()
    told = score.locator(".parts").inner_text()
    assert "Severity" in told
    numbers = [int(one.inner_text()) for one in score.locator(".parts strong").all()]
    assert sum(numbers[:-1]) == numbers[-1]


def test_the_sheet_for_paper_names_the_patient_on_every_page(served, people):
    page = people()
    page.goto(f"/p/{served.fresh().patient}")
    patient = page.locator(".banner-id").inner_text()
    page.get_by_role("link", name="Print sheet").click()
    page.wait_for_url("**/sheet")
    page.emulate_media(media="print")
    head = page.locator("table.paper > thead")
    assert patient in head.inner_text()
    assert head.evaluate("one => getComputedStyle(one).display") == "table-header-group"
    for gone in ("header.top nav", ".screen-only", ".dev-bar"):
        assert page.locator(gone).first.is_hidden()
    assert len(page.pdf(format="A4")) > 10_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["chosen", "menus", "sheet", "due", "replayed"])
def test_further_pages_are_accessible_and_fit_a_telephone(served, people, scheme, name):
    page = people(color_scheme=scheme)
    row = served.fresh()
    page.goto(
        {
            "sheet": f"/p/{row.patient}/sheet",
            "due": "/work?view=due",
            "replayed": f"/a/{row.id}",
        }.get(name, "/work")
    )
    rules = {}
    if name in {"chosen", "menus"}:
        page.set_viewport_size(
            {"width": 1280, "height": 6000}
        )  # the bar at its end, not over a row
        page.locator(".pick").first.check()
    if name == "menus":
        rules = {
            "target-size": {"enabled": False}
        }  # an open menu covers what is below; sizes are measured here
        for one in page.locator("details").all():
            one.evaluate("one => { one.name = ''; }")
        page.locator("#together summary", has_text="Snooze").click()
        page.locator("details.score summary").first.click()
    if name == "replayed":
        page.get_by_role("button", name="Replay the stored facts").click()
        page.get_by_text("With the rules of that day").first.wait_for(timeout=60_000)
    look_over(page, unfold=False, rules=rules)


def test_focus_is_never_hidden_under_the_bar_and_goes_as_the_eye_does(served, people):
    page = people(viewport={"width": 1280, "height": 600}, reduced_motion="reduce")
    page.locator(".pick").first.check()
    hidden = page.evaluate(
        """() => [...document.querySelectorAll("table.alerts a, table.alerts button, table.alerts input:not([type=hidden]), table.alerts summary")]
        .slice(0, 60).filter((one) => {
          one.focus();
          const box = one.getBoundingClientRect();
          const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
          return !(one === top || one.contains(top) || (top && top.contains(one)));
        }).map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert not hidden
    places = page.locator("tr[data-alert]").first.evaluate(
        "row => [...row.querySelectorAll('input:not([type=hidden]), a, summary, button')].map(one => one.getBoundingClientRect().left)"
    )
    assert len(places) >= 4
    assert places == sorted(places)
    heads = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map(one => Number(one.tagName[1]))"
    )
    assert heads.count(1) == 1


def test_a_change_elsewhere_moves_no_row_and_loses_no_choice(served, people):
    rows = untouched(served, 2)
    page = people()
    page.goto("/work?indicator=warning&view=open")
    choose(page, rows[:1])
    before = page.locator("tr[data-alert]").evaluate_all(
        "all => all.map(one => [one.dataset.alert, one.getBoundingClientRect().top])"
    )
    served.record.store().change(
        T, rows[1].id, rows[1].version, Request(action="claim", actor="user/m-adeyemi", at=NOON)
    )
    served.call_hook("live-moves-nothing")
    page.locator("#fresh a").wait_for(state="visible")
    after = page.locator("tr[data-alert]").evaluate_all(
        "all => all.map(one => [one.dataset.alert, one.getBoundingClientRect().top])"
    )
    assert (
        after == before
    )  # neither in another order nor lower on the page, where a hand is about to press
    assert page.locator(f"#a{rows[0].id} .pick").is_checked()
