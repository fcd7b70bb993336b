"""A copy of the whole record, and the way back: SQLite by its own backup, PostgreSQL by pg_dump and pg_restore.

A backup is one folder: ``store.sqlite`` or ``store.dump``, ``manifest.json`` with digests. Keys are not in it: without
the keyring a stolen backup names nobody, and without it a restored store cannot be used, so keep them apart.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

import msgspec
from sqlalchemy import text
from sqlalchemy.engine import make_url

from rules.errors import DekacardError, Unavailable
from service.alerts import schema
from service.alerts.database import Database

_MANIFEST = "manifest.json"
_SECONDS = 3600
_LOOKS, _PAUSE = 20, 0.1
_OTHER_SESSIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND application_name = 'dekacard'"
)


class BackupFailed(DekacardError):
    """The copy was not made, or is not whole."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds."""

    made: datetime
    kind: str
    schema: str
    file: str
    sha256: str
    bytes: int


def backup(url: str, folder: Path, now: datetime, *, programs: Path | None = None) -> Manifest:
    """Copy the store into a new folder while it is in use; raises BackupFailed.

    ``programs`` is the folder of ``pg_dump`` where that is not on the PATH.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BackupFailed(f"{folder} is not empty; a backup never overwrites another.")
    database = Database(url, make=False)
    try:
        revision = schema.revision_of(database)
    finally:
        database.close()
    if revision is None:
        raise BackupFailed("the store is empty: there is nothing to copy.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kind = "sqlite" if database.is_sqlite else "postgresql"
    file = folder / ("store.sqlite" if kind == "sqlite" else "store.dump")
    if kind == "sqlite":
        _copy_sqlite(database.url, file)
    else:
        _dump_postgres(database.url, file, programs)
    file.chmod(0o600)
    manifest = Manifest(
        made=now,
        kind=kind,
        schema=revision,
        file=file.name,
        sha256=_digest(file),
        bytes=file.stat().st_size,
    )
    (folder / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


def restore(
    url: str, folder: Path, *, replace: bool = False, programs: Path | None = None
) -> Manifest:
    """Put a backup in the place of a store; an existing one is only replaced when asked for.

    The service must be stopped. Lines that are still in the spool are taken in again by themselves.

    Raises:
        BackupFailed: the backup is not whole, is of the other kind, or there is a store already.
    """
    manifest = read_manifest(folder)
    database = Database(url)
    kind = "sqlite" if database.is_sqlite else "postgresql"
    try:
        if manifest.kind != kind:
            raise BackupFailed(f"the backup is of {manifest.kind}; give the URL of such a store.")
        there = _has_store(database)
        if there and not replace:
            raise BackupFailed("there is a store at this URL. Say --replace to lose it.")
    finally:
        database.close()
    if there and _is_in_use(database):
        raise BackupFailed(
            "the store is in use. Stop the service first: it would go on in the old one."
        )
    if kind == "sqlite":
        _put_sqlite(database.url, folder / manifest.file)
    else:
        _load_postgres(database.url, folder / manifest.file, programs)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a whole backup; raises BackupFailed when a byte of it has changed."""
    try:
        manifest = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise BackupFailed(f"{folder} is no backup (no readable {_MANIFEST}).") from error
    file = folder / Path(manifest.file).name
    if not file.is_file() or _digest(file) != manifest.sha256:
        raise BackupFailed(f"{manifest.file} is not the file that was copied.")
    return manifest


def _has_store(database: Database) -> bool:
    """Whether anything would be lost; a file that cannot be read may be a damaged store."""
    if not database.is_sqlite:
        return schema.revision_of(database) is not None
    if database.file is None or not database.file.exists():
        return False
    try:
        return schema.revision_of(database) is not None
    except Unavailable:
        return True


def _is_in_use(database: Database) -> bool:
    """Whether another process has it open."""
    if not database.is_sqlite:
        return _has_other_sessions(database.url)
    with closing(sqlite3.connect(_path(database.url), timeout=1)) as alone:
        try:  # a store leaves WAL mode only for who is alone with it
            alone.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as error:
            return error.sqlite_errorcode == sqlite3.SQLITE_BUSY
        except sqlite3.DatabaseError:
            return False  # damaged: that is what the copy is for
    return False


def _has_other_sessions(url: str) -> bool:
    """Whether anybody stays: the server lists a session for a moment after it was left."""
    with closing(Database(url)) as asking:
        for look in range(_LOOKS):
            time.sleep(_PAUSE if look else 0)
            with asking.reading() as connection:
                if not connection.scalar(_OTHER_SESSIONS):
                    return False
    return True


def _copy_sqlite(url: str, file: Path) -> None:
    with closing(sqlite3.connect(_path(url))) as source, closing(sqlite3.connect(file)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        if copy.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise BackupFailed(
                "the copy is damaged; the store itself may be. Run 'dekacard audit verify'."
            )


def _put_sqlite(url: str, file: Path) -> None:
    place = Path(_path(url))
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}.restoring")
    shutil.copyfile(file, part)
    part.chmod(0o600)
    with part.open("rb") as copied:
        os.fsync(copied.fileno())
    for rest in ("-wal", "-shm"):
        place.with_name(place.name + rest).unlink(missing_ok=True)
    part.replace(place)


def _dump_postgres(url: str, file: Path, programs: Path | None) -> None:
    _run(
        ["pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={file}"],
        url,
        programs,
    )


def _load_postgres(url: str, file: Path, programs: Path | None) -> None:
    _run(
        ["pg_restore", "--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction",
         "--exit-on-error", "--dbname", make_url(url).database or "postgres", str(file)], url, programs,
    )  # fmt: skip


def _run(command: list[str], url: str, programs: Path | None) -> None:
    place = make_url(url)
    given = {
        "PGHOST": place.host or str(place.query.get("host", "")), "PGPORT": str(place.port or ""),
        "PGUSER": place.username or "", "PGPASSWORD": str(place.password or ""), "PGDATABASE": place.database or "",
    }  # fmt: skip
    program = shutil.which(command[0], path=str(programs) if programs else None)
    if program is None:
        raise BackupFailed(
            f"{command[0]} is not installed. Install PostgreSQL's client programs of at least the server's version"
            " and put them on the PATH, or name their folder with --pg-bin."
        )
    environment = os.environ | {name: value for name, value in given.items() if value}
    done = subprocess.run(  # noqa: S603  PostgreSQL's own programs; secrets travel in the environment
        [program, *command[1:]],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        raise BackupFailed(f"{command[0]}: {last[0]}")


def _path(url: str) -> str:
    return make_url(url).database or ""


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
