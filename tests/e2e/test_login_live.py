"""What htmx does on the pages, and what it refuses to do: nothing without the nonce, nothing after the session."""

from urllib.parse import parse_qs, urlsplit

from sqlalchemy import delete

from service.alerts import identity_tables
from tests.e2e.conftest import holds

MARK = "window.still = true"
STILL = "window.still === true"


def test_a_decision_on_the_list_leaves_the_page_where_it_is(served, people):
    page = people()
    page.evaluate(MARK)
    row = page.locator("tr", has=page.get_by_role("button", name="Acknowledge")).nth(3)
    number = int(row.get_attribute("data-alert"))
    row.get_by_role("button", name="Acknowledge").click()
    page.wait_for_url("**/work?done=acknowledge*")
    assert served.alert(number).state == "acknowledged"
    assert page.evaluate(STILL)
    assert parse_qs(urlsplit(page.url).query)["alert"] == [str(number)]
    page.locator(f"#a{number}.current").wait_for()
    assert "acknowledge" in page.locator("#status").inner_text()


def test_filters_change_the_list_and_the_address_and_going_back_works(served, people):
    page = people()
    page.evaluate(MARK)
    page.get_by_label("Severity").select_option("critical")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**indicator=critical*")
    page.get_by_role("link", name="By patient").click()
    page.wait_for_url("**by=patient*")
    assert page.evaluate(STILL)
    assert page.title().startswith("To do")
    assert page.evaluate("document.activeElement.id") == "main"
    page.go_back()
    page.wait_for_url("**/work?indicator=critical*")
    page.locator("table.alerts caption").wait_for(state="attached")
    page.reload()
    assert page.locator("tr.row-warning").count() == 0
    assert page.locator("tr.row-critical").count() > 0


def test_the_stream_begins_anew_with_the_list_that_it_tells_of(served, people):
    page = people()
    streams = []
    page.on(
        "request", lambda request: streams.append(request.url) if "/live" in request.url else None
    )
    served.call_hook("stream-01")
    page.locator("#fresh a").wait_for(state="visible")
    page.evaluate(MARK)
    page.get_by_role("link", name="By patient").click()
    page.wait_for_url("**by=patient*")
    page.locator("#fresh").wait_for(state="attached")
    assert not page.locator("#fresh a").is_visible()
    holds(page, "document.getElementById('fresh')._htmx?.sse")
    newest = max(served.alerts(), key=lambda one: one.id).id
    assert parse_qs(urlsplit(streams[-1]).query)["since"] == [str(newest)]
    served.call_hook("stream-02")
    page.locator("#fresh a").wait_for(state="visible")
    assert page.evaluate(STILL)


def test_an_element_that_somebody_slipped_in_makes_htmx_do_nothing(served, people):
    alert = served.fresh()
    page = people()
    asked = []
    page.on("request", lambda request: asked.append((request.method, request.url)))
    page.evaluate(
        """number => {
          for (const nonce of [null, "guessed"]) {
            const one = document.createElement("button");
            one.setAttribute("hx-post", `/a/${number}/act`);
            one.setAttribute("hx-vals", '{"action": "acknowledge", "version": "1"}');
            one.setAttribute("hx-trigger", "load, click");
            if (nonce) one.setAttribute("hx-nonce", nonce);
            document.getElementById("main").append(one);
            htmx.process(one);
            one.click();
          }
        }""",
        alert.id,
    )
    page.wait_for_timeout(300)
    assert not [one for one in asked if one[0] == "POST"]
    assert served.alert(alert.id).version == alert.version
    assert page.evaluate("document.querySelectorAll('#main > button[hx-post]').length") == 0


def test_no_script_can_turn_text_into_elements_or_code(served, browser):
    page = browser.new_page(base_url=served.base)  # one whose complaints are wanted
    page.goto("/login")
    for attempt in (
        "document.getElementById('main').innerHTML = '<b>x</b>'",
        "document.write('<b>x</b>')",
        "trustedTypes.createPolicy('mine', {})",
        "trustedTypes.createPolicy('htmx', {})",
    ):
        tried = page.evaluate(
            f"() => {{ try {{ {attempt}; return 'done'; }} catch (e) {{ return 'refused'; }} }}"
        )
        assert tried == "refused", attempt
    page.close()


def test_a_session_that_ended_takes_the_whole_page_away(served, people):
    page = people()
    table = identity_tables.session
    listening = "document.getElementById('fresh')._htmx?.sse"
    holds(page, listening)
    served.record.database.write(lambda connection: connection.execute(delete(table)))
    page.get_by_role("link", name="By patient").click()
    page.wait_for_url("**/login")
    assert page.locator("tr[data-alert]").count() == 0
    page.get_by_role("button", name="Go in as the demo pharmacist").click()
    page.wait_for_url("**/work")
    holds(page, listening)
    row = page.locator("tr", has=page.get_by_role("button", name="Acknowledge")).first
    number = int(row.get_attribute("data-alert"))
    served.record.database.write(lambda connection: connection.execute(delete(table)))
    row.get_by_role("button", name="Acknowledge").click()
    page.wait_for_url("**/login")
    assert served.alert(number).state == "new"


def test_a_page_without_a_stream_goes_away_with_its_session_and_not_before(served, people):
    page = people()
    alert, table = served.fresh(), identity_tables.session
    for path in (f"/a/{alert.id}", f"/p/{alert.patient}", "/account"):
        page.clock.install()
        page.goto(path)
        if page.url.endswith("/login"):
            page.get_by_role("button", name="Go in as the demo pharmacist").click()
            page.wait_for_url("**/work")
            page.goto(path)
        page.evaluate(MARK)
        with page.expect_response("**/awake") as asked:
            page.clock.fast_forward(31_000)
        assert asked.value.status == 204
        assert page.evaluate(STILL)
        served.record.database.write(lambda connection: connection.execute(delete(table)))
        page.clock.fast_forward(31_000)
        page.wait_for_url("**/login")
        assert str(alert.id) not in page.locator("main").inner_text()
