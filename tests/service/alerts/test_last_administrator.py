"""Two administrators leave at the same moment, from two processes: one of them stays, on both databases."""

import threading
from functools import partial

import pytest
from sqlalchemy import select

from rules.errors import RequestError
from service import identity_accounts
from service.alerts import access, models
from service.alerts.access import disable_account, new_account
from service.alerts.database import Database
from service.identity_accounts import change_role
from tests.service.alerts.stories import NOON

T = "st-elsewhere"
MEET = 1.0  # seconds that each waits, after its check, for the other to come through its own


@pytest.fixture
def meeting(monkeypatch):
    """Both stand still between check and change, until the other has checked too or cannot."""
    both, check = threading.Barrier(2), access.refuse_last_admin

    def check_and_wait(connection, tenant, name):
        check(connection, tenant, name)
        try:
            both.wait(MEET)
        except threading.BrokenBarrierError:
            both.reset()

    for module in (access, identity_accounts):
        monkeypatch.setattr(module, "refuse_last_admin", check_and_wait)


def leave(database_url, keyring, step, said):
    """In a connection pool and a writer of its own, as another process would have."""
    opened = Database(database_url)
    try:
        step(opened, keyring)
    except RequestError as error:
        said.append(str(error))
    finally:
        opened.close()


@pytest.mark.parametrize("ways", ["both disabled", "both demoted", "one of each"])
def test_two_administrators_cannot_both_leave_at_once(
    database, database_url, keyring, meeting, ways
):
    for name in ("ann", "ben"):
        new_account(
            database, keyring, tenant=T, name=name, role="admin", actor="operator", now=NOON
        )
    given = {"tenant": T, "actor": "operator", "now": NOON}
    disable = {name: partial(disable_account, name=name, **given) for name in ("ann", "ben")}
    demote = {
        name: partial(change_role, name=name, role="lead", **given) for name in ("ann", "ben")
    }
    steps = {
        "both disabled": (disable["ann"], disable["ben"]),
        "both demoted": (demote["ann"], demote["ben"]),
        "one of each": (disable["ann"], demote["ben"]),
    }[ways]
    said = []
    at_once = [
        threading.Thread(target=leave, args=(database_url, keyring, step, said)) for step in steps
    ]
    for one in at_once:
        one.start()
    for one in at_once:
        one.join()
    table = models.account
    with database.reading() as connection:
        left = connection.scalars(
            select(table.c.name).where(table.c.role == "admin", table.c.disabled == 0)
        ).all()
    assert len(left) == 1
    assert said == ["this is the last administrator."]
