"""``--compare``: the same patients reviewed with other packs, in a process of its own.

An edited copy of a pack answers to the name of the original, and packs import each other by name; only a fresh
process can give a name another meaning.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from rules.errors import DekacardError, KnowledgeError, RequestError
from rules.pack_folder import read_head
from rules.rulebook import find_packs
from service.batch.values import Interrupted, Options
from service.batch.workshop import rulebook_of

_REFUSED: Final = 1
_INTERRUPTED: Final = 13


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What the other process is to do."""

    paths: tuple[str, ...]
    out: str
    options: Options
    workers: int
    quiet: bool


def with_packs(options: Options, folder: Path) -> Options:
    """The options with the packs of a folder in force: a pack with a known id replaces it, another is added.

    Raises:
        RequestError: there is no pack in the folder.
        KnowledgeError: a ``pack.toml`` cannot be read.
    """
    folders = sorted({path.parent.resolve() for path in folder.glob("**/pack.toml")})
    if not folders:
        raise RequestError(f"{folder} holds no pack (a folder with pack.toml).")
    known = find_packs(tuple(Path(one) for one in options.pack_dirs))
    names = {one: read_head(one).id for one in folders}
    edited = [one for one in folders if names[one] in known]
    added = [one for one in folders if names[one] not in known]
    active = [pack.head.id for pack in rulebook_of(options).packs]
    return msgspec.structs.replace(
        options,
        packs=tuple(dict.fromkeys([*active, *names.values()])),
        pack_dirs=(*options.pack_dirs, *map(str, added)),
        edited=tuple(map(str, edited)),
        noted=False,
    )


def review_apart(
    paths: Sequence[Path], out: Path, options: Options, *, workers: int, quiet: bool
) -> None:
    """Review in another process.

    Raises:
        KnowledgeError: the packs cannot be used; the message says why.
        Interrupted: it was stopped.
    """
    trial = Trial(
        paths=tuple(str(one) for one in paths),
        out=str(out),
        options=options,
        workers=workers,
        quiet=quiet,
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "service.batch.what_if"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE if quiet else None,
        stdout=subprocess.PIPE,
    )
    try:
        said, _ = process.communicate(msgspec.json.encode(trial))
    except BaseException:
        process.terminate()
        process.wait(timeout=60)
        raise
    if process.returncode == _INTERRUPTED:
        raise Interrupted(
            "Stopped during the comparison. The results of the review itself are whole."
        )
    if process.returncode:
        told = said.decode(errors="replace").strip()
        raise KnowledgeError(told or f"The comparison ended with code {process.returncode}.")


def main() -> int:
    """Do what standard input says; why it was refused goes to standard output."""
    from service.batch.progress import Progress
    from service.batch.run import Run

    trial = msgspec.json.decode(sys.stdin.buffer.read(), type=Trial)
    run = Run(Path(trial.out), workers=trial.workers, progress=Progress(quiet=trial.quiet))
    try:
        run.review([Path(one) for one in trial.paths], trial.options)
    except Interrupted:
        return _INTERRUPTED
    except DekacardError as error:
        sys.stdout.write(str(error))
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
