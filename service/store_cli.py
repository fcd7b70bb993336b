"""How commands open the store: said in words what is wrong with it, and never made by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rules.errors import DekacardError

if TYPE_CHECKING:
    from service.alerts.database import Database
    from service.alerts.keyring import Keyring

EXIT_FAILED = 1


@contextmanager
def said_plainly() -> Iterator[None]:
    """An error of ours becomes its sentence and an exit code, never a traceback."""
    try:
        yield
    except DekacardError as error:
        typer.echo(f"dekacard: {error}", err=True)
        raise typer.Exit(EXIT_FAILED) from None


@contextmanager
def opened_store(url: str) -> Iterator[Database]:
    """A store of the schema of this version; what is not there is not made."""
    from service.alerts import schema
    from service.alerts.database import Database as Opened

    with said_plainly():
        database = Opened(url, make=False)
        try:
            schema.require_current(database)
            yield database
        finally:
            database.close()


@contextmanager
def store_to_change(url: str, keyring: Path) -> Iterator[tuple[Database, Keyring]]:
    """The store with the keys that it was made with: with others, names and seals would silently differ."""
    from service.alerts import schema
    from service.alerts.keyring import read_keyring

    with opened_store(url) as database:
        keys = read_keyring(keyring)
        schema.require_keyring(database, keys)
        yield database, keys
