"""How a run is cut into shards, and what its plan says about the files it was made from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import msgspec

from fhir_adapter.ndjson import is_zipped
from rules.errors import RequestError
from service.batch.inputs import MIXED, Source
from service.batch.workshop import Blueprint

_SHARD_BYTES: Final = 32 * 1024 * 1024


def shards_for(sources: Sequence[Source]) -> int:
    """How many shards keep one of them small, whatever the size of the input."""
    size = sum(source.size * (8 if is_zipped(Path(source.path)) else 1) for source in sources)
    return max(4, min(1024, size // _SHARD_BYTES))


def as_planned(sources: Sequence[Source], plan: Blueprint) -> list[Source]:
    """The sources as the plan has them: some turned out to hold several types after all."""
    kinds = {one.file: one.kind for task in plan.tasks for one in task.stretches}
    return [
        msgspec.structs.replace(source, kind=kinds[number]) for number, source in enumerate(sources)
    ]


def take_for_mixed(plan: Blueprint, files: Collection[int]) -> bool:
    """Plan to parse every line of these files; false where there are none."""
    plan.tasks = [
        msgspec.structs.replace(
            task,
            stretches=tuple(
                msgspec.structs.replace(one, kind=MIXED) if one.file in files else one
                for one in task.stretches
            ),
        )
        for task in plan.tasks
    ]
    return bool(files)


def refuse_changed(sources: Sequence[Source]) -> None:
    """Raise RequestError where a source is no longer what it was when the run was planned."""
    for source in sources:
        try:
            state = Path(source.path).stat()
        except OSError:
            raise RequestError(f"{source.name} vanished while it was read.") from None
        if (state.st_size, state.st_mtime_ns) != (source.size, source.changed):
            raise RequestError(f"{source.name} changed while it was read.")
