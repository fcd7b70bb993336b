"""A recorded evaluation done again: with the packs of its day, byte for byte, and with those of today."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from sqlalchemy import select

from rules.engine import software_version
from rules.errors import DekacardError, RequestError
from service.alerts import models
from service.evidence_vault import Evidence, fetch
from service.pack_archive import unpack
from service.replay_room import Task

if TYPE_CHECKING:
    from rules.engine import Engine
    from service.alerts.store import Store

_SECONDS = 120


class ReplayFailed(DekacardError):
    """The evaluation could not be done again."""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What came out. ``same`` compares bytes; ``since`` lists what today's knowledge says differently."""

    evaluation: str
    as_of: datetime
    knowledge: dict[str, str]
    recorded: msgspec.Raw
    replayed: msgspec.Raw
    same: bool
    since: dict[str, list[str]] = {}


def replay(
    store: Store, tenant: str, evaluation: str, *, today: Engine | None = None,
    matcher: Literal["durable", "compiled"] = "compiled",
) -> Replayed:  # fmt: skip
    """Evaluate again with the archived packs of that day; ``today`` adds a comparison with another engine.

    Raises:
        RequestError: there is no such evaluation for this tenant (404).
        EvidenceMissing, ArchiveMissing: what it was made from is gone.
        ReplayFailed: another major version recorded it, or the archived packs do not run.
    """
    evidence = _evidence(store, tenant, evaluation)
    recorded = evidence.canonical()
    answer: dict[str, Any] = msgspec.json.decode(recorded)
    provenance = answer["provenance"]
    _refuse_other_major(provenance["software"])
    knowledge: Mapping[str, str] = provenance["packs"]
    with tempfile.TemporaryDirectory(prefix="dekacard-replay-") as place:
        with store.database.reading() as connection:
            folders = unpack(connection, knowledge, Path(place))
        replayed = _in_own_process(evidence, provenance, folders, matcher)
    return Replayed(
        evaluation=evaluation,
        as_of=datetime.fromisoformat(provenance["as_of"]),
        knowledge=dict(knowledge),
        recorded=msgspec.Raw(recorded),
        replayed=msgspec.Raw(replayed),
        same=recorded == replayed,
        since=_compare(evidence, answer, provenance, today) if today is not None else {},
    )


def _evidence(store: Store, tenant: str, evaluation: str) -> Evidence:
    table = models.evaluation
    with store.database.reading() as connection:
        digest = connection.scalar(
            select(table.c.evidence).where(table.c.tenant == tenant, table.c.id == evaluation)
        )
        if digest is None:
            raise RequestError("there is no such evaluation.", status=404, code="not-found")
        return fetch(connection, store.keyring, tenant, digest)


def _in_own_process(
    evidence: Evidence, provenance: Mapping[str, Any], folders: list[Path], matcher: str
) -> bytes:
    task = Task(
        folders=tuple(map(str, folders)),
        facts=evidence.fact_set(),
        as_of=datetime.fromisoformat(provenance["as_of"]),
        today=date.fromisoformat(provenance["today"]),
        user=evidence.user,
        matcher=matcher,
        software=provenance["software"],
        history=evidence.history,
        quiet=evidence.quiet,
        asked=evidence.asked,
        local_codes=provenance.get("local_codes", {}),
    )
    done = subprocess.run(
        [sys.executable, "-m", "service.replay_room"],
        input=msgspec.json.encode(task),
        capture_output=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        kind = last[0].partition(":")[0] if last else f"exit {done.returncode}"
        raise ReplayFailed(f"the archived packs do not run with this version ({kind}).")
    return done.stdout


def _compare(
    evidence: Evidence, recorded: Mapping[str, Any], provenance: Mapping[str, Any], today: Engine
) -> dict[str, list[str]]:
    now = today.assess(
        evidence.fact_set(),
        as_of=datetime.fromisoformat(provenance["as_of"]),
        today=date.fromisoformat(provenance["today"]),
        history=evidence.history or (),
        user=evidence.user,
        quiet=evidence.quiet,
    )
    then = {
        _name(one["rule"], one["about"]): one["indicator"] for one in recorded["recommendations"]
    }
    here = {_name(one.rule, one.about): one.indicator for one in now.recommendations}
    return {
        "added": sorted(here.keys() - then.keys()),
        "gone": sorted(then.keys() - here.keys()),
        "changed": sorted(
            f"{name}: {then[name]} -> {here[name]}"
            for name in then.keys() & here.keys()
            if then[name] != here[name]
        ),
    }


def _name(rule: str, about: str) -> str:
    return f"{rule} about {about}" if about else rule


def _refuse_other_major(recorded: str) -> None:
    now = software_version()
    if "unknown" not in (recorded, now) and recorded.partition(".")[0] != now.partition(".")[0]:
        raise ReplayFailed(
            f"version {recorded} recorded this; replay it with that major version, not with {now}."
        )
