"""Five thousand mutated requests; a million by command (python -m tests.faults.fuzz --requests 1000000)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import fuzz

ROOT = Path(__file__).parents[2]
_SUGGESTED = [{"resource": {"subject": {"reference": "Patient/other"}}}]
FOR_ANOTHER = json.dumps({"cards": [{"suggestions": [{"actions": _SUGGESTED}]}]}).encode()


@pytest.mark.parametrize(
    ("count", "options"),
    [
        (5_000, []),
        (1_000, ["--engine", "compiled", "--seed", "2"]),
        (500, ["--record", "--seed", "3"]),
    ],
    ids=["durable", "compiled", "with a record"],
)
def test_no_mutated_request_breaks_the_service_or_speaks_of_somebody_else(count, options):
    """In a process of its own, since what ends it would end this one."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.fuzz", "--requests", str(count), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    told = json.loads(done.stdout.splitlines()[0])
    assert (done.returncode, told["faults"]) == (0, []), done.stdout + done.stderr
    assert sum(told["statuses"].values()) == count
    assert told["statuses"]["200"] > count / 3, (
        "too many are refused at the door to reach the rules"
    )
    assert told["controls"] >= count // fuzz.CONTROL_EVERY


def test_the_same_number_gives_the_same_request():
    bodies = fuzz.good_bodies()
    made = [fuzz.request_of(7, number, bodies) for number in range(50)]
    assert made == [fuzz.request_of(7, number, bodies) for number in range(50)]
    assert len({raw for _, _, raw, _ in made}) > 45


@pytest.mark.parametrize(
    ("answer", "status", "complaint"),
    [
        (b"{}", 503, "status 503"),
        (b'{"cards": [], "extension": "Strangerol"}', 200, "another patient"),
        (FOR_ANOTHER, 200, "for another patient"),
    ],
)
def test_what_is_wrong_is_noticed(answer, status, complaint):
    raw = b'{"context": {"patientId": "ex-01"}}'
    with pytest.raises(fuzz.Fault, match=complaint):
        fuzz.check("/cds-services/vitamin-dk-patient-view", raw, True, status, answer)
