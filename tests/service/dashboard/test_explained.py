"""An alert explained: conditions that held, rules that almost spoke, what changed, a seal on its history, a replay."""

import json
import re
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from rules.engine import Engine
from rules.rulebook import load_rulebook
from service.alerts import models
from service.parts import Parts
from tests.service.alerts.stories import inr, mk7, recommendation, warfarin
from tests.service.dashboard.conftest import OURS, T
from tests.service.dashboard.test_triage import act

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-warfarin-new-mk7-coded.json"
_numbers = iter(range(9900, 9990))


@pytest.fixture
def reviewed_patient(site):
    """An alert of a patient whom an EHR really asked about, so that real rules spoke."""
    name = f"real-{next(_numbers)}"
    body = json.loads(EXAMPLE.read_text(encoding="utf-8").replace("ex-01", name))
    body["hookInstance"] = f"instance-{name}"
    answer = site.client.post("/cds-services/vitamin-dk-patient-view", json=body)
    assert answer.status_code == 200
    (row,) = site.wait_for(
        models.evaluation, models.evaluation.c.hook_instance == body["hookInstance"]
    )
    return next(one for one in site.alerts(patient=row.patient) if one.rule == "vka-mk7-new")


def section(page, name):
    return page[page.index(f'aria-labelledby="{name}"') :].partition("</section>")[0]


def test_every_condition_is_shown_with_what_it_matched(site, reviewed_patient):
    trace = section(site.get(f"/a/{reviewed_patient.id}").text, "trace")
    tree = trace.partition('<ol class="tree">')[2].partition("</ol>")[0]
    assert tree.count("<li") == tree.count(">holds<") == 2
    assert "does not hold" not in tree
    assert "vitamin K antagonist on the list" in tree
    assert "100 mcg a day" in tree, "the value that was matched"


def test_rules_that_almost_spoke_say_what_was_lacking(site, reviewed_patient):
    trace = section(site.get(f"/a/{reviewed_patient.id}").text, "trace")
    near = trace.partition('<ul class="near">')[2].partition("</details>")[0]
    assert near.count("does not hold") == near.count('<ul class="tree">') >= 1
    assert "vka-mk7-new" not in near
    for told in re.findall(r"<strong>([^<]*)</strong></li>", near):
        assert told.startswith(("it is", "there is one"))


def replayed(site, alert):
    """The page after its replay was asked for, once the packs are archived."""
    until = time.monotonic() + 30
    while not _archived(site) and time.monotonic() < until:
        time.sleep(0.1)
    page = site.post(f"/a/{alert.id}/replay")
    assert page.status_code == 200
    return section(page.text, "replay")


def test_a_replay_shows_both_answers_and_stays_in_the_history(site, reviewed_patient):
    told = replayed(site, reviewed_patient)
    assert "The same answer, byte for byte." in told, told
    assert "The same recommendations." in told
    event = site.record.store().events(T, reviewed_patient.id)[-1]
    assert (event["action"], event["reason"]) == ("replay", "as-recorded")
    assert site.alert(reviewed_patient.id) == reviewed_patient, "a look changes nothing"
    table = models.audit
    site.wait_for(
        table, table.c.action == "replay", table.c.object == f"alert/{reviewed_patient.id}"
    )


def test_what_the_rules_of_today_say_otherwise_is_shown_and_kept(
    site, reviewed_patient, monkeypatch
):
    other = Engine(load_rulebook(["core", "vitamin-d-status"]), "compiled")
    monkeypatch.setattr(Parts, "engine", property(lambda _: other))
    told = replayed(site, reviewed_patient)
    other.close()
    assert "The same answer, byte for byte." in told
    words = re.search(r"<li>(would no longer say: vka-mk7-new[^<]*)</li>", told)[1]
    event = site.record.store().events(T, reviewed_patient.id)[-1]
    assert (event["action"], event["reason"]) == ("replay", "as-recorded")
    assert f"today {words}" in event["note"]
    history = section(site.get(f"/a/{reviewed_patient.id}").text, "history")
    assert f"today {words}" in history


def _archived(site):
    with site.record.database.reading() as connection:
        return connection.execute(select(models.pack_archive.c.digest)).all()


def test_a_replay_that_cannot_be_says_why(site, alert):
    page = site.post(f"/a/{alert.id}/replay")
    assert page.status_code == 200
    assert "Not possible" in section(page.text, "replay")
    assert site.record.store().events(T, alert.id)[-1]["reason"] == "not-possible"


def test_a_replay_needs_a_form_of_ours(site, alert):
    assert (
        site.client.post(
            f"/a/{alert.id}/replay", data={"form_token": "x"}, headers=OURS
        ).status_code
        == 403
    )


def marks(page):
    rows = section(page, "history").partition("<tbody>")[2].split("<tr>")[1:]
    return ["verified" in row for row in rows]


def test_the_history_is_sealed_and_a_touched_line_loses_its_mark(site, alert):
    act(site, alert, "claim")
    act(site, site.alert(alert.id), "resolve", reason="dose-changed")
    assert marks(site.get(f"/a/{alert.id}").text) == [True, True, True]
    with site.record.database.writing() as connection:
        table = models.audit
        connection.exec_driver_sql("DROP TRIGGER IF EXISTS audit_stays")
        names = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'"
        ).all()
        for name, _ in names:
            connection.exec_driver_sql(f'DROP TRIGGER "{name}"')
        touched = (table.c.object == f"alert/{alert.id}") & (table.c.action == "claim")
        connection.execute(table.update().where(touched).values(reason="something else"))
        for _, sql in names:
            connection.exec_driver_sql(sql)
    assert marks(site.get(f"/a/{alert.id}").text) == [True, False, True]
    with site.record.database.writing() as connection:
        for name, _ in names:
            connection.exec_driver_sql(f'DROP TRIGGER "{name}"')
        connection.execute(table.update().where(touched).values(reason=""))
        for _, sql in names:
            connection.exec_driver_sql(sql)
    assert marks(site.get(f"/a/{alert.id}").text) == [True, True, True]


def test_what_came_back_shows_how_its_evidence_differs(site):
    number = next(_numbers)
    name = f"back-{number}"
    then = (mk7(45.0), warfarin(), inr(2.4, ref="Observation/then"))
    site.see(number, recommendation(because=then), patient=name, uses=then[:2], labs=then[2:])
    row = max(site.alerts(size=200), key=lambda one: one.id)
    assert 'aria-labelledby="changed"' not in site.get(f"/a/{row.id}").text
    act(site, row, "resolve", reason="dose-changed")
    now = (mk7(90.0), warfarin(), inr(1.6, ref="Observation/now"))
    from tests.service.alerts.stories import RULES, call, reviewed

    made = call(number + 5000, tenant=T, patient=name, minutes=90)
    site.record.record(
        made, reviewed(recommendation(because=now), uses=now[:2], labs=now[2:]), may_speak=RULES
    )
    site.wait_for(models.evaluation, models.evaluation.c.id == made.id)
    again = max(site.alerts(size=200), key=lambda one: one.id)
    assert (again.course, again.episode) == ("recurred", 2)
    told = section(site.get(f"/a/{again.id}").text, "changed")
    before, after = told.partition("<td>")[2].split("</td>")[:2]
    assert "2.4" in before
    assert "45 mcg" in before
    assert "1.6" in after
    assert "90 mcg" in after
    assert "warfarin" not in told, "what stayed is not repeated"
    with site.record.database.writing() as connection:
        connection.execute(
            models.evaluation.update()
            .where(models.evaluation.c.id == row.evaluation)
            .values(evidence="")
        )
    page = site.get(f"/a/{again.id}")
    assert page.status_code == 200, "what it rested on before is not kept any more"
    assert 'aria-labelledby="changed"' not in page.text


def test_how_people_decided_before_is_counted_and_the_system_is_not(site, alert):
    act(site, alert, "override", reason="will-monitor")
    number = next(_numbers)
    site.see(number, recommendation(), patient=f"other-{number}")
    other = max(site.alerts(size=200), key=lambda one: one.id)
    page = site.get(f"/a/{other.id}").text
    box = page[page.index("Decided before") :].partition("</section>")[0]
    assert "Will monitor closely" in box


def test_what_gave_way_is_named_where_it_is_hidden(site):
    number = next(_numbers)
    name = f"way-{number}"
    both = (recommendation(), recommendation(rule="vka-inr-high", about=""))
    site.see(number, *both, patient=name)
    from tests.service.alerts.stories import ABOUT, RULE, RULES, call, reviewed

    made = call(number + 6000, tenant=T, patient=name, minutes=60)
    later = reviewed(
        recommendation(rule="vka-inr-high", about=""), superseded=((RULE, ABOUT, "vka-inr-high"),)
    )
    site.record.record(made, later, may_speak=RULES)
    site.wait_for(models.evaluation, models.evaluation.c.id == made.id)
    stronger = max(
        (row for row in site.alerts(size=200) if row.rule == "vka-inr-high"), key=lambda row: row.id
    )
    assert "1 hidden by this" in site.get(f"/a/{stronger.id}").text
