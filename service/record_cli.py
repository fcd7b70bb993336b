"""``dekacard db|audit|users|backup|restore|replay``: the record from the command line.

``install(app)`` adds all of it to the main command. Settings come from ``DEKACARD_*``; options overrule them.
"""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.identity_cli import COMMANDS
from service.store_cli import opened_store, said_plainly, store_to_change

if TYPE_CHECKING:
    from rules.engine import Engine
    from service.alerts.database import Database
    from service.alerts.keyring import Keyring
    from service.audit import Head

EXIT_TAMPERED = 10
EXIT_DIFFERS = 11
ACTOR = "operator"

db_app = typer.Typer(help="The store of the record: schema and keys.", no_args_is_help=True)
audit_app = typer.Typer(help="The audit trail.", no_args_is_help=True)
users_app = typer.Typer(help="Accounts, and tokens of the JSON interface.", no_args_is_help=True)

StoreOption = Annotated[
    str,
    typer.Option(
        "--store", envvar="DEKACARD_STORE_URL", help="URL of the store (SQLite or PostgreSQL)."
    ),
]
KeysOption = Annotated[
    Path, typer.Option("--keyring", envvar="DEKACARD_KEYRING", help="File with the keys.")
]
ClientOption = Annotated[
    str, typer.Option("--client", help="Whose record: the id of a client profile.")
]
ProgramsOption = Annotated[
    Path | None,
    typer.Option("--pg-bin", help="Folder of pg_dump and pg_restore, where not on the PATH."),
]
_KEYRING = Path("dekacard-keys.json")


def install(app: typer.Typer) -> None:
    """Add the commands of the record to the main command."""
    app.add_typer(db_app, name="db")
    app.add_typer(audit_app, name="audit")
    for name, command in COMMANDS.items():
        users_app.command(name)(command)
    app.add_typer(users_app, name="users")
    app.command("backup")(backup)
    app.command("restore")(restore)
    app.command("replay")(replay)


@db_app.command()
def upgrade(store: StoreOption) -> None:
    """Bring the schema of the store up to this version."""
    with said_plainly():
        from service.alerts import schema
        from service.alerts.database import Database as Opened

        with closing(Opened(store)) as database:
            before = schema.revision_of(database)
            schema.upgrade(database)
            typer.echo(f"schema {before or 'none'} -> {schema.revision_of(database)}")


@db_app.command()
def keys(
    keyring: KeysOption = _KEYRING,
    encrypt: Annotated[bool, typer.Option(help="Encrypt evidence at rest.")] = True,
) -> None:
    """Make the key file of a new site; an existing one is never touched."""
    with said_plainly():
        from service.alerts.keyring import KeyringError, new_keyring, write_keyring

        if keyring.exists():
            raise KeyringError(
                f"{keyring} exists. Keys are never overwritten: without them the record is lost."
            )
        write_keyring(keyring, new_keyring(encrypt=encrypt))
        typer.echo(f"made {keyring}; keep a copy of it apart from the backups of the store")


@db_app.command("rotate-keys")
def rotate_keys(store: StoreOption, keyring: KeysOption = _KEYRING) -> None:
    """Make a new evidence key and seal everything with it that may change."""
    with store_to_change(store, keyring) as (database, held):
        from service import evidence_vault
        from service.alerts.keyring import with_new_evidence_key, write_keyring

        fresh = with_new_evidence_key(held)
        write_keyring(keyring, fresh)
        total = 0
        while done := database.write(lambda connection: evidence_vault.rotate(connection, fresh)):
            total += done
        _note(database, fresh, "keys-rotated", f"{total} values, key {fresh.evidence_current}")
        typer.echo(
            f"{total} values are sealed with key {fresh.evidence_current}; restart the service to use it"
        )


@audit_app.command()
def verify(
    store: StoreOption,
    keyring: KeysOption = _KEYRING,
    heads: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Heads kept elsewhere (lines of 'audit heads')."
        ),
    ] = None,
) -> None:
    """Find every edit, deletion, exchange or cut of the trail; exit 10 if there is one."""
    with opened_store(store) as database:
        from service import audit
        from service.alerts import schema
        from service.alerts.keyring import read_keyring

        held, known = read_keyring(keyring), _heads_in(heads)
        schema.refuse_other_keyring(database, held)
        with database.reading() as connection:
            faults = audit.verify(connection, held, known)
            ends = audit.heads(connection)
        for fault in faults:
            typer.echo(f"{fault.tenant} line {fault.seq}: {fault.says}")
        if faults:
            raise typer.Exit(EXIT_TAMPERED)
        typer.echo(
            f"the trail is whole: {sum(end.seq for end in ends)} lines of {len(ends)} clients"
        )


def _heads_in(file: Path | None) -> list[Head]:
    import msgspec

    from service.audit import Head as Read

    found: list[Head] = []
    for number, line in enumerate(file.read_bytes().splitlines() if file else (), 1):
        try:
            found += [msgspec.json.decode(line, type=Read)] if line else []
        except msgspec.MsgspecError:
            raise typer.BadParameter(
                f"line {number} of {file} is none of 'dekacard audit heads'.", param_hint="--heads"
            ) from None
    return found


@audit_app.command("heads")
def show_heads(store: StoreOption) -> None:
    """Print the end of every chain, to be kept where the owner of the store cannot write."""
    with opened_store(store) as database:
        import msgspec

        from service import audit

        with database.reading() as connection:
            for head in audit.heads(connection):
                typer.echo(msgspec.json.encode(head).decode())


@users_app.command()
def token(
    name: Annotated[str, typer.Argument(help="Name of the account.")],
    client: ClientOption,
    store: StoreOption,
    keyring: KeysOption = _KEYRING,
    days: Annotated[int, typer.Option(min=1, max=366, help="Days until it expires.")] = 90,
) -> None:
    """Make a token for the JSON interface; it is shown once, and only here."""
    with store_to_change(store, keyring) as (database, held):
        from service.alerts.access import mint_token

        life = timedelta(days=days)
        typer.echo(
            mint_token(
                database, held, tenant=client, account=name, actor=ACTOR, now=_now(), life=life
            )
        )


@users_app.command("list")
def list_users(client: ClientOption, store: StoreOption) -> None:
    """Accounts of a client and the ids of their tokens."""
    with opened_store(store) as database:
        from service.alerts.access import accounts

        for one in accounts(database, client):
            held = (
                ", ".join(t["id"] + (" (revoked)" if t["revoked"] else "") for t in one["tokens"])
                or "no tokens"
            )
            typer.echo(
                f"{one['name']}  {one['role']}{'  disabled' if one['disabled'] else ''}  {held}"
            )


@users_app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="Id of the token (users list).")],
    client: ClientOption,
    store: StoreOption,
    keyring: KeysOption = _KEYRING,
) -> None:
    """Make a token worthless."""
    with store_to_change(store, keyring) as (database, held):
        from service.alerts.access import revoke_token

        revoke_token(database, held, tenant=client, token=token_id, actor=ACTOR, now=_now())
        typer.echo(f"token {token_id} is worth nothing any more")


def backup(
    folder: Annotated[Path, typer.Argument(help="A new folder for the copy.")],
    store: StoreOption,
    pg_bin: ProgramsOption = None,
) -> None:
    """Copy the store while it is in use. The keyring is not part of the copy."""
    with said_plainly():
        from service import backup as copying

        manifest = copying.backup(store, folder, _now(), programs=pg_bin)
        typer.echo(f"{folder / manifest.file}: {manifest.bytes} bytes, schema {manifest.schema}")


def restore(
    folder: Annotated[Path, typer.Argument(help="Folder of the copy.")],
    store: StoreOption,
    replace: Annotated[
        bool, typer.Option("--replace", help="Lose the store that is there now.")
    ] = False,
    pg_bin: ProgramsOption = None,
) -> None:
    """Put a copy in the place of the store (the service must be stopped)."""
    with said_plainly():
        from service import backup as copying

        manifest = copying.restore(store, folder, replace=replace, programs=pg_bin)
        typer.echo(f"restored the store of {manifest.made.isoformat()}, schema {manifest.schema}")


def replay(
    evaluation: Annotated[str, typer.Argument(metavar="ID", help="Id of the evaluation.")],
    client: ClientOption,
    store: StoreOption,
    keyring: KeysOption = _KEYRING,
    compare: Annotated[bool, typer.Option(help="Compare with the packs of today.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the replayed answer.")] = False,
) -> None:
    """Evaluate again with the packs of that day; exit 11 if a single byte differs."""
    with store_to_change(store, keyring) as (database, held):
        from service import replay as replaying
        from service.alerts.store import Store

        engine = _engine_of_today() if compare else None
        done = replaying.replay(Store(database, held), client, evaluation, today=engine)
        _note(database, held, "replay", f"evaluation/{evaluation}", tenant=client)
        if as_json:
            sys.stdout.write(bytes(done.replayed).decode() + "\n")
        else:
            typer.echo("the same bytes" if done.same else "DIFFERENT from what was recorded")
            for what, names in done.since.items():
                typer.echo(f"today {what}: {', '.join(names) or 'nothing'}")
        if not done.same:
            raise typer.Exit(EXIT_DIFFERS)


def _engine_of_today() -> Engine:
    from rules.engine import Engine
    from service.settings import Settings
    from service.site_knowledge import site_rulebook

    settings = Settings.read()
    return Engine(site_rulebook(settings), "compiled")


def _note(
    database: Database, keyring: Keyring, action: str, about: str, *, tenant: str = ""
) -> None:
    from service import audit
    from service.alerts.values import AuditEntry

    entry = AuditEntry(tenant=tenant, at=_now(), actor=ACTOR, action=action, object=about)
    database.write(lambda connection: audit.append(connection, keyring, entry))


def _now() -> datetime:
    return datetime.now(UTC)
