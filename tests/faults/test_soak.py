"""A few seconds of a steady rate; half an hour by command (python -m benchmarks.soak --minutes 30)."""

import pytest

from benchmarks import soak

GOOD = {"statuses": {"200": 100}, "broken": 0, "rss_growth": 0.01, "descriptors": [30, 31], "processes_replaced": 0}  # fmt: skip


def test_a_steady_rate_is_answered_without_faults_or_new_descriptors():
    found = soak.soak(0.2, 40)
    assert found["calls"] > 100
    # memory is no matter of a few seconds: caches are still being filled
    assert soak.verdict(found | {"rss_growth": 0}) == []
    assert found["exit"] == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"statuses": {"200": 99, "503": 1}}, "5xx"),
        ({"broken": 1}, "not answered"),
        ({"rss_growth": 0.06}, "memory"),
        ({"descriptors": [30, 36]}, "descriptors"),
        ({"processes_replaced": 1}, "replaced"),
    ],
)
def test_each_broken_promise_is_named(change, complaint):
    assert soak.verdict(GOOD) == []
    assert complaint in soak.verdict(GOOD | change)[0]
