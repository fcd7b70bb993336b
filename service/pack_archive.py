"""Packs kept by their digest, so that a review of any day can be done again with the knowledge of that day."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from rules.errors import DekacardError
from rules.pack_folder import digest_of
from service.alerts import models
from service.alerts.past_answers import micros

if TYPE_CHECKING:
    from rules.rulebook import Rulebook

_EPOCH = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the earliest day a zip file can name: equal folders give equal bytes
_LARGEST = 64 << 20
_SKIPPED = {"__pycache__"}


class ArchiveMissing(DekacardError):
    """A pack of that day is not in the archive."""


def archive(connection: Connection, rulebook: Rulebook, now: datetime) -> int:
    """Keep every pack of a rulebook that is not kept yet; returns how many were new.

    Raises:
        ArchiveMissing: the files of a pack changed after they were loaded; they are not what answers.
    """
    table = models.pack_archive
    added = 0
    for pack in rulebook.packs:
        if connection.scalar(select(table.c.digest).where(table.c.digest == pack.digest)) is None:
            body = pack_bytes(pack.folder)
            if digest_of(pack.folder) != pack.digest:
                raise ArchiveMissing(
                    f"the files of pack {pack.head.id} changed after they were loaded; reload or restart."
                )
            connection.execute(
                table.insert().values(
                    digest=pack.digest, pack=pack.head.id, version=pack.head.version, body=body,
                    archived=micros(now),
                )
            )  # fmt: skip
            added += 1
    return added


def unpack(connection: Connection, knowledge: Mapping[str, str], place: Path) -> list[Path]:
    """The packs of a provenance (id -> version+digest) as folders below ``place``, checked against their digests.

    Raises:
        ArchiveMissing: one of them was never archived, or is damaged.
    """
    folders = []
    table = models.pack_archive
    for name, mark in knowledge.items():
        version, _, start = mark.rpartition("+")
        row = connection.execute(
            select(table)
            .where(
                table.c.pack == name,
                table.c.version == version,
                table.c.digest.startswith(start, autoescape=True),
            )
            .limit(1)
        ).one_or_none()
        if row is None or not start:
            raise ArchiveMissing(f"pack {name} {mark} is not in the archive.")
        folders.append(_extract(row.body, row.digest, place))
    return folders


def pack_bytes(folder: Path) -> bytes:
    """A pack folder as one zip file, below a folder of its own name."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not _SKIPPED.intersection(path.parts) and path.suffix != ".pyc":
                name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
                file.writestr(
                    zipfile.ZipInfo(name, _EPOCH), path.read_bytes(), zipfile.ZIP_DEFLATED
                )
    return packed.getvalue()


def _extract(body: bytes, digest: str, place: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(body)) as file:
        if sum(entry.file_size for entry in file.infolist()) > _LARGEST:
            raise ArchiveMissing("an archived pack is larger than any pack may be.")
        tops = {PurePosixPath(entry.filename).parts[0] for entry in file.infolist()}
        for entry in file.infolist():
            target = (place / entry.filename).resolve()
            if not target.is_relative_to(place.resolve()):
                raise ArchiveMissing("an archived pack names files outside its folder.")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read(entry))
    folder = place / tops.pop()
    if tops or digest_of(folder) != digest:
        raise ArchiveMissing(
            f"the archived pack {folder.name} does not have the digest it is kept by."
        )
    return folder
