"""A whole export and what changed since: together they are whole again, if there is no gap between them."""

import json

import pytest

from service.batch.run import Run
from tests.service.batch.people import population
from tests.service.batch.test_exports import deletion, somebody
from tests.service.batch.test_review import options, rejects, rows

SERVER = "https://fhir.example.org/Group/cohort/$export"
MONDAY, TUESDAY, WEDNESDAY = (f"2026-11-{day}T02:00:00Z" for day in (16, 17, 18))
TYPES = "Patient,Observation,MedicationStatement,MedicationRequest,Condition,Procedure,Goal,ServiceRequest,NutritionIntake"


def export(top, moment, asked, resources=(), deleted=()):
    """One export in a folder of its own."""
    folder = top / f"export-{len(list(top.glob('export-*')))}"
    folder.mkdir(parents=True)
    kinds = sorted({one["resourceType"] for one in resources})
    for kind in kinds:
        own = [json.dumps(one) + "\n" for one in resources if one["resourceType"] == kind]
        (folder / f"{kind}.ndjson").write_text("".join(own))
    manifest = {
        "transactionTime": moment,
        "request": f"{SERVER}?{asked}" if asked.startswith("_") else asked,
        "output": [{"type": kind, "url": f"{SERVER}/{kind}.ndjson"} for kind in kinds],
        "deleted": [],
        "error": [],
    }
    if deleted:
        (folder / "gone.ndjson").write_text(json.dumps(deletion(*deleted)) + "\n")
        manifest["deleted"] = [{"type": "Bundle", "url": f"{SERVER}/gone.ndjson"}]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def review(top, out):
    return Run(out).review([top], options(as_of="")).told


def since(moment, types=TYPES):
    return f"_type={types}&_since={moment}"


def base(top, moment=MONDAY):
    export(top, moment, f"_type={TYPES}", [*population(1)[0]["p000"], *somebody("ada")])


def test_an_unbroken_chain_is_whole_and_counts_from_its_newest_moment(tmp_path):
    top = tmp_path / "in"
    export(top, WEDNESDAY, since(TUESDAY), deleted=["MedicationStatement/ada-s1"])
    export(top, TUESDAY, since(MONDAY), somebody("ben"))
    base(top)
    told = review(top, tmp_path / "out")
    assert told["as_of"] == WEDNESDAY
    assert told["not_fetched"] == {}
    assert told["rejects"] == {}
    assert told["patients"]["in"] == 3
    assert told["deletions"]["applied"] == 1
    vka = {row["patient"] for row in rows(tmp_path / "out") if row["rule"].startswith("vka-k")}
    assert "ben" in vka
    assert "ada" not in vka


def test_moments_are_compared_as_moments(tmp_path):
    """A night in another zone: its text is greater, its moment is earlier."""
    top = tmp_path / "in"
    base(top, "2026-11-17T01:00:00+09:00")
    export(top, "2026-11-16T23:00:00Z", since("2026-11-17T01:00:00+09:00"))
    told = review(top, tmp_path / "out")
    assert told["as_of"] == "2026-11-16T23:00:00Z"
    assert told["rejects"] == {}


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda top: export(top, WEDNESDAY, since(TUESDAY)), id="a night is missing"),
        pytest.param(
            lambda top: export(top, TUESDAY, f"https://elsewhere.example.org/$export?{since(MONDAY)}"),
            id="another server",
        ),
        pytest.param(lambda top: export(top, TUESDAY, since("x")), id="since when nobody knows"),
        pytest.param(
            lambda top: export(top, TUESDAY, f"{since(MONDAY)}&_typeFilter=Observation%3Fcode=x"),
            id="filtered as well",
        ),
    ],
)  # fmt: skip
def test_a_broken_chain_is_told_and_nothing_is_taken_for_absent(tmp_path, broken):
    top = tmp_path / "in"
    base(top)
    broken(top)
    told = review(top, tmp_path / "out")
    assert told["rejects"] == {"partial-export": 1}
    assert set(told["not_fetched"].values()) == {"not fetched as a whole"}
    (said,) = rejects(tmp_path / "out")
    assert said["file"].endswith("manifest.json")


def test_types_that_the_increment_leaves_out_are_no_longer_whole(tmp_path):
    top = tmp_path / "in"
    base(top)
    export(top, TUESDAY, since(MONDAY, TYPES.replace(",Goal", "")))
    told = review(top, tmp_path / "out")
    assert told["not_fetched"] == {"goals": "not fetched as a whole"}
    assert "Goal" in rejects(tmp_path / "out")[0]["says"]
