"""Of a record in several versions the latest counts, whatever it says, wherever it stands: as when all is parsed."""

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.batch.run import Run
from tests.service.batch.people import (
    RXNORM,
    WARFARIN,
    bundle,
    coded,
    lab,
    of_each_type,
    patient,
    request,
    statement,
)
from tests.service.batch.test_review import options, results, rows

AMLODIPINE = coded(RXNORM, "197361", "Amlodipine 5 MG Oral Tablet")
SAID = ["DetectedIssue.ndjson", "recommendations.csv"]


def at(resource, day, number="1"):
    """The resource as it was updated on a day of 2026."""
    return resource | {"meta": {"lastUpdated": f"2026-11-{day:02}T08:00:00Z", "versionId": number}}


def person(key):
    k2 = statement(key, None, 9, words="Vitamin K2 MK-7 100 mcg daily", start="2026-11-10")
    return [patient(key), *of_each_type(key), k2]


def write(folder, *parts, plain=True):
    """Each part is a list of resources; each becomes a file of its type, so that versions lie apart."""
    folder.mkdir(parents=True)
    for number, part in enumerate(parts):
        for one in part:
            line = json.dumps(one, separators=(",", ":") if plain else None)
            with (folder / f"{one['resourceType']}.{number:03}.ndjson").open("a") as file:
                file.write(line + "\n")
    return folder


def review(folder, out, **given):
    return Run(out).review([folder], options(**given)).told


def on_warfarin(out):
    return {row["patient"] for row in rows(out) if row["rule"].startswith("vka-")}


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_a_later_version_of_no_concern_ends_the_earlier_one(tmp_path, first, plain):
    """The order was corrected: it had been entered as warfarin."""
    old, new = at(request("ada", WARFARIN, 1), 1), at(request("ada", AMLODIPINE, 1), 2, "2")
    parts = [[*person("ada"), old], [new]]
    others = [at(request(f"p{one}", AMLODIPINE, 1), 3) for one in range(9)]
    parts[1] = [*others, *parts[1], *others]
    folder = write(tmp_path / "in", *(parts if first else parts[::-1]), plain=plain)
    told = review(folder, tmp_path / "out")
    assert told["outdated"] == 1
    assert on_warfarin(tmp_path / "out") == set()


def test_an_earlier_version_of_no_concern_ends_nothing(tmp_path):
    old, new = at(request("ada", AMLODIPINE, 1), 1), at(request("ada", WARFARIN, 1), 2, "2")
    told = review(write(tmp_path / "in", [*person("ada"), old], [new]), tmp_path / "out")
    assert told["outdated"] == 0
    assert on_warfarin(tmp_path / "out") == {"ada"}


def test_later_versions_of_other_records_end_nothing(tmp_path):
    own = at(request("ada", WARFARIN, 1), 1)
    others = [at(request(f"p{one}", AMLODIPINE, 1), 3) for one in range(9)]
    told = review(write(tmp_path / "in", [*person("ada"), own], others), tmp_path / "out")
    assert told["outdated"] == 0
    assert on_warfarin(tmp_path / "out") == {"ada"}


def test_moments_in_two_zones_are_compared_as_moments(tmp_path):
    old, new = request("ada", WARFARIN, 1), request("ada", AMLODIPINE, 1)
    old["meta"] = {"lastUpdated": "2026-11-02T01:00:00+09:00"}  # the first of November in UTC
    new["meta"] = {"lastUpdated": "2026-11-01T23:00:00Z"}
    review(write(tmp_path / "in", [*person("ada"), old], [new]), tmp_path / "out")
    assert on_warfarin(tmp_path / "out") == set()


def test_a_record_that_was_moved_to_another_patient_counts_there_only(tmp_path):
    old, new = at(request("ada", WARFARIN, 1), 1), at(request("ada", WARFARIN, 1), 2)
    new["subject"] = {"reference": "Patient/ben"}
    folder = write(tmp_path / "in", [*person("ada"), *person("ben"), old], [new])
    told = review(folder, tmp_path / "out")
    assert told["outdated"] == 1
    assert on_warfarin(tmp_path / "out") == {"ben"}


def test_without_a_stated_version_nobody_loses_a_record(tmp_path):
    """Two patients whose servers gave one id to two records."""
    one, two = request("ada", WARFARIN, 1), request("ada", WARFARIN, 1)
    two["subject"] = {"reference": "Patient/ben"}
    told = review(
        write(tmp_path / "in", [*person("ada"), *person("ben"), one], [two]), tmp_path / "out"
    )
    assert told["outdated"] == 0
    assert on_warfarin(tmp_path / "out") == {"ada", "ben"}


def spelt(resource, rng):
    """The same JSON, written in another way."""
    line = json.dumps(dict(rng.sample(list(resource.items()), len(resource))))
    if rng.random() < 0.3:
        line = line.replace('"id"', '"\\u0069d"').replace("Observation/", "Observation\\/")
    if rng.random() < 0.3:
        line = line.replace(f'"{resource["id"]}"', f'"\\u{ord(resource["id"][0]):04x}{resource["id"][1:]}"')  # fmt: skip
    return line


VERSIONS = st.lists(
    st.tuples(
        st.sampled_from(["drug", "result"]),
        st.integers(1, 3),  # which record
        st.integers(1, 20),  # updated on
        st.sampled_from(["relevant", "dull", "withdrawn"]),
    ),
    max_size=12,
    unique_by=lambda one: (one[0], one[1], one[2]),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(VERSIONS, st.integers(0, 1_000_000))
def test_lines_say_what_a_bundle_of_everything_says(tmp_path_factory, versions, seed):
    """A Bundle is parsed as a whole, so it knows all versions; lines are sifted, each by itself."""
    rng = random.Random(seed)
    changing = []
    for kind, record, day, state in versions:
        if kind == "drug":
            one = request("ada", AMLODIPINE if state == "dull" else WARFARIN, record)
        else:
            one = lab("ada", "8480-6" if state == "dull" else "6301-6", 5.4, "{INR}", record)
        if state == "withdrawn":
            one["status"] = "entered-in-error"
        changing.append(at(one, day))
    everything = [*person("ada"), *changing]
    rng.shuffle(everything)
    folder = tmp_path_factory.mktemp("versions")
    (folder / "bundle.json").write_text(json.dumps(bundle(everything)))
    (folder / "lines").mkdir()
    for one in everything:
        with (folder / "lines" / f"{one['resourceType']}.{rng.randrange(2)}.ndjson").open("a") as f:
            f.write(spelt(one, rng) + "\n")
    review(folder / "bundle.json", folder / "a")
    review(folder / "lines", folder / "b")
    review(folder / "lines", folder / "c", sieve=False)
    assert results(folder / "a", SAID) == results(folder / "b", SAID) == results(folder / "c", SAID)
