"""Which schema a store has, and how it gets the one that this version needs."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select

import service.alerts.identity_tables
import service.alerts.screen_tables
import service.alerts.triage_tables  # noqa: F401 - and so do these
from rules.errors import DekacardError
from service.alerts import models
from service.alerts.database import Database
from service.alerts.keyring import Keyring, fingerprint_of

_MIGRATIONS = Path(__file__).parent / "migrations"
_held_mark = select(models.store_mark.c.value).where(models.store_mark.c.name == "identity")


class SchemaError(DekacardError):
    """The store has another schema than this version of the software, or another keyring."""


def upgrade(database: Database, to: str = "head") -> None:
    """Bring the schema to a revision (``head``: the newest)."""
    with database.writing() as connection:
        command.upgrade(_config(connection), to)


def downgrade(database: Database, to: str = "base") -> None:
    """Take the schema back to a revision (``base``: nothing is left)."""
    with database.writing() as connection:
        command.downgrade(_config(connection), to)


def revision_of(database: Database) -> str | None:
    """The revision of the store; None when it is empty."""
    with database.reading() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest_revision() -> str:
    """The revision that this version of the software works with."""
    head = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    if head is None:
        raise SchemaError("the installation lacks its migrations; install dekacard again.")
    return head


def require_current(database: Database) -> None:
    """Refuse a store that is empty, older, or made by a newer version; the message names the remedy."""
    found = revision_of(database)
    if found == newest_revision():
        return
    if found is None:
        raise SchemaError("the store is empty. Run 'dekacard db upgrade'.")
    known = {script.revision for script in ScriptDirectory(str(_MIGRATIONS)).walk_revisions()}
    if found in known:
        raise SchemaError(
            f"the store has the older schema {found!r}. Back it up, then run 'dekacard db upgrade'."
        )
    raise SchemaError(
        f"the store has schema {found!r}, which this version does not know: a newer version made it."
        " Start that version again, or restore a backup of this one."
    )


def require_keyring(database: Database, keyring: Keyring) -> None:
    """Refuse keys that the store was not made with: every identity in it would silently differ.

    The first keys that come are those it is made with.
    """
    with database.writing() as connection:
        if connection.scalar(_held_mark) is None:
            mark = {"name": "identity", "value": fingerprint_of(keyring)}
            connection.execute(models.store_mark.insert().values(mark))
    refuse_other_keyring(database, keyring)


def refuse_other_keyring(database: Database, keyring: Keyring) -> None:
    """The same for who only looks: nothing is written."""
    with database.reading() as connection:
        held = connection.scalar(_held_mark)
    if held not in {None, fingerprint_of(keyring)}:
        raise SchemaError(
            "the store was made with another keyring. Give the keyring file it was made with."
        )


def _config(connection: object) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config
