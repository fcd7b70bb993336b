"""Silences: asked with a reason, ended by themselves, never for criticals by one person, and never in the record."""

import json
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from rules.errors import RequestError, Unavailable
from service import audit
from service.alerts import models
from service.alerts.past_answers import micros
from service.alerts.screen_tables import silence
from service.alerts.silences import Limits, Wish, ask, covering, decide, lift
from service.silence_board import SilenceBoard, held_back
from tests.service.alerts.stories import call, recommendation, reviewed
from tests.service.dashboard.conftest import NOON, T
from tests.service.screens.test_rules import second_lead

RULE = "vka-k-ongoing-unmonitored"
EXAMPLE = Path(__file__).parents[3] / "examples" / "01-warfarin-new-mk7-coded.json"
WEEK = timedelta(days=7)


def wish(site, **more):
    given = {"tenant": T, "actor": "user/ann", "at": site.now, "until": site.now + WEEK, "reason": "local-protocol", **more}  # fmt: skip
    return ask(site.record.database, site.record.keyring, Wish(**given), Limits())


def board(site, memory=None):
    return SilenceBoard(lambda: site.record.database, memory)


def todo(site):
    return {row.id for row in site.record.store().page(_filter("todo"), site.now).rows}


def _filter(view):
    from service.alerts.worklist import Filter

    return Filter(tenant=T, view=view)


def test_a_silence_is_in_force_at_once_for_its_rule_its_patient_and_its_client(site):
    wish(site, rule=RULE, patient="key-1")
    held = board(site)
    assert [one.rule for one in held.of(T, lambda: "key-1", NOON)] == [RULE]
    assert held.of(T, lambda: "key-2", NOON) == ()
    assert held.of("mercy", lambda: "key-1", NOON) == ()
    silences = held.of(T, lambda: "key-1", NOON)
    made = (recommendation(), recommendation(rule="vka-inr-high"), recommendation(indicator="critical", about="x"))  # fmt: skip
    assert list(held_back(silences, made)) == [(RULE, "vitamin-k2-mk7")]


def test_it_ends_by_itself_on_every_side(site):
    wish(site, rule=RULE)
    site.see(1, recommendation())
    assert todo(site) == set()
    end = NOON + WEEK
    assert board(site).of(T, lambda: "k", end - timedelta(seconds=1))
    assert board(site).of(T, lambda: "k", end) == ()
    site.now = end
    assert len(todo(site)) == 1


def test_critical_alerts_need_a_second_person(site):
    number = wish(site, rule=RULE, covers_critical=True)
    assert board(site).of(T, lambda: "k", NOON) == ()
    given = {"tenant": T, "number": number, "at": NOON}
    with pytest.raises(RequestError, match="second person"):
        decide(site.record.database, site.record.keyring, approve=True, actor="user/ann", **given)
    with pytest.raises(RequestError, match="no such"):
        decide(site.record.database, site.record.keyring, approve=True, actor="user/bob", **{**given, "tenant": "mercy"})  # fmt: skip
    decide(site.record.database, site.record.keyring, approve=True, actor="user/bob", **given)
    (one,) = board(site).of(T, lambda: "k", NOON)
    assert one.holds_back(recommendation(indicator="critical"))
    with pytest.raises(RequestError, match="does not wait"):
        decide(site.record.database, site.record.keyring, approve=False, actor="user/bob", **given)
    lift(site.record.database, site.record.keyring, tenant=T, number=number, actor="user/ann", at=NOON)  # fmt: skip
    assert board(site).of(T, lambda: "k", NOON) == ()
    with site.record.database.reading() as connection:
        assert audit.verify(connection, site.record.keyring) == []
        actions = connection.scalars(
            select(models.audit.c.action)
            .where(models.audit.c.object == f"silence/{number}")
            .order_by(models.audit.c.seq)
        ).all()
    assert actions == ["silence-asked", "silence-in-force", "silence-lifted"]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"rule": RULE, "reason": ""},
        {"rule": RULE, "until": NOON},
        {"rule": RULE, "until": NOON + timedelta(days=91)},
        {"rule": RULE, "covers_critical": True, "until": NOON + timedelta(days=8)},
    ],
)
def test_what_is_too_long_too_wide_or_without_reason_is_refused(site, wrong):
    with pytest.raises(RequestError):
        wish(site, **wrong)
    assert board(site).of(T, lambda: "k", NOON) == ()


def test_the_worklist_hides_what_is_silenced_in_its_opening_view_only(site):
    site.see(1, recommendation(), recommendation(rule="vka-inr-high", indicator="critical"))
    site.see(2, recommendation(), patient="p2")
    site.record.record_failure(call(7, tenant=T, patient="p3"), "engine-fault")
    site.wait_for(models.alert, models.alert.c.kind == "not-evaluated")
    everything = todo(site)
    assert len(everything) == 4
    wish(site, patient=site.alerts(rule="vka-inr-high")[0].patient)
    shown = site.record.store().page(_filter("todo"), site.now).rows
    assert {(row.rule, row.indicator) for row in shown} == {
        ("vka-inr-high", "critical"),
        (RULE, "warning"),
        ("could-not-evaluate", "warning"),
    }
    wish(site, rule=RULE)
    wish(site, rule="could-not-evaluate")
    assert len(todo(site)) == 2
    assert len(site.record.store().page(_filter("all-open"), site.now).rows) == 4
    with site.record.database.reading() as connection:
        hidden = site.alerts(rule=RULE)[0]
        assert covering(connection, hidden, micros(site.now)).rule in {RULE, ""}
        assert covering(connection, site.alerts(rule="vka-inr-high")[0], micros(site.now)) is None
    assert "silenced until" in site.get(f"/a/{hidden.id}").text
    assert "silenced until" not in site.get(f"/a/{site.alerts(rule='vka-inr-high')[0].id}").text


def test_what_was_held_back_is_counted_and_stands_in_the_trail(site):
    number = wish(site, rule=RULE)
    made = call(3, tenant=T, silenced=((RULE, "vitamin-k2-mk7", number),))
    site.record.record(made, reviewed(recommendation(), recommendation(rule="vka-inr-high")))
    site.wait_for(models.evaluation, models.evaluation.c.id == made.id)
    with site.record.database.reading() as connection:
        row = connection.execute(select(silence)).one()
        line = connection.scalars(
            select(models.audit.c.after).where(models.audit.c.object == f"evaluation/{made.id}")
        ).one()
    assert row.times == 1
    assert f"{RULE}@2026.11.1:silenced" in line
    assert "vka-inr-high@2026.11.1:live" in line
    assert len(site.alerts()) == 2


def test_a_board_without_store_keeps_what_it_knew_and_without_memory_silences_nothing(
    site, tmp_path
):
    wish(site, rule=RULE)
    memory = tmp_path / "silences.json"
    assert board(site, memory).of(T, lambda: "k", NOON)

    def down():
        raise Unavailable("the store does not answer")

    assert SilenceBoard(down, memory).of(T, lambda: "k", NOON)
    assert SilenceBoard(down, memory).of(T, lambda: "k", NOON + WEEK) == ()
    memory.write_text("{broken")
    assert SilenceBoard(down, memory).of(T, lambda: "k", NOON) == ()


def test_a_worker_that_was_idle_holds_nothing_back_before_it_has_asked_again(site):
    """Somebody may have lifted the silence meanwhile, and the first call after the pause must not hide a card."""
    wish(site, rule=RULE, patient="k")
    held = board(site)
    held._asked = held._renewed = held._renewed - 61
    assert held.of(T, lambda: "k", NOON) == ()
    for thread in threading.enumerate():
        if thread.name == "silence-board":
            thread.join(timeout=30)
    assert held.of(T, lambda: "k", NOON)


def _hook(site, patient):
    body = json.loads(EXAMPLE.read_text(encoding="utf-8").replace("ex-01", patient))
    answer = site.client.post("/cds-services/vitamin-dk-patient-view", json=body).json()
    spoken = {
        rule["rule"]: rule["indicator"] for rule in answer["extension"]["org.dekacard.review"]["rules"]
    }  # fmt: skip
    topics = [card["source"]["topic"]["display"] for card in answer["cards"]]
    return spoken, topics, answer["extension"]["org.dekacard.review"].get("suppressed", [])


def test_a_hook_leaves_the_card_out_says_so_and_records_it(site):
    spoken, topics, _ = _hook(site, "hook-1")
    rule = next(name for name, indicator in spoken.items() if indicator != "critical")
    assert any(rule in words for words in topics)
    site.wait_for(models.alert)
    answer = site.post("/silences", rule=rule, patient="hook-1", reason="local-protocol", until="2026-11-29", note="Dr <i>X</i>")  # fmt: skip
    assert answer.headers["location"] == "/silences?view=now&done=made"
    spoken, topics, suppressed = _hook(site, "hook-1")
    assert rule in spoken
    assert not any(rule in words for words in topics)
    assert {"rule": rule, "reason": "silenced until 2026-11-29"} in suppressed
    _, others, silent = _hook(site, "hook-2")
    assert any(rule in words for words in others)
    assert silent == []
    until = time.monotonic() + 20
    while time.monotonic() < until:
        page = site.get("/silences").text
        if "hook-1" in page and '<td class="num">1<' in page:
            break
        time.sleep(0.05)
    assert '<td class="num">1<' in page
    assert "Dr &lt;i&gt;X&lt;/i&gt;" in page
    with site.record.database.reading() as connection:
        row = connection.execute(select(silence)).one()
    assert row.patient != "hook-1"
    assert row.note is not None


def test_the_page_asks_approves_refuses_and_lifts(site):
    assert "Nothing is silenced" in site.get("/silences").text
    for wrong in (
        {"rule": "nonsense", "reason": "local-protocol", "until": "2026-11-29"},
        {"patient": "nobody", "reason": "local-protocol", "until": "2026-11-29"},
        {"rule": RULE, "reason": "because", "until": "2026-11-29"},
        {"rule": RULE, "reason": "local-protocol", "until": "soon"},
        {"rule": RULE, "reason": "local-protocol", "until": "2027-11-29"},
        {"rule": RULE, "reason": "local-protocol", "until": "2026-11-29", "note": "x" * 501},
    ):
        assert site.post("/silences", **wrong).status_code == 422
    asked = site.post("/silences", rule=RULE, reason="goals-of-care", until="2026-11-27", critical="yes")  # fmt: skip
    assert asked.headers["location"].endswith("done=asked")
    assert site.post("/silences/1", action="approve").status_code == 403
    assert site.post("/silences/1", action="sing").status_code == 422
    second_lead(site)
    assert "Approve" in site.get("/silences?view=waiting").text
    assert site.post("/silences/1", action="approve").status_code == 303
    assert "critical as well" in site.get("/silences").text
    assert site.post("/silences/1", action="lift").status_code == 303
    assert "lifted by lead-two" in site.get("/silences?view=past").text
    assert site.post("/silences/1", action="lift").status_code == 422
    assert site.post("/silences/99", action="lift").status_code == 404


def test_pharmacists_see_silences_and_make_none(site):
    wish(site, rule=RULE)
    site.sign_in("pharmacist")
    page = site.get("/silences").text
    assert "A local protocol covers this" in page
    assert "<button" not in page.split("<main")[1].split("</main>")[0]
    assert site.post("/silences", rule=RULE, reason="local-protocol", until="2026-11-29").status_code == 403  # fmt: skip
    assert site.post("/silences/1", action="lift").status_code == 403


def test_silences_are_paged_by_number(site):
    for _ in range(52):
        wish(site, rule=RULE)
    first = site.get("/silences").text
    assert first.count('value="lift"') == 50
    more = first.split("after=")[1].split('"')[0]
    assert site.get(f"/silences?view=now&after={more}").text.count('value="lift"') == 2
