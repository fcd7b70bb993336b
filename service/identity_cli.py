"""``dekacard users new|password|invite|reset-factor|sign-out|disable``: what the operator of the machine does for somebody's account.

There is no default account and no default password; a password is never taken from the arguments, which others can list.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from service.store_cli import store_to_change

ACTOR = "operator"
NameArgument = Annotated[str, typer.Argument(help="Name of the account.")]
ClientOption = Annotated[
    str, typer.Option("--client", help="Whose record: the id of a client profile.")
]
StoreOption = Annotated[
    str, typer.Option("--store", envvar="DEKACARD_STORE_URL", help="URL of the store.")
]
KeysOption = Annotated[
    Path, typer.Option("--keyring", envvar="DEKACARD_KEYRING", help="File with the keys.")
]
WordsOption = Annotated[
    str,
    typer.Option(
        "--words", envvar="DEKACARD_PASSWORD_WORDS", help="Words of the site, comma-separated, of little worth in a password."
    ),
]  # fmt: skip
ClientsOption = Annotated[
    Path | None,
    typer.Option(
        "--clients",
        envvar="DEKACARD_CLIENTS",
        help="Folder of the client profiles: which clients there are, and their titles.",
    ),
]
_KEYRING = Path("dekacard-keys.json")


def new(
    name: NameArgument,
    client: ClientOption,
    role: Annotated[
        Literal["reader", "pharmacist", "lead", "auditor", "admin"],
        typer.Option(help="What it may do."),
    ],
    store: StoreOption,
    keyring: KeysOption = _KEYRING,
    clients: ClientsOption = None,
) -> None:
    """Make an account, of a client that has a profile where these are known."""
    with store_to_change(store, keyring) as (database, keys):
        from service.alerts.access import new_account
        from service.identity_accounts import refuse_bad_name

        _refuse_unknown(client, clients)
        refuse_bad_name(name)
        new_account(database, keys, tenant=client, name=name, role=role, actor=ACTOR, now=_now())
    typer.echo(f"made {name} ({role}) for {client}")


def set_password(
    name: NameArgument, client: ClientOption, store: StoreOption, keyring: KeysOption = _KEYRING,
    words: WordsOption = "", clients: ClientsOption = None,
) -> None:  # fmt: skip
    """Set the password with which an account signs in to the dashboard; its sessions end."""
    password = _ask()
    with store_to_change(store, keyring) as (database, keys):
        from service.identity_passwords import set_password as store_it

        store_it(
            database, keys, tenant=client, name=name, password=password, actor=ACTOR, now=_now(),
            words=_known_words(words, clients),
        )  # fmt: skip
    typer.echo(f"{name} signs in with the new password")


def invite(
    name: NameArgument, client: ClientOption, store: StoreOption, keyring: KeysOption = _KEYRING
) -> None:
    """Make a one-time token with which somebody chooses the password of an account; shown once, good for a day."""
    with store_to_change(store, keyring) as (database, keys):
        from service.identity_invitations import invite as make

        token = make(database, keys, tenant=client, account=name, actor=ACTOR, now=_now())
    typer.echo(token)


def reset_factor(
    name: NameArgument, client: ClientOption, store: StoreOption, keyring: KeysOption = _KEYRING
) -> None:
    """Forget the second factor of an account and its recovery codes; its sessions end."""
    with store_to_change(store, keyring) as (database, keys):
        from service.identity_factor import reset

        reset(database, keys, tenant=client, account=name, actor=ACTOR, now=_now())
    typer.echo(f"{name} sets up a second factor at the next sign-in, if the role needs one")


def sign_out(
    name: NameArgument, client: ClientOption, store: StoreOption, keyring: KeysOption = _KEYRING
) -> None:
    """End every session of an account."""
    with store_to_change(store, keyring) as (database, keys):
        from service.identity import end_sessions

        gone = end_sessions(database, keys, tenant=client, account=name, actor=ACTOR, now=_now())
    typer.echo(f"{gone} sessions ended")


def disable(
    name: NameArgument, client: ClientOption, store: StoreOption, keyring: KeysOption = _KEYRING
) -> None:
    """Close an account, its sessions and all its tokens."""
    with store_to_change(store, keyring) as (database, keys):
        from service.alerts.access import disable_account
        from service.identity import end_sessions

        given: dict[str, Any] = {"tenant": client, "actor": ACTOR, "now": _now()}
        disable_account(database, keys, name=name, **given)
        gone = end_sessions(database, keys, account=name, **given)
    typer.echo(f"{name} is disabled; {gone} sessions ended, its tokens are worth nothing")


COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "new": new, "password": set_password, "invite": invite, "reset-factor": reset_factor, "sign-out": sign_out,
    "disable": disable,
}  # fmt: skip


def _refuse_unknown(client: str, clients: Path | None) -> None:
    """Refuse a slip of the keyboard: whoever belongs to no client could never sign in."""
    from rules.errors import RequestError
    from service.cds_hooks.clients import ClientRegistry

    if clients is None:
        return
    known = sorted(one.id for one in ClientRegistry.load(clients).profiles)
    if client not in known:
        raise RequestError(
            f"there is no profile of a client {client!r}; there is {', '.join(known)}.", status=422
        )


def _known_words(words: str, clients: Path | None) -> tuple[str, ...]:
    from service.cds_hooks.clients import ClientRegistry
    from service.identity_guessable import words_of

    titles = [one.title for one in ClientRegistry.load(clients).profiles] if clients else []
    return words_of((*words.split(","), *titles))


def _now() -> datetime:
    return datetime.now(UTC)


def _ask() -> str:
    """From the keyboard unseen, or one line from a pipe; never from the arguments, which others can list."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")
