"""The audit page: found by who, what, when and patient; checked; exported harmlessly; for auditors only."""

import csv
import io
import time
from datetime import timedelta

import pytest
from sqlalchemy import text

from service import audit
from service.alerts.audit_search import Wanted, lines
from service.alerts.past_answers import micros
from service.alerts.values import AuditEntry
from tests.service.alerts.stories import recommendation
from tests.service.dashboard.conftest import NOON, T


def write(site, *entries, tenant=T):
    with site.record.database.writing() as connection:
        for place, given in enumerate(entries):
            entry = {"tenant": tenant, "at": NOON - timedelta(hours=place), "actor": "user/ann", "action": "view", **given}  # fmt: skip
            audit.append(connection, site.record.keyring, AuditEntry(**entry))


def found(site, **wanted):
    return [row.object for row in lines(site.record.database, Wanted(tenant=T, **wanted))]


def test_lines_are_found_by_each_field_alone_and_together(site):
    write(
        site,
        {"object": "alert/1", "patient": "key-1"},
        {"object": "alert/12", "actor": "user/bob"},
        {"object": "rule/x", "action": "mode-made", "outcome": "refused"},
        {"object": "alert/%", "at": NOON - timedelta(days=9)},
    )
    write(site, {"object": "alert/theirs", "patient": "key-1"}, tenant="mercy")
    assert found(site, about="alert/1") == ["alert/12", "alert/1"]
    assert found(site, about="alert/%") == ["alert/%"]
    assert found(site, actor="user/bob") == ["alert/12"]
    assert found(site, action="mode-made") == ["rule/x"]
    assert found(site, outcome="refused") == ["rule/x"]
    assert found(site, patient="key-1") == ["alert/1"]
    assert found(site, patient="key-1", actor="user/bob") == []
    assert found(site, until=micros(NOON - timedelta(days=1))) == ["alert/%"]
    assert "alert/%" not in found(site, since=micros(NOON - timedelta(days=1)), about="alert")


def test_pages_follow_each_other_without_a_line_twice_or_lost(site):
    write(site, *({"object": f"thing/{number}"} for number in range(130)))
    site.sign_in("auditor")
    seen, address = [], "/audit?about=thing"
    while address:
        page = site.get(address).text
        rows = page.split("<tbody>")[1].split("</tbody>")[0]
        seen += [part.split("<")[0] for part in rows.split("thing/")[1:]]
        address = page.split('href="/audit?')[-1].split('"')[0].replace("&amp;", "&") if "Next 50" in page else ""  # fmt: skip
        address = f"/audit?{address}" if address else ""
    assert seen == [str(number) for number in reversed(range(130))]


def test_a_reference_of_a_patient_never_stands_in_an_address(site):
    site.see(1, recommendation(), patient="mrs-smith")
    site.sign_in("auditor")
    answer = site.post("/audit", reference="Patient/mrs-smith", action="review")
    address = answer.headers["location"]
    assert "smith" not in address
    page = site.get(address).text
    assert "1 lines" not in page
    assert page.count('<td class="num">') == 1
    assert "evaluation/" in page
    assert site.get("/audit?reference=mrs-smith").text.count('<td class="num">') > 1


def test_the_check_says_whole_or_names_the_line(site):
    write(site, *({"object": f"thing/{number}"} for number in range(5)))
    write(site, {"object": "theirs"}, tenant="mercy")
    site.sign_in("auditor")
    assert "The trail is whole" in site.post("/audit/verify").text
    with site.record.database.writing() as connection:
        trigger = "DROP TRIGGER audit_no_update" + ("" if site.record.database.is_sqlite else " ON audit")  # fmt: skip
        connection.execute(text(trigger))
        connection.execute(
            text("UPDATE audit SET actor = 'user/eve' WHERE tenant = 'mercy' AND seq = 1")
        )
    assert "The trail is whole" in site.post("/audit/verify").text
    with site.record.database.writing() as connection:
        connection.execute(
            text("UPDATE audit SET actor = 'user/eve' WHERE object = 'thing/2'")
        )  # the database's owner can do this; the key is not in the database
        (seq,) = connection.scalars(text("SELECT seq FROM audit WHERE object = 'thing/2'")).all()
    page = site.post("/audit/verify").text
    assert "not what was written" in page
    assert f"line {seq}: was altered" in page


def test_the_export_is_harmless_in_a_spreadsheet_and_is_itself_a_line(site):
    write(site, {"object": "=cmd|' /C calc'!A0", "reason": "@SUM(1)", "before": "\uff1d1+1"})
    site.sign_in("auditor")
    answer = site.get("/audit/lines.csv?actor=ann")
    assert "attachment" in answer.headers["content-disposition"]
    (head, row) = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert head[:4] == ["number", "at", "actor", "action"]
    assert not any(cell.startswith(("=", "@", "+", "-", "\uff1d")) for cell in row)
    assert "=cmd" in row[4]
    assert _comes(site, action="export") == ["audit/1 lines"]


def _comes(site, **wanted):
    until = time.monotonic() + 20
    while not (rows := found(site, **wanted)) and time.monotonic() < until:
        time.sleep(0.05)
    return rows


@pytest.mark.parametrize("role", ["reader", "pharmacist", "lead", "admin"])
def test_nobody_else_sees_the_trail(site, role):
    site.sign_in(role)
    assert site.get("/audit").status_code == 403
    assert site.get("/audit/lines.csv").status_code == 403
    assert site.post("/audit", actor="x").status_code == 403
    assert site.post("/audit/verify").status_code == 403
    assert "/audit" not in site.get("/rules").text


def test_hostile_text_and_nonsense_in_a_search_do_no_harm(site):
    write(site, {"object": "<script>alert(1)</script>", "actor": "user/<b>"})
    site.sign_in("auditor")
    page = site.get("/audit?about=%3Cscript%3E").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert site.get("/audit?since=soon").status_code == 422
    assert site.get("/audit?before=%F0%9F%92%A9").status_code == 200
    assert site.get(f"/audit?before={'9' * 400}").status_code == 200
