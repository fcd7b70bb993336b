"""Rules, batch runs, queue, silences, audit trail and hand-over in a real browser, with and without JavaScript."""

import json
import time

import pytest

from tests.e2e.conftest import T, become

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
RULE = "vitd-level-toxic"


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_two_leads_change_the_mode_of_a_rule(served, people, script):
    rule = "vka-inr-unstable-review-k" if script else "vka-k-stable-consistent"
    page = become(served, people(java_script_enabled=script), "lead")
    page.goto(f"/rules/{rule}")
    page.locator("summary", has_text="Ask for another mode").click()
    page.get_by_role("combobox", name="Mode").select_option("shadow")
    page.get_by_label("Reason").fill("Fires more often than it helps.")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_url("**done=asked")
    assert page.get_by_role("button", name="Approve").count() == 0
    become(served, page, "lead", "e2e-second")
    page.goto(f"/rules/{rule}")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url("**done=changed")
    assert page.locator(".page-head .mode").inner_text() == "shadow"
    assert served.app.state.parts.mode_of(T, rule) == "shadow"


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_a_silence_takes_alerts_from_the_list_and_lifting_brings_them_back(served, people, script):
    alert = next(
        one for one in served.alerts(view="todo", indicator="warning") if one.state == "new" and not one.assignee
    )  # fmt: skip
    patient = served.record.store().patient_reference(T, alert.patient)
    page = become(served, people(java_script_enabled=script), "lead")
    address = f"/work?rule={alert.rule}"
    page.goto(address)
    assert page.locator(f"#a{alert.id}").count() == 1
    page.goto("/silences")
    page.get_by_role("combobox", name="Rule").select_option(alert.rule)
    page.get_by_role("textbox", name="Patient").fill(patient)
    page.get_by_role("combobox", name="Reason").select_option("managed-elsewhere")
    page.get_by_role("textbox", name="Note").fill(HOSTILE)
    page.get_by_label("Until").fill("2026-11-27")
    page.get_by_role("button", name="Silence", exact=True).click()
    page.wait_for_url("**done=made")
    row = page.locator("main tbody tr", has_text=patient).first
    assert "onerror" in row.inner_text()
    assert page.locator("img[src=x]").count() == 0
    page.goto(address)
    assert page.locator(f"#a{alert.id}").count() == 0
    page.goto("/silences")
    page.locator("main tbody tr", has_text=patient).first.get_by_role("button", name="Lift").click()
    page.wait_for_url("**done=lifted")
    page.goto(address)
    assert page.locator(f"#a{alert.id}").count() == 1


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_an_upload_is_reviewed_before_ones_eyes(served, people, tmp_path, script):
    lines = [{"resourceType": "Patient", "id": f"up-{n}", "birthDate": "1950-01-01"} for n in range(20)]  # fmt: skip
    file = tmp_path / f"{HOSTILE[:9].replace('/', '')}.ndjson"
    file.write_text("\n".join(json.dumps(one) for one in lines) + "\n{broken\n")
    page = people(java_script_enabled=script)
    page.get_by_role("link", name="Batch").click()
    page.get_by_label("File").set_input_files(file)
    page.get_by_label("As of").first.fill("2026-11-22T12:00")
    page.get_by_role("button", name="Start").first.click()
    page.wait_for_url("**/batch/*")
    job = page.url.rpartition("/")[2]
    if script:
        page.get_by_role("link", name="Show the results").click(timeout=90_000)
    else:
        until = time.monotonic() + 90
        while time.monotonic() < until and page.get_by_role("link", name="Look again").count():
            page.get_by_role("link", name="Look again").click()
            time.sleep(0.3)
    page.wait_for_url(f"**/batch/{job}")
    assert page.locator("#run-state").inner_text() == "done"
    assert "20" in page.locator(".tile-good").inner_text()
    assert page.locator("tbody tr", has_text="The line is no JSON").locator("td").nth(1).inner_text() == "21"  # fmt: skip
    page.goto("/batch")
    assert page.locator("img").count() == 1  # our own mark


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_a_shift_is_handed_over_with_a_note(served, people, script):
    page = people(java_script_enabled=script)
    page.get_by_role("link", name="Hand-over").click()
    assert page.locator(".tile").count() == 7
    page.get_by_role("textbox", name="Note").fill(f"Ward 7 calls back. {HOSTILE}")
    page.get_by_role("button", name="Keep the note").click()
    page.wait_for_url("**/handover?shift=*")
    assert "Ward 7 calls back." in page.locator("#notes").inner_text()
    assert page.locator("img[src=x]").count() == 0
    page.get_by_role("link", name="Earlier shift").click()
    assert "Ward 7 calls back." not in page.locator("#notes").inner_text()


def test_an_auditor_searches_checks_and_exports(served, people):
    page = become(served, people(java_script_enabled=False), "auditor")
    page.goto("/audit")
    page.get_by_label("Who").fill("k-osei")
    page.get_by_role("button", name="Search").click()
    assert page.locator("main tbody tr").count() > 0
    assert set(page.locator("main tbody tr td:nth-child(3)").all_inner_texts()) == {"k-osei"}
    page.get_by_role("button", name="Check the chain").click()
    assert "The trail is whole" in page.locator(".verdict").inner_text()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export as CSV").click()
    assert download.value.suggested_filename == "audit.csv"


def test_the_queue_leads_to_the_alert_and_its_patient(served, people):
    page = people()
    page.get_by_role("link", name="Not evaluated").click()
    page.locator("main tbody .c-rule a").first.click()
    page.wait_for_url("**/a/*")
    assert "could not be" in page.locator("main").inner_text()


def test_the_chart_of_a_rule_says_in_words_what_it_draws(served, people):
    page = become(served, people(), "reader")
    page.goto(f"/rules/{RULE}?days=364")
    points = page.locator("svg.control .dot, svg.control .signal")
    page.locator("summary", has_text="The same as a table").click()
    rows = page.locator("section[aria-labelledby=chart] tbody tr")
    with_reviews = [one for one in rows.all_inner_texts() if "no reviews" not in one]
    assert points.count() == len(with_reviews) > 20
    outside = [one for one in with_reviews if "outside" in one]
    assert page.locator("svg.control .signal").count() == len(outside)
    for title in points.locator("title").all_text_contents():
        assert title.startswith("week of 20")
