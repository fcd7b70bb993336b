"""Rules, batch runs, queue, silences, audit trail and hand-over in a real browser, with and without JavaScript."""

import json
import time
from pathlib import Path

import pytest

from service.alerts.access import accounts, new_account
from service.alerts.batch_jobs import jobs
from service.identity import open_session
from tests.e2e.conftest import NOON, T

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
RULE = "vitd-level-toxic"
TARGETS = "button, select, input:not([type=hidden]), summary, .btn, .tabs a, nav a, .switch a"


def become(served, page, role, name=""):
    """Sit before the same browser as somebody of another role."""
    record, name = served.record, name or f"e2e-{role}"
    given = {"tenant": T, "name": name, "now": NOON}
    if name not in {one["name"] for one in accounts(record.database, T)}:
        new_account(record.database, record.keyring, role=role, actor="operator", **given)
    secret = open_session(record.database, record.keyring, **given)
    page.goto(
        "about:blank"
    )  # an open list would notice that its session went, and leave for the door
    page.context.clear_cookies()
    page.context.add_cookies([{"name": "dekacard-dev", "value": secret, "url": served.base}])
    return page


@pytest.fixture(scope="session")
def finished(served):
    """The demo's batch run, once it is done."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        done = [one for one in jobs(served.record.database, T) if one.state == "done"]
        if done:
            return done[-1]
        time.sleep(0.2)
    raise AssertionError("the run of the demo did not end")


PAGES = {
    "rules": ("lead", "/rules"),
    "rules-silent": ("lead", "/rules?show=silent&days=364"),
    "rule": ("lead", f"/rules/{RULE}?days=364"),
    "rule-waiting": ("lead", "/rules/vitd-ul-exceeded"),
    "batch": ("lead", "/batch"),
    "run": ("lead", "/batch/{run}"),
    "queue": ("pharmacist", "/queue"),
    "silences": ("lead", "/silences"),
    "silences-waiting": ("lead", "/silences?view=waiting"),
    "silences-past": ("reader", "/silences?view=past"),
    "audit": ("auditor", "/audit"),
    "audit-found": ("auditor", "/audit?actor=k-osei"),
    "handover": ("pharmacist", "/handover"),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_every_screen_is_accessible_and_fits_a_telephone(served, people, finished, scheme, name):
    role, address = PAGES[name]
    page = become(served, people(color_scheme=scheme), role)
    assert page.goto(address.format(run=finished.id)).status == 200
    for details in page.locator("details").all():
        details.evaluate("one => { one.name = ''; one.open = true; }")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})"
        ".then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html + ' ' + (n.any[0] || {}).message).slice(0, 3)]))",
        TAGS,
    )
    assert not found, json.dumps(found, indent=1)
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    small = page.evaluate(
        """targets => [...document.querySelectorAll(targets)].filter((one) => one.getClientRects().length)
        .map((one) => [one.outerHTML.slice(0, 90), one.getBoundingClientRect()])
        .filter(([, box]) => box.width && (box.height < 24 || box.width < 24)).map(([html]) => html)""",
        TARGETS,
    )
    assert not small


@pytest.mark.parametrize("name", PAGES)
def test_every_screen_of_the_demo_has_something_to_show(served, people, finished, name):
    role, address = PAGES[name]
    page = become(served, people(), role)
    assert page.goto(address.format(run=finished.id)).status == 200
    assert page.locator("main tbody tr").count() > 0
    page.emulate_media(media="print")
    assert page.locator("header.top nav").is_hidden()
    assert page.locator("main h1").is_visible()


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
