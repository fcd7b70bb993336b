"""PostgreSQL crashes under load (100 times by python -m tests.faults.database_crash --crashes 100)."""

from tests.faults import database_crash


def test_a_crash_of_postgresql_loses_nothing(tmp_path):
    found = database_crash.measure(tmp_path, 2)
    bad = ("lost", "twice", "unaudited", "faults")
    assert {name: found[name] for name in bad} == dict.fromkeys(bad, 0)
    assert found["answered"] > 100
