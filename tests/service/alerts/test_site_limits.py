"""What a site sets for its record arrives where it counts."""

from datetime import timedelta

import pytest

from service.alerts.receivers import ReceiversRefused, read_receivers
from service.bootstrap import record_options
from service.settings import Settings, SettingsRefused

GOOD = """
- {name: pager, client: st-elsewhere, url: "https://pager.example.org/in", secret: "sixteen-or-longer", after_minutes: 5.0}
- {name: pager, client: north, url: "http://127.0.0.1:9/in", secret: "sixteen-or-longer"}
"""


def test_settings_become_the_limits_of_the_record(tmp_path):
    file = tmp_path / "receivers.yaml"
    file.write_text(GOOD)
    made = record_options(
        Settings(
            store_url="sqlite:///x.db", receivers=file, quiet_days=11, draft_days=3, snooze_critical_hours=2,
            snooze_warning_days=4, snooze_info_days=5, keep_evidence_days=31, keep_cards_days=32, keep_answers_days=33,
            keep_alerts_days=34, keep_audit_days=35, keep_rejects_days=36,
        )
    )  # fmt: skip
    assert (made.quiet_days, made.draft_days) == (11, 3)
    assert (made.snooze.critical, made.snooze.warning, made.snooze.info) == (
        timedelta(hours=2), timedelta(days=4), timedelta(days=5),
    )  # fmt: skip
    kept = made.retention
    days = [kept.evidence, kept.cards, kept.answers, kept.alerts, kept.audit, kept.rejects]
    assert [one.days for one in days] == [31, 32, 33, 34, 35, 36]
    first, second = made.receivers
    assert (first.tenant, first.after_minutes, second.after_minutes) == ("st-elsewhere", 5.0, 15.0)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("https://pager.example.org/in", "http://pager.example.org/in", "https"),
        ("sixteen-or-longer", "short", "16"),
        ("client: north", "client: st-elsewhere", "two receivers"),
        ("name: pager", "nmae: pager", "nmae"),
    ],
)
def test_a_file_of_receivers_that_cannot_be_meant_is_refused(tmp_path, old, new, says):
    file = tmp_path / "receivers.yaml"
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ReceiversRefused, match=says) as told:
        read_receivers(file)
    assert "sixteen-or-longer" not in str(told.value)
    file.unlink()
    with pytest.raises(ReceiversRefused):
        record_options(Settings(receivers=file))


def test_no_site_may_put_a_critical_alert_off_for_longer_than_a_day():
    with pytest.raises(SettingsRefused, match="SNOOZE_CRITICAL_HOURS"):
        Settings.read({}, snooze_critical_hours=25)
