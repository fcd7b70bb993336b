"""The account of a run: what went in, what came out, under which knowledge; nothing that depends on the machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import orjson

from fhir_adapter.needles import libraries
from rules.engine import software_version
from rules.rulebook import Rulebook
from service.batch.inputs import Inputs
from service.batch.values import Options, Reject, ScanReport, ShardReport


class Account:
    """Adds up the reports of all parts."""

    def __init__(self, told: dict[str, Any], rejects: list[Reject], engine: str) -> None:
        self.told = told
        self.rejects = rejects
        self.parquet = False
        self.stored: dict[str, int] | None = None
        self._engine = engine

    @classmethod
    def of(
        cls,
        options: Options,
        inputs: Inputs,
        scans: Iterable[ScanReport],
        shards: Iterable[ShardReport],
        *,
        unread: Mapping[str, str],
        rulebook: Rulebook,
    ) -> Account:
        """Everything there is to say about a run."""
        scans, shards = list(scans), list(shards)
        pieces = [piece for report in scans for piece in report.stretches]
        rejects = [*inputs.rejects, *_placed(scans, shards, pieces)]
        files = _files(inputs, pieces, rejects)
        measures: dict[str, dict[str, int]] = {}
        for report in shards:
            for name, counts in report.measures.items():
                _add(measures.setdefault(name, {}), counts)
        reviewed = sum(report.reviewed for report in shards)
        patients = sum(report.patients for report in shards)
        told = {
            "as_of": options.as_of,
            **({"client": options.client} if options.client else {}),
            "profile": options.profile,
            "verbosity": options.verbosity,
            "zone": options.zone,
            "knowledge": dict(sorted(rulebook.digests.items())),
            **({"code_maps": list(_local_codes(rulebook))} if rulebook.code_maps else {}),
            "patients": {
                "in": patients,
                "reviewed": reviewed,
                "rejected": patients - reviewed,
                "nothing_to_say": sum(report.silent for report in shards),
                "untriggered": sum(report.untriggered for report in shards),
            },
            "firings": _total(report.firings for report in shards),
            "indicators": _total(report.indicators for report in shards),
            "gaps": _total(report.gaps for report in shards),
            "failures": sum(report.failures for report in shards),
            "rejects": _total({one.code: 1} for one in rejects),
            "not_fetched": dict(unread),
            "inputs": files,
            "deletions": {
                "listed": len(inputs.deletions.listed),
                "applied": sum(report.deleted for report in shards),
            },
            "outdated": sum(report.outdated for report in shards),
            "distributions": {
                name: dict(sorted(counts.items(), key=lambda one: int(one[0])))
                for name, counts in sorted(measures.items())
            },
        }
        return cls(told, rejects, options.engine)

    def to_json(self) -> bytes:
        """``run.json``: the same for the same inputs, options and knowledge."""
        return orjson.dumps(self.told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def meta(self, workers: int, seconds: float, now: datetime) -> bytes:
        """``run.meta.json``: how this run was made; differs from run to run."""
        patients = self.told["patients"]["in"]
        size = sum(one["bytes"] for one in self.told["inputs"])
        return orjson.dumps(
            {
                "software": software_version(),
                "engine": self._engine,
                "workers": workers,
                "finished": now.isoformat(timespec="seconds"),
                "seconds": round(seconds, 1),
                "patients_per_second": round(patients / seconds) if seconds else None,
                "megabytes_per_second": round(size / 1e6 / seconds, 1) if seconds else None,
                **({"stored": self.stored} if self.stored is not None else {}),
                "search": libraries()[0],
                "parquet": self.parquet or "not written: the extra 'batch' is not installed",
            },
            option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        )


def _local_codes(rulebook: Rulebook) -> Iterator[dict[str, Any]]:
    """What became of the entries of each local code map."""
    for one in sorted(rulebook.code_maps, key=lambda one: one.name):
        used = rulebook.vocabulary.local_codes_used[one.name]
        yield {
            "map": one.name,
            "version": one.version,
            "digest": one.digest,
            "used": used,
            "of_no_concern": len(one.entries) - used,
            "not_usable": dict(one.unused),
        }


def _placed(
    scans: list[ScanReport], shards: list[ShardReport], pieces: list[tuple[int, int, int, int, int]]
) -> Iterable[Reject]:
    """Rejects with their line counted from the beginning of the file."""
    before: dict[tuple[int, int], int] = {}
    lines: defaultdict[int, int] = defaultdict(int)
    for file, offset, count, _, _ in sorted(pieces):
        before[file, offset] = lines[file]
        lines[file] += count
    for rejects in [one.rejects for one in scans] + [one.rejects for one in shards]:
        for one in rejects:
            ahead = before.get((one.number, one.offset), 0) if one.line else 0
            yield Reject(
                file=one.file,
                line=one.line + ahead,
                code=one.code,
                says=one.says,
                patient=one.patient,
            )


def _files(
    inputs: Inputs, pieces: list[tuple[int, int, int, int, int]], rejects: list[Reject]
) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = []
    for number, source in enumerate(inputs.sources):
        own = sorted(piece for piece in pieces if piece[0] == number)
        lines = sum(piece[2] for piece in own)
        told: dict[str, Any] = {
            "file": source.name,
            "type": source.kind or "mixed",
            "bytes": source.size,
            "lines": lines,
            "digest": "-".join(f"{piece[4]:08x}" for piece in own[:64]),
        }
        if source.promised is not None and source.promised >= 0:
            told["promised"] = source.promised
            if source.promised != lines:
                says = f"The manifest promises {source.promised} resources, the file holds {lines} lines."
                rejects.append(Reject(file=source.name, line=0, code="incomplete-file", says=says))
        files.append(told)
    return files


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        _add(total, one)
    return dict(sorted(total.items()))


def _add(into: dict[str, int], counts: Mapping[str, int]) -> None:
    for name, number in counts.items():
        into[name] = into.get(name, 0) + number
