"""The dashboard in a real browser: triage by mouse, by keys and without JavaScript, live, accessible, confined."""

import json

import pytest

from service.alerts.lifecycle import Request
from tests.e2e.conftest import NOON, T

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
@pytest.mark.parametrize(
    ("action", "button", "reason", "state"),
    [
        ("acknowledge", "Acknowledge", None, "acknowledged"),
        ("claim", "Claim", None, "new"),
        ("resolve", "Resolve", "Dose or product changed", "resolved"),
        ("override", "Override", 1, "overridden"),
        ("data-problem", "Data problem", "The recorded data are wrong", "data-problem"),
        ("snooze", "Snooze", None, "new"),
        ("comment", "Comment", None, "new"),
    ],
)
def test_each_decision_is_made_on_the_alert_page(
    served, people, script, action, button, reason, state
):
    alert = served.fresh()
    page = people(java_script_enabled=script)
    page.goto(f"/a/{alert.id}")
    main = page.locator("aside[aria-label=Decide]")
    if action not in {"acknowledge", "claim"}:
        main.locator("summary", has_text=button).click()
    if isinstance(reason, int):
        main.locator("details[open] select").select_option(index=reason)
    elif reason:
        main.locator("details[open] select").select_option(reason)
    if action == "comment":
        main.locator("details[open] textarea").fill("Called the ward.")
    main.get_by_role("button", name=button, exact=True).click()
    page.wait_for_url(f"**/a/{alert.id}?done={action}")
    after = served.alert(alert.id)
    assert (after.state, after.version) == (state, alert.version + 1)
    assert served.record.store().events(T, alert.id)[-1]["action"] == action


def test_the_list_is_worked_without_javascript(served, people):
    page = people(java_script_enabled=False)
    row = page.locator("tr", has=page.get_by_role("button", name="Acknowledge")).first
    number = int(row.get_attribute("data-alert"))
    row.get_by_role("button", name="Acknowledge").click()
    page.wait_for_url("**/work?done=acknowledge*")
    assert served.alert(number).state == "acknowledged"
    page.get_by_role("link", name="By patient").click()
    assert page.locator("section.group").count() > 1


def test_the_list_is_worked_with_keys_alone(served, people):
    page = people()
    numbers = [int(one.get_attribute("data-alert")) for one in page.locator("tr[data-alert]").all()]
    place = next(at for at, number in enumerate(numbers) if served.alert(number).state == "new")
    for _ in range(place + 1):
        page.keyboard.press("j")
    page.keyboard.press("a")
    page.wait_for_url("**/work?done=acknowledge*")
    assert served.alert(numbers[place]).state == "acknowledged"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/a/{numbers[place]}")
    page.keyboard.press("o")
    assert page.evaluate("document.activeElement.name") == "reason"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.type("as agreed")  # a, s and c are no commands inside a field
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**?done=override")
    after = served.alert(numbers[place])
    assert after.state == "overridden"
    assert served.record.store().events(T, after.id)[-1]["note"] == "as agreed"
    page.keyboard.press("g")
    page.keyboard.press("w")
    page.wait_for_url("**/work")


def test_single_keys_can_be_switched_off(served, people):
    page = people()
    page.keyboard.press("?")
    page.get_by_label("Single keys off").check()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("j")
    assert page.locator("tr.current").count() == 0
    page.reload()
    page.keyboard.press("j")
    assert page.locator("tr.current").count() == 0


def test_two_pharmacists_at_once_lose_nothing(served, people):
    alert = served.fresh()
    first, second = people(), people()
    for page in (first, second):
        page.goto(f"/a/{alert.id}")
    first.get_by_role("button", name="Acknowledge").click()
    first.wait_for_url("**done=acknowledge")
    second.locator("summary", has_text="Resolve").click()
    second.locator("details[open] select").select_option("no-action-needed")
    second.get_by_role("button", name="Resolve", exact=True).click()
    second.get_by_text("A colleague changed this alert").first.wait_for()
    assert served.alert(alert.id).state == "acknowledged"
    second.locator("summary", has_text="Resolve").click()
    second.locator("details[open] select").select_option("no-action-needed")
    second.get_by_role("button", name="Resolve", exact=True).click()
    second.wait_for_url("**done=resolve")
    assert served.alert(alert.id).state == "resolved"


def test_a_hook_call_shows_on_an_open_list_without_moving_a_row(served, people):
    page = people()
    before = page.locator("tr[data-alert]").evaluate_all(
        "rows => rows.map(row => row.dataset.alert)"
    )
    patient = served.call_hook("live-01")
    bar = page.locator("#fresh a")
    bar.wait_for(state="visible")
    assert "show" in bar.inner_text()
    assert (
        page.locator("tr[data-alert]").evaluate_all("rows => rows.map(row => row.dataset.alert)")
        == before
    )
    bar.click()
    page.wait_for_load_state()
    alert = served.alerts(patient=patient)[0]
    page.goto(f"/a/{alert.id}")
    assert page.locator(".banner-id").inner_text() == "live-01"


def test_forced_colours_and_print_keep_what_matters(served, people):
    page = people(forced_colors="active")
    assert page.locator(".sev").first.is_visible()
    page.emulate_media(media="print")
    assert page.locator("header.top nav").is_hidden()
    assert page.locator("table.alerts").first.is_visible()


def test_hostile_text_of_a_record_stays_text_in_a_browser(served, people):
    def poison(text):
        body = json.loads(text)

        def walk(value):
            if isinstance(value, dict):
                return {
                    name: HOSTILE if name in {"display", "text", "family", "title"} else walk(one)
                    for name, one in value.items()
                }
            if isinstance(value, list):
                return [HOSTILE if isinstance(one, str) else walk(one) for one in value]
            return value

        poisoned = walk(body)
        # The doses and names by which the rules know the drugs stay, with the poison behind them
        original = json.loads(text)
        poisoned["prefetch"]["medicationRequests"] = json.loads(
            json.dumps(original["prefetch"]["medicationRequests"]).replace(
                "Warfarin 5 mg tablet", f"Warfarin 5 mg tablet {HOSTILE}".replace('"', "")
            )
        )
        poisoned["prefetch"]["medicationStatements"] = json.loads(
            json.dumps(original["prefetch"]["medicationStatements"]).replace(
                "100 mcg capsule", f"100 mcg capsule {HOSTILE}"
            )
        )
        return json.dumps(poisoned)

    patient = served.call_hook("hostile-01", poison)
    (alert, *_) = served.alerts(patient=patient)
    page = people()
    for path in ("/work", f"/a/{alert.id}", f"/p/{patient}"):
        page.goto(path)
        assert page.locator("img[src=x]").count() == 0
        assert page.locator("script").count() == 1
    assert "onerror" in page.content()


def test_a_decision_of_a_colleague_shows_who_and_why(served, people):
    alert = served.fresh()
    given = {
        "action": "override",
        "actor": "user/m-adeyemi",
        "reason": "will-monitor",
        "note": "INR on Friday.",
    }
    served.record.store().change(T, alert.id, alert.version, Request(at=NOON, **given))
    page = people()
    page.goto(f"/a/{alert.id}")
    history = page.locator("section[aria-labelledby=history]").inner_text()
    for words in ("m-adeyemi", "override", "INR on Friday."):
        assert words in history
