"""What changed between two runs, or between two states of knowledge: new, changed and cleared."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import orjson

from rules.errors import RequestError

RECOMMENDATIONS: Final = "recommendations.csv"
_TOLD: Final = ("evidence", "summary", "certainty", "missing")


class Difference:
    """Recommendations of two runs side by side; both lists are sorted by patient, so nothing is kept in memory."""

    def __init__(self, before: Path, after: Path) -> None:
        self._before, self._after = before, after
        self._doubtful = _rejected(after)
        self.unnamed = self._doubtful[""]
        self.rules: dict[str, dict[str, list[str]]] = {}

    def changes(self) -> Iterator[dict[str, Any]]:
        """One row for each recommendation that appears, vanishes or differs; unchanged ones are only counted.

        Raises:
            RequestError: a folder holds no finished run.
        """
        earlier = ((patient, "before", said) for patient, said in _patients(self._before))
        later = ((patient, "after", said) for patient, said in _patients(self._after))
        whose = itemgetter(0)
        for patient, both in groupby(merge(earlier, later, key=whose), key=whose):
            own = {side: said for _, side, said in both}
            yield from self._compare(patient, own.get("before", {}), own.get("after", {}))

    def _compare(
        self,
        patient: str,
        before: dict[tuple[str, str], dict[str, str]],
        after: dict[tuple[str, str], dict[str, str]],
    ) -> Iterator[dict[str, Any]]:
        for key in sorted(before.keys() | after.keys()):
            was, now = before.get(key), after.get(key)
            change = _change(was, now)
            if change == "cleared" and patient in self._doubtful:
                change = "unsure"
            rule = self.rules.setdefault(key[0], {})
            kind = change
            if was and now and change == "severity":
                kind = f"{was['indicator']} to {now['indicator']}"
            rule.setdefault(kind, []).append(patient)
            if change != "same":
                yield {
                    "patient": patient,
                    "rule": key[0],
                    "about": key[1],
                    "change": change,
                    "was": was["indicator"] if was else None,
                    "is": now["indicator"] if now else None,
                    "summary": (now or was or {}).get("summary", ""),
                }


def _change(was: dict[str, str] | None, now: dict[str, str] | None) -> str:
    if was is None:
        return "new"
    if now is None:
        return "cleared"
    if was["indicator"] != now["indicator"]:
        return "severity"
    return "changed" if any(was[name] != now[name] for name in _TOLD) else "same"


def refuse_unfinished(folder: Path) -> None:
    """Only a finished run can be compared with.

    Raises:
        RequestError: the folder holds none.
    """
    if not all((folder / name).is_file() for name in ("run.json", RECOMMENDATIONS)):
        raise RequestError(f"{folder} holds no finished run.")


def _rejected(run: Path) -> Counter[str]:
    """How often something of each patient was rejected: what is no longer said about them may still be true."""
    refuse_unfinished(run)
    with (run / "rejects.ndjson").open("rb") as file:
        return Counter(orjson.loads(line).get("patient", "") for line in file)


def _patients(
    folder: Path,
) -> Iterator[tuple[str, dict[tuple[str, str], dict[str, str]]]]:
    refuse_unfinished(folder)
    with (folder / RECOMMENDATIONS).open(newline="", encoding="utf-8") as file:
        patient = ""
        own: dict[tuple[str, str], dict[str, str]] = {}
        for row in csv.DictReader(file):
            if own and row["patient"] != patient:
                yield patient, own
                own = {}
            patient = row["patient"]
            own[row["rule"], row["about"]] = row
        if own:
            yield patient, own


def write_difference(before: Path, after: Path, target: Path) -> Difference:
    """Write every change as a line of JSON, sorted by patient, and give back the counts."""
    difference = Difference(before, after)
    beside = target.with_suffix(".part")
    with beside.open("wb") as file:
        for row in difference.changes():
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    beside.replace(target)
    return difference


def told(difference: Difference, examples: int = 5) -> Iterator[str]:
    """Per rule what appears, vanishes and changes, with some of the patients."""
    words = {
        "new": "appears for",
        "cleared": "vanishes for",
        "unsure": "is no longer said, but something of theirs was rejected, for",
        "changed": "says something else for",
    }
    quiet = True
    for rule, changes in sorted(difference.rules.items()):
        turns = {one: f"turns from {one} for" for one in sorted(changes) if " to " in one}
        for change, verb in (words | turns).items():
            patients = changes.get(change, [])
            if patients:
                quiet = False
                some = ", ".join(
                    f"Patient/{one.removeprefix(chr(39))}" for one in patients[:examples]
                )
                more = f" and {len(patients) - examples} more" if len(patients) > examples else ""
                yield f"{rule} {verb} {len(patients)} ({some}{more})"
    if difference.unnamed and any("cleared" in one for one in difference.rules.values()):
        yield f"{difference.unnamed} rejects name no patient: what vanished may still be true."
    if quiet:
        yield "Nothing differs."
