"""A recorded evaluation gives the same bytes again, with the packs of its day, and says what changed since."""

import shutil
from datetime import date
from pathlib import Path

import msgspec
import pytest

from rules.engine import Engine
from rules.errors import RequestError
from rules.facts import Context, FactSet, MedicationUse, Patient
from rules.pack_folder import digest_of, open_pack
from rules.rulebook import Rulebook, load_rulebook
from service import pack_archive
from service import replay as replaying
from service.alerts import models
from service.alerts.store import Store
from service.evidence_vault import EvidenceMissing
from service.pack_archive import ArchiveMissing, archive, pack_bytes, unpack
from service.replay import ReplayFailed, replay
from tests.service.alerts.stories import NOON, Reviewed, call

T = "st-elsewhere"


def facts():
    use = {"route": "oral", "start": date(2026, 10, 20), "status": "active"}
    return FactSet(
        patient=Patient(id="p1", source=("Patient/p1",), age_years=71, age_days=26_000, sex="female"),
        context=Context(),
        uses=(
            MedicationUse(record="MedicationStatement/w", source=("MedicationStatement/w",), ingredient="warfarin",
                          classes=("vka",), **use),
            MedicationUse(record="MedicationStatement/k", source=("MedicationStatement/k",), ingredient="vitamin-k2-mk7",
                          classes=("vitamin-k", "k2", "mk7"), amount=90.0, unit="ug", interval_days=1.0, daily=90.0,
                          dose_known=True, **use),
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """Folders of all packs, apart from those that somebody may be editing."""
    place = tmp_path_factory.mktemp("packs")
    for pack in load_rulebook().packs:
        shutil.copytree(
            pack.folder, place / pack.folder.name, ignore=shutil.ignore_patterns("__pycache__")
        )
    return place


@pytest.fixture(scope="module")
def engine(packs):
    made = Engine(Rulebook([open_pack(folder) for folder in sorted(packs.iterdir())]), "compiled")
    yield made
    made.close()


@pytest.fixture
def recorded(database, keyring, recorder, drainer, engine):
    """An evaluation by the real rules, in the store, with its packs archived; its id."""
    assessment = engine.assess(facts(), as_of=NOON, today=NOON.date())
    assert assessment.recommendations, "the story must fire, or the replay proves little"
    made = call(1)
    recorder.record(made, Reviewed(assessment, facts()))
    drainer.drain()
    database.write(lambda connection: archive(connection, engine.rulebook, NOON))
    return made.id


def test_the_packs_of_that_day_give_the_same_bytes(database, keyring, recorded, engine):
    done = replay(Store(database, keyring), T, recorded, today=engine)
    assert done.same
    assert bytes(done.recorded) == bytes(done.replayed)
    assert done.since == {"added": [], "gone": [], "changed": []}
    assert done.knowledge == engine.rulebook.digests


def test_both_engines_replay_to_the_same_bytes(database, keyring, recorded):
    assert replay(Store(database, keyring), T, recorded, matcher="durable").same


def test_it_says_what_other_knowledge_would_say(database, keyring, recorded):
    other = Engine(load_rulebook(["core", "vitamin-d-status"]), "compiled")
    done = replay(Store(database, keyring), T, recorded, today=other)
    other.close()
    assert done.same
    assert done.since["gone"]


def test_the_code_of_the_archive_runs_and_not_that_of_today(
    database, keyring, recorder, drainer, tmp_path, packs
):
    """An archived pack whose rules were worded otherwise must speak as it did."""
    folder = tmp_path / "packs"
    shutil.copytree(packs, folder, ignore=shutil.ignore_patterns("__pycache__"))
    cards = folder / "vitamin_k_antagonists" / "cards.yaml"
    words = cards.read_text()
    first = words.index("title: ") + len("title: ")
    cards.write_text(words[:first] + "As it was called then, " + words[first:].lstrip("\"'"))
    old = Rulebook([open_pack(folder / name.name) for name in sorted(folder.iterdir())])
    engine = Engine(old, "compiled")
    assessment = engine.assess(facts(), as_of=NOON, today=NOON.date())
    engine.close()
    made = call(1)
    recorder.record(made, Reviewed(assessment, facts()))
    drainer.drain()
    database.write(lambda connection: archive(connection, old, NOON))
    assert replay(Store(database, keyring), T, made.id).same


def test_without_its_packs_or_its_evidence_it_says_what_is_missing(database, keyring, recorded):
    store = Store(database, keyring)
    with pytest.raises(RequestError, match="no such evaluation"):
        replay(store, T, "nonsense")
    with pytest.raises(RequestError, match="no such evaluation"):
        replay(store, "mercy", recorded)
    database.write(lambda connection: connection.execute(models.pack_archive.delete()))
    with pytest.raises(ArchiveMissing, match="not in the archive"):
        replay(store, T, recorded)
    database.write(lambda connection: connection.execute(models.evidence.delete()))
    with pytest.raises(EvidenceMissing):
        replay(store, T, recorded)


def test_an_altered_answer_is_noticed(database, keyring, recorded, monkeypatch):
    real = __import__("service.replay", fromlist=["_evidence"])
    kept = real._evidence(Store(database, keyring), T, recorded)
    altered = msgspec.structs.replace(
        kept,
        answer=msgspec.Raw(
            bytes(kept.answer).replace(b"warning", b"info", 1).replace(b"critical", b"info", 1)
        ),
    )
    monkeypatch.setattr(real, "_evidence", lambda *_: altered)
    assert not replay(Store(database, keyring), T, recorded).same


def test_packs_come_back_as_they_went_in(database, engine, tmp_path):
    database.write(lambda connection: archive(connection, engine.rulebook, NOON))
    assert database.write(lambda connection: archive(connection, engine.rulebook, NOON)) == 0
    with database.reading() as connection:
        folders = unpack(connection, engine.rulebook.digests, tmp_path)
    assert [digest_of(folder) for folder in folders] == [
        pack.digest for pack in engine.rulebook.packs
    ]
    assert pack_bytes(folders[0]) == pack_bytes(engine.rulebook.packs[0].folder)


def test_a_pack_that_changed_after_it_was_loaded_is_not_archived_as_if_it_had_not(
    database, engine, tmp_path
):
    shutil.copytree(engine.rulebook.packs[0].folder, tmp_path / "core")
    loaded = open_pack(tmp_path / "core")
    (tmp_path / "core" / "note.txt").write_text("later")
    with pytest.raises(ArchiveMissing, match="changed after"):
        database.write(lambda connection: archive(connection, Rulebook([loaded]), NOON))


def test_an_archive_that_was_tampered_with_is_refused(database, engine, tmp_path):
    database.write(lambda connection: archive(connection, engine.rulebook, NOON))
    table = models.pack_archive
    evil = tmp_path / "core"
    shutil.copytree(engine.rulebook.packs[0].folder, evil)
    (evil / "words.py").write_text("print('gotcha')")
    core = engine.rulebook.packs[0].head.id
    database.write(
        lambda connection: connection.execute(
            table.update().where(table.c.pack == core).values(body=pack_bytes(evil))
        )
    )
    with database.reading() as connection, pytest.raises(ArchiveMissing, match="digest"):
        unpack(connection, engine.rulebook.digests, tmp_path / "out")


def test_an_archive_cannot_write_outside_its_folder(tmp_path):
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("../outside.txt", "x")
    with pytest.raises(ArchiveMissing, match="outside"):
        pack_archive._extract(packed.getvalue(), "0", tmp_path / "in")
    assert not (tmp_path / "outside.txt").exists()


def test_packs_that_do_not_run_any_more_are_said_to_be_so(database, keyring, recorded, monkeypatch):
    monkeypatch.setattr(replaying, "unpack", lambda *_: [Path("/nonexistent/packs/gone")])
    with pytest.raises(ReplayFailed, match=r"do not run with this version \("):
        replay(Store(database, keyring), T, recorded)


@pytest.mark.parametrize(("then", "may"), [("99.1.0", False), ("unknown", True), ("0.9.9", True)])
def test_another_major_version_does_not_speak_for_the_one_that_recorded(monkeypatch, then, may):
    monkeypatch.setattr(replaying, "software_version", lambda: "0.1.0")
    if may:
        replaying._refuse_other_major(then)
        return
    with pytest.raises(ReplayFailed, match=r"version 99\.1\.0 recorded this"):
        replaying._refuse_other_major(then)
