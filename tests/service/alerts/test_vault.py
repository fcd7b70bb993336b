"""Evidence at rest: sealed, bound to its place, readable again, and moved to a new key by command."""

import msgspec
import pytest
from sqlalchemy import select

from service import evidence_vault
from service.alerts import models
from service.alerts.keyring import (
    KeyringError,
    new_keyring,
    open_keyring,
    read_keyring,
    with_new_evidence_key,
    write_keyring,
)
from service.alerts.store import Store
from tests.service.alerts.stories import NOON, RULES, call, cards_for, recommendation, reviewed

T = "st-elsewhere"


def digests(database):
    with database.reading() as connection:
        return connection.execute(
            select(models.evidence.c.digest, models.evidence.c.sealed_with)
        ).all()


@pytest.fixture
def filled(database, recorder, drainer, keyring):
    for number in range(3):
        made, found = (
            call(number, patient=f"p{number}"),
            reviewed(recommendation(about=f"k{number}")),
        )
        recorder.record(made, found, cards_for(keyring, made, found), may_speak=RULES)
    drainer.drain()
    return database


def test_evidence_comes_back_as_facts_and_answer(filled, keyring):
    with filled.reading() as connection:
        kept = evidence_vault.fetch(connection, keyring, T, digests(filled)[0].digest)
    assert [use.ingredient for use in kept.fact_set().uses] == ["vitamin-k2-mk7", "warfarin"]
    assert kept.said()["provenance"]["engine"] == ""


def test_without_the_key_or_moved_elsewhere_it_does_not_open(filled, keyring):
    (first, second, _) = digests(filled)
    with filled.reading() as connection, pytest.raises(KeyringError):
        evidence_vault.fetch(
            connection, msgspec.structs.replace(keyring, evidence={}), T, first.digest
        )
    table = models.evidence
    with filled.writing() as connection:
        body = connection.scalar(select(table.c.body).where(table.c.digest == second.digest))
        connection.execute(table.update().where(table.c.digest == first.digest).values(body=body))
    with filled.reading() as connection, pytest.raises(KeyringError, match="altered"):
        evidence_vault.fetch(connection, keyring, T, first.digest)


def test_a_new_key_seals_everything_that_may_change_and_the_old_one_is_then_not_needed(
    filled, keyring
):
    fresh = with_new_evidence_key(keyring)
    rounds = 0
    while filled.write(lambda connection: evidence_vault.rotate(connection, fresh)):
        rounds += 1
    assert rounds == 1
    only_new = msgspec.structs.replace(fresh, evidence={"e2": fresh.evidence["e2"]})
    store = Store(filled, only_new)
    assert {row.sealed_with for row in digests(filled)} == {"e2"}
    with filled.reading() as connection:
        for row in digests(filled):
            evidence_vault.fetch(connection, only_new, T, row.digest)
        card = connection.execute(select(models.issued_card)).first()
        patient = connection.scalar(select(models.patient.c.patient).limit(1))
    assert store.card(T, card.uuid)["indicator"] == "warning"
    assert store.patient_reference(T, patient).startswith("p")


def test_keys_are_made_once_kept_private_and_never_silently_replaced(tmp_path):
    path = tmp_path / "keys.json"
    with pytest.raises(KeyringError, match="db keys"):
        open_keyring(path, create=False)
    made = open_keyring(path, create=True)
    assert open_keyring(path, create=True) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    write_keyring(path, msgspec.structs.replace(made, audit_current="a9"))
    with pytest.raises(KeyringError, match="current audit key"):
        read_keyring(path)


def test_equal_ids_of_two_clients_are_two_names(keyring):
    assert keyring.patient_key("a", "1") == keyring.patient_key("a", "1")
    names = {
        keyring.patient_key("a", "1"),
        keyring.patient_key("b", "1"),
        new_keyring().patient_key("a", "1"),
    }
    assert len(names) == 3
    assert keyring.recommendation_key("a", "1", "r", "x") != keyring.recommendation_key(
        "a", "1", "rx", ""
    )
    assert NOON


def test_a_rotation_goes_in_small_steps(filled, keyring, monkeypatch):
    monkeypatch.setattr(evidence_vault, "_ROTATED_AT_ONCE", 1)
    fresh, steps = with_new_evidence_key(keyring), []
    while done := filled.write(lambda connection: evidence_vault.rotate(connection, fresh)):
        steps.append(done)
    assert set(steps) == {1}
    assert len(steps) >= 3
    assert {row.sealed_with for row in digests(filled)} == {"e2"}
