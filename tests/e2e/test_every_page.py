"""Every page of the dashboard, in light, dark and forced colours, on a telephone and on paper."""

import pytest

from tests.e2e.accessibility import LOOKS, look_over
from tests.e2e.conftest import become

RULE = "vitd-level-toxic"
PAGES = {
    "work": ("pharmacist", "/work"),
    "by-patient": ("pharmacist", "/work?by=patient"),
    "closed": ("pharmacist", "/work?view=closed"),
    "empty": ("pharmacist", "/work?rule=nothing"),
    "alert": ("pharmacist", "/a/{alert.id}"),
    "closed-alert": ("pharmacist", "/a/{closed.id}"),
    "patient": ("pharmacist", "/p/{alert.patient}"),
    "sheet": ("pharmacist", "/p/{alert.patient}/sheet"),
    "error": ("pharmacist", "/a/999999"),
    "rules": ("lead", "/rules"),
    "rules-silent": ("lead", "/rules?show=silent&days=364"),
    "rule": ("lead", f"/rules/{RULE}?days=364"),
    "rule-waiting": ("lead", "/rules/vitd-ul-exceeded"),
    "batch": ("lead", "/batch"),
    "run": ("lead", "/batch/{run.id}"),
    "queue": ("pharmacist", "/queue"),
    "silences": ("lead", "/silences"),
    "silences-waiting": ("lead", "/silences?view=waiting"),
    "silences-past": ("reader", "/silences?view=past"),
    "audit": ("auditor", "/audit"),
    "audit-found": ("auditor", "/audit?actor=k-osei"),
    "handover": ("pharmacist", "/handover"),
}
SHOW_NOTHING = {"empty", "error"}


def _address(served, finished, name):
    """Who goes where; the alert is one that nobody has touched."""
    role, address = PAGES[name]
    critical = [one for one in served.alerts(indicator="critical") if one.state == "new"]
    alert = next(iter(critical), None) or served.fresh()
    return role, address.format(run=finished, alert=alert, closed=served.alerts(view="closed")[0])


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_accessible_and_fits_a_telephone(served, people, finished, look, name):
    role, address = _address(served, finished, name)
    page = become(served, people(**LOOKS[look]), role)
    assert page.goto(address).status == (404 if name == "error" else 200)
    look_over(page)


@pytest.mark.parametrize("name", PAGES.keys() - SHOW_NOTHING)
def test_every_page_of_the_demo_has_something_to_show(served, people, finished, name):
    role, address = _address(served, finished, name)
    page = become(served, people(), role)
    assert page.goto(address).status == 200
    assert page.locator("main tbody tr").count() > 0
    page.emulate_media(media="print")
    assert page.locator("header.top nav").is_hidden()
    assert page.locator("main h1, .paper thead strong").first.is_visible()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_on_a_telephone_one_decides_before_one_reads_in_depth(served, people, script):
    page = people(java_script_enabled=script, viewport={"width": 320, "height": 640})
    page.goto(f"/a/{served.fresh().id}")
    tops = [
        page.locator(one).first.bounding_box()["y"]
        for one in (".why", ".actions", "#trace", "#history")
    ]
    assert tops == sorted(tops)


def test_on_a_telephone_the_plot_opens_at_its_newest_end(served, people):
    page = people(viewport={"width": 320, "height": 640})
    page.goto(f"/p/{served.fresh().patient}")
    frame = page.locator(".plot-frame").bounding_box()
    plot = page.locator(".plot-frame svg.plot").bounding_box()
    assert plot["width"] > frame["width"], "it has to be scrolled at this width"
    assert plot["x"] + plot["width"] <= frame["x"] + frame["width"] + 1


def test_by_patient_all_tables_have_the_same_columns(served, people):
    page = people(viewport={"width": 1360, "height": 900})
    page.goto("/work?by=patient&view=open")
    rows = page.locator(".group tr[data-alert]:first-child")
    assert rows.count() > 2
    places = rows.evaluate_all(
        "all => all.map(row => [...row.children].map(one => Math.round(one.getBoundingClientRect().left)).join())"
    )
    assert len(set(places)) == 1
    assert page.locator(".c-problem").first.bounding_box()["width"] > 500


def test_on_a_telephone_filters_show_their_words(served, people):
    page = people(color_scheme="dark", viewport={"width": 320, "height": 640})
    for field in page.locator(".filter .form-select").all():
        assert field.evaluate("one => one.scrollWidth <= one.clientWidth && one.clientWidth > 200")
    ink = page.locator("#find").evaluate("one => getComputedStyle(one, '::placeholder').color")
    assert ink == page.locator(".quiet").first.evaluate("one => getComputedStyle(one).color")
