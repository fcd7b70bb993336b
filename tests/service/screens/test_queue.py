"""What could not be evaluated: counted by reason, told with what to do, for patients on an antagonist above all."""

from datetime import timedelta

from rules.assessment import Gap
from service.alerts import models
from service.alerts.past_answers import micros
from service.alerts.unread import endings, open_by_code
from service.dashboard.queue_page import advice_for
from tests.service.alerts.stories import RULES, call, recommendation, reviewed
from tests.service.dashboard.conftest import NOON, T


def gap(code="medication-not-recognised", source="MedicationStatement/k"):
    return Gap(source=source, code=code, says="Only in words that are <i>not</i> recognised.")


def missing(site, number, patient, **more):
    """A review in which something could not be read that might have mattered."""
    one, made = gap(**more), call(number, tenant=T, patient=patient)
    site.record.record(made, reviewed(gaps=(one,)), gap_cards=(one,), may_speak=RULES)
    site.wait_for(models.evaluation, models.evaluation.c.id == made.id)


def test_the_queue_says_what_is_missing_for_whom_and_what_to_do(site):
    missing(site, 1, "pt-a")
    missing(site, 2, "pt-b", code="not-read", source="medication-statements")
    site.see(3, recommendation(), patient="pt-c")
    site.see(4, patient="pt-d", failures=("vka-mk7-new",))
    page = site.get("/queue").text
    rows = page.split("<tbody>")[1]
    for words in ("pt-a", "pt-b", "pt-d", "MedicationStatement/k", "takes warfarin", "Ask the patient or the ward", "A rule broke"):  # fmt: skip
        assert words in rows
    assert "pt-c" not in rows
    assert "&lt;i&gt;not&lt;/i&gt;" in rows
    assert "<strong>3</strong> wait for somebody" in page
    only = site.get("/queue?code=not-read").text.split("<tbody>")[1]
    assert "pt-b" in only
    assert "pt-a" not in only


def test_an_empty_queue_says_what_that_means(site):
    before = site.get("/queue").text
    assert "No patient has been reviewed here yet" in before
    assert "what mattered could be read" not in before
    assert "No patient has been reviewed here yet" in site.get("/work").text
    site.see(1, patient="a")
    assert "what mattered could be read" in site.get("/queue").text
    assert "Newest review 2026-11-22 12:00 UTC" in site.get("/work").text
    site.now = NOON + timedelta(hours=25)
    site.sign_in("lead")
    for path in ("/queue", "/work"):
        quiet = site.get(path).text
        assert "No patient has been reviewed for 25 h, since 2026-11-22 12:00 UTC" in quiet
        assert "what mattered could be read" not in quiet
    site.now = NOON
    site.sign_in("lead")
    assert site.get("/queue?code=nonsense").status_code == 200


def test_reviews_are_counted_by_how_they_ended(site):
    site.see(1, patient="a")
    site.see(2, patient="b", gaps=(gap(),))
    missing(site, 3, "c")
    site.record.record_failure(call(9, tenant=T, patient="d"), "engine-fault")
    site.see(5, tenant="mercy", patient="theirs")
    site.wait_for(models.evaluation, models.evaluation.c.outcome == "failed")
    told = endings(site.record.database, T, micros(NOON - timedelta(days=1)))
    assert (told.complete, told.with_gaps, told.incomplete, told.failed) == (1, 1, 1, 1)
    assert told.total == 4
    assert endings(site.record.database, T, micros(NOON + timedelta(days=1))).total == 0
    assert open_by_code(site.record.database, T) == {"engine-fault": 1, "medication-not-recognised": 1}  # fmt: skip


def test_it_is_paged(site):
    for number in range(27):
        missing(site, number, f"pt-{number}")
    first = site.get("/queue").text
    assert first.count('scope="row"') == 25
    more = first.split('href="/queue?after=')[1].split('"')[0]
    assert site.get(f"/queue?after={more}").text.count('scope="row"') == 2


def test_every_code_has_words():
    assert advice_for("rule-failure:x").title == "A rule broke"
    assert advice_for("a-code-of-tomorrow") == advice_for("other")
    assert len({advice_for(code).todo for code in ("not-read", "engine-fault", "other")}) >= 2


def test_those_who_see_no_patients_see_no_queue(site):
    for role in ("auditor", "admin"):
        assert site.sign_in(role).get("/queue").status_code == 403
