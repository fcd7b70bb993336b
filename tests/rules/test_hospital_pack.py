"""A hospital's own pack: installed like any other, it changes what it says it changes and nothing else."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from fhir_adapter.reader import read
from rules.engine import Engine
from rules.errors import KnowledgeError
from rules.facts import Context
from rules.rulebook import BUNDLED, load_rulebook
from rules.vignettes import play

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "st_elsewhere"
OURS = [pack.head.id for pack in load_rulebook().packs]
THEIRS = [*OURS, "st-elsewhere"]

# What the approver signs for: stories of ours that describe the old number or the retired rule.
ENDING_OTHERWISE = {
    ("vitd-thiazide.yaml", "4,000 units a day"),
    ("dk-k2-form.yaml", "MK-4 of 100 mcg a day"),
    ("dk-k2-form.yaml", "MK-4 of 1,000 mcg a day"),
}


@pytest.fixture(scope="module")
def together():
    return load_rulebook(THEIRS, [FOLDER])


@pytest.mark.parametrize("matcher", ["compiled", "durable"])
def test_its_own_stories_end_as_told(together, matcher):
    assert play(together, FOLDER, matcher) == []


def test_of_our_stories_only_the_declared_differences_end_otherwise(together):
    failures = play(together, BUNDLED, "compiled")
    assert {
        (Path(one.where.rpartition(":")[0]).name, one.title) for one in failures
    } == ENDING_OTHERWISE


def test_what_it_changes_is_kept_with_its_reason(together):
    assert together.overridden["thiazide.vitamin-d-above"][0] == "st-elsewhere"
    assert "leaflet" in together.retired["dk-k2-form"]
    assert "dk-k2-form" not in together.rules
    assert "ste-warfarin-strong-vitamin-d" in together.rules


def test_a_new_number_holds_from_its_day_and_ours_before(together):
    parameter = together.parameters["thiazide.vitamin-d-above"]
    values = [
        parameter.in_force("thiazide.vitamin-d-above", day, "nam-2011").value
        for day in (date(2026, 10, 13), date(2026, 10, 14))
    ]
    assert values == [4000, 2000]


def test_its_laboratory_code_is_read_as_25_oh_d(together):
    result = {
        "resourceType": "Observation", "id": "1", "status": "final", "subject": {"reference": "Patient/p"},
        "code": {"coding": [{"system": "https://lab.st-elsewhere.example/codes", "code": "VITD25"}]},
        "effectiveDateTime": "2026-11-02T08:00:00Z",
        "valueQuantity": {"value": 9, "unit": "ng/mL", "system": "http://unitsofmeasure.org", "code": "ng/mL"},
    }  # fmt: skip
    patient = {"resourceType": "Patient", "id": "p", "birthDate": "1971-01-01"}
    as_of = datetime(2026, 11, 22, 12, tzinfo=UTC)
    spoken = {}
    for name, rulebook in (("with", together), ("without", load_rulebook())):
        reading = read(
            [patient, result],
            patient_id="p",
            vocabulary=rulebook.vocabulary,
            as_of=as_of,
            zone=UTC,
            context=Context(),
        )
        answer = Engine(rulebook, "compiled").assess(reading.facts, as_of=as_of, today=as_of.date())
        spoken[name] = {one.rule for one in answer.recommendations}
    assert spoken == {"with": {"vitd-deficiency-treat"}, "without": set()}


def test_found_is_not_active():
    assert "st-elsewhere" not in {pack.head.id for pack in load_rulebook(None, [FOLDER]).packs}


@pytest.mark.parametrize("key", ["approver", "overrides"])
def test_a_changed_number_needs_a_reason_and_an_approver(tmp_path, key):
    copy = tmp_path / "st_elsewhere_pack"
    _copy(FOLDER / "st_elsewhere_pack", copy)
    lines = (copy / "pack.toml").read_text(encoding="utf-8").splitlines()
    kept = [
        line for line in lines if not line.startswith(("approver", '"thiazide')[key == "overrides"])
    ]
    (copy / "pack.toml").write_text("\n".join(kept), encoding="utf-8")
    with pytest.raises(KnowledgeError, match=r"stands in another pack already|without an approver"):
        load_rulebook(THEIRS, [tmp_path])


def test_installed_it_is_found_by_its_entry_point_and_its_stories_play(tmp_path):
    """Built and installed into a folder of its own, away from the source, then played by a fresh interpreter."""
    source, target = tmp_path / "source", tmp_path / "site"
    _copy(FOLDER, source)
    build = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
             "--disable-pip-version-check", "--target", str(target), str(source)]  # fmt: skip
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    played = (
        "from importlib.resources import files\n"
        "from pathlib import Path\n"
        "from rules.rulebook import load_rulebook\n"
        "from rules.vignettes import play\n"
        f"book = load_rulebook({THEIRS!r})\n"
        "folder = Path(str(files('st_elsewhere_pack')))\n"
        f"assert folder.is_relative_to({str(target)!r}), folder\n"
        "failures = play(book, folder, 'compiled')\n"
        "print(len(book.rules), len(failures))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), str(ROOT)])}
    answer = subprocess.run(
        [sys.executable, "-c", played],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert answer.stdout.split() == [
        str(len(load_rulebook().rules)),
        "0",
    ]  # one rule more, one fewer


def _copy(source: Path, target: Path) -> None:
    for file in source.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
