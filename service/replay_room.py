"""The room in which archived packs run: a process of its own, whose ``rules.packs`` are those of the archive.

Packs import each other by name; only a fresh process can give those names another day's meaning, and it leaves
nothing behind.
"""

from __future__ import annotations

import sys
from datetime import date, datetime
from pathlib import Path

import msgspec

from rules.assessment import HistoryEntry
from rules.facts import FactSet


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to evaluate again, and with which pack folders."""

    folders: tuple[str, ...]
    facts: FactSet
    as_of: datetime
    today: date
    user: str
    matcher: str
    software: str
    history: tuple[HistoryEntry, ...] | None = ()
    quiet: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    local_codes: dict[str, str] = {}


def evaluate(task: Task) -> bytes:
    """The canonical answer to a task."""
    import rules.packs

    parent = {str(Path(folder).parent) for folder in task.folders}
    rules.packs.__path__ = sorted(parent)
    from rules.engine import Engine
    from rules.pack_folder import open_pack
    from rules.rulebook import Rulebook
    from service.alerts.lines import canonical_answer

    packs = [open_pack(Path(folder), f"rules.packs.{Path(folder).name}") for folder in task.folders]
    engine = Engine(Rulebook(packs), "durable" if task.matcher == "durable" else "compiled")
    answer = engine.assess(
        task.facts, as_of=task.as_of, today=task.today, history=task.history or (), user=task.user,
        quiet=task.quiet, asked=task.asked,
    )  # fmt: skip
    engine.close()
    # Within one major version the same knowledge gives the same answer: which release said it stands apart.
    # So does by which local codes the record was read: a replay begins with the facts.
    provenance = msgspec.structs.replace(
        answer.provenance, software=task.software, local_codes=task.local_codes
    )
    return canonical_answer(msgspec.structs.replace(answer, provenance=provenance))


if __name__ == "__main__":
    sys.stdout.buffer.write(evaluate(msgspec.json.decode(sys.stdin.buffer.read(), type=Task)))
