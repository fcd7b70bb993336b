"""What a batch run may read: an upload of known kind and size, or a path below the one folder that the site allows."""

from __future__ import annotations

import shutil
import stat
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Final

from rules.errors import RequestError

_ENDINGS: Final = (".json", ".ndjson", ".jsonl")
_GZIP: Final = b"\x1f\x8b"
_CHUNK: Final = 1 << 20
_MOST_TIMES: Final = 200  # records compress ten to thirty times; a bomb some thousand times
_MOST_ENTRIES: Final = 20_000
_BOM: Final = b"\xef\xbb\xbf"


class InputRefused(RequestError):
    """The file or path cannot be reviewed; the message says why (422)."""

    def __init__(self, says: str, *, status: int = 422) -> None:
        super().__init__(says, status=status)


def keep_upload(name: str, file: IO[bytes], folder: Path, limit: int) -> str:
    """Copy an upload into ``folder`` under a name of ours; returns that name.

    Of the given name only the ending counts: it may name a patient, and is not kept. A compressed file is read
    to its end first, so that a bomb is refused here.

    Raises:
        InputRefused: kind, size or content is not what can be reviewed.
    """
    ending = _ending_of(name)
    size = file.seek(0, 2)
    if size > limit:
        raise InputRefused(f"The file is larger than {limit // (1 << 20)} MB.", status=413)
    file.seek(0)
    start = file.read(_CHUNK)
    if ending.endswith(".gz") != start.startswith(_GZIP):
        raise InputRefused("The ending of the file and its content do not agree about gzip.")
    if ending.endswith(".gz"):
        file.seek(0)
        start = _refuse_bomb(file, limit)
    if not start.removeprefix(_BOM).lstrip().startswith((b"{",)):
        raise InputRefused("The file does not begin like FHIR JSON, neither a Bundle nor lines.")
    folder.mkdir(parents=True, mode=0o700)
    file.seek(0)
    kept = f"upload{ending}"
    with (folder / kept).open("xb") as copy:
        shutil.copyfileobj(file, copy, _CHUNK)
    return kept


def allowed_path(root: Path | None, given: str) -> Path:
    """The file or folder ``given`` (relative) below ``root``, with nothing in it that leads elsewhere.

    Raises:
        InputRefused: no root is set, or the path leaves it, is or holds a link or a device, or is not there.
    """
    if root is None:
        raise InputRefused("This site allows no paths: DEKACARD_RUNS_ROOT is not set.")
    parts = PurePosixPath(given).parts
    if not parts or PurePosixPath(given).is_absolute() or ".." in parts or "\0" in given:
        raise InputRefused("Give a path relative to the folder that the site allows.")
    place = root.resolve(strict=True)
    for part in parts:
        place /= part
        _refuse_detour(place)
    if place.is_dir():
        for count, inside in enumerate(place.rglob("*")):
            if count > _MOST_ENTRIES:
                raise InputRefused(f"The folder holds more than {_MOST_ENTRIES} files.")
            _refuse_detour(inside)
    if not place.resolve().is_relative_to(root.resolve()):
        raise InputRefused("The path leads out of the folder that the site allows.")
    return place


def _refuse_detour(path: Path) -> None:
    """Only plain files and folders: a link could lead anywhere, a pipe would hold the run for ever."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        raise InputRefused("There is no such file or folder.") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputRefused("Links, pipes and devices are not read.")


def _ending_of(name: str) -> str:
    lower = name.lower()
    packed = ".gz" if lower.endswith(".gz") else ""
    plain = lower.removesuffix(".gz")
    for ending in _ENDINGS:
        if plain.endswith(ending):
            return (".ndjson" if ending == ".jsonl" else ending) + packed
    raise InputRefused("Send .json or .ndjson, either with .gz.", status=415)


def _refuse_bomb(file: IO[bytes], limit: int) -> bytes:
    """Decompress without keeping anything; gives back the beginning."""
    opened = zlib.decompressobj(wbits=31)
    start, read, written = b"", 0, 0
    while chunk := file.read(_CHUNK):
        read += len(chunk)
        while chunk:
            try:
                plain = opened.decompress(chunk, _CHUNK)
            except zlib.error:
                raise InputRefused("The file is no whole gzip file.") from None
            start = start or plain
            written += len(plain)
            if written > max(_MOST_TIMES * read, _CHUNK) or written > _MOST_TIMES * limit:
                raise InputRefused("The file grows too much when it is unpacked.", status=413)
            chunk = opened.unconsumed_tail
            if opened.eof:
                chunk = opened.unused_data.lstrip(b"\0")
                opened = zlib.decompressobj(wbits=31)
    return start
