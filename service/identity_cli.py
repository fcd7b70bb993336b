"""``dekacard users password``: the operator of the machine gives an account its password; there is no default one."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer


def set_password(
    name: Annotated[str, typer.Argument(help="Name of the account.")],
    client: Annotated[
        str, typer.Option("--client", help="Whose record: the id of a client profile.")
    ],
    store: Annotated[
        str, typer.Option("--store", envvar="DEKACARD_STORE_URL", help="URL of the store.")
    ],
    keyring: Annotated[
        Path, typer.Option("--keyring", envvar="DEKACARD_KEYRING", help="File with the keys.")
    ] = Path("dekacard-keys.json"),
) -> None:
    """Set the password with which an account signs in to the dashboard; its sessions end."""
    from rules.errors import DekacardError
    from service import identity_passwords
    from service.alerts.database import Database
    from service.alerts.keyring import read_keyring

    password = _ask()
    try:
        database = Database(store)
        try:
            identity_passwords.set_password(
                database, read_keyring(keyring), tenant=client, name=name, password=password, actor="operator",
                now=datetime.now(UTC),
            )  # fmt: skip
        finally:
            database.close()
    except DekacardError as error:
        typer.echo(f"dekacard: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{name} signs in with the new password")


def _ask() -> str:
    """From the keyboard unseen, or one line from a pipe; never from the arguments, which others can list."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")
