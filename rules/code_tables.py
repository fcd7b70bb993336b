"""Codes of every system -> what they stand for; collisions and unknown targets are refused with their place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from rules.code_files import (
    CodeFile,
    CodeList,
    DrugCode,
    ProblemCode,
    ResultCode,
    RouteCode,
    TimingCode,
)
from rules.errors import KnowledgeError
from rules.units import Units

_STRENGTH = re.compile(r"(\d+(?:\.\d+)?) (\S+)")
_Code = TypeVar("_Code")


class Component(NamedTuple):
    """One ingredient of a product; ``amount`` in the ingredient's unit per piece or per mL, if known."""

    ingredient: str
    amount: float | None = None
    per: Literal["piece", "mL"] = "piece"


class Drug(NamedTuple):
    """What a drug code stands for; without components it is known and concerns no rule."""

    components: tuple[Component, ...]
    combined: bool = False
    topical: bool = False


NOT_OURS = Drug(())


class CodeTables:
    """The code lists of the active packs, by (system, code)."""

    def __init__(self, content: CodeFile, places: Mapping[int, str], units: Units) -> None:
        self._content = content
        self._units = units
        self._prefixed: set[str] = set()
        self._drugs: dict[tuple[str, str], Drug] = {}
        self._results: dict[tuple[str, str], ResultCode | None] = {}
        self._problems: dict[tuple[str, str], ProblemCode | None] = {}
        self._procedures: dict[tuple[str, str], ProblemCode | None] = {}
        self._routes: dict[tuple[str, str], str] = {}
        self._timings: dict[tuple[str, str], float] = {}
        for place, listed in enumerate(content.code_lists):
            self._take(listed, places.get(place, ""))

    def drug(self, system: str, code: str) -> Drug | None:
        """What a drug code contains; ``None`` when the code is not listed."""
        return self._drugs.get((system, code)) or self._by_prefix(self._drugs, system, code)

    def result(self, system: str, code: str) -> ResultCode | None:
        """What a laboratory code measures."""
        return self._results.get((system, code)) or self._by_prefix(self._results, system, code)

    def problem(self, system: str, code: str) -> ProblemCode | None:
        """What a problem code stands for."""
        return self._problems.get((system, code)) or self._by_prefix(self._problems, system, code)

    def procedure(self, system: str, code: str) -> ProblemCode | None:
        """What a procedure code stands for."""
        return self._procedures.get((system, code)) or self._by_prefix(
            self._procedures, system, code
        )

    def route(self, system: str, code: str) -> str:
        """Route id of a code, empty when not listed."""
        return self._routes.get((system, code), "")

    def timing(self, system: str, code: str) -> float | None:
        """Days between administrations of a timing code."""
        return self._timings.get((system, code))

    def codes_of(self, measure: str) -> tuple[tuple[str, str], ...]:
        """Every (system, code) that a measure is recognised by, sorted; for search filters."""
        return tuple(
            sorted(key for key, code in self._results.items() if code and code.is_ == measure)
        )

    def _take(self, listed: CodeList, file: str) -> None:
        systems = (listed.system, *listed.also)
        if listed.by_prefix:
            self._prefixed.update(systems)
        tables: dict[str, tuple[dict[tuple[str, str], Any], Any]] = {
            "drugs": (self._drugs, DrugCode),
            "results": (self._results, ResultCode),
            "problems": (self._problems, ProblemCode),
            "procedures": (self._procedures, ProblemCode),
            "routes": (self._routes, RouteCode),
            "timings": (self._timings, TimingCode),
        }
        table, kind = tables[listed.for_]
        entries: dict[str, Any] = {}
        for code, raw in listed.codes.items():
            try:
                entry = msgspec.convert(raw, kind)
            except msgspec.ValidationError as error:
                raise KnowledgeError(f"{listed.system} {code}: {error}.", where=file) from None
            entries[code] = self._checked(entry, f"{listed.system} {code}", file)
        for code in listed.not_ours:
            if code in entries:
                raise KnowledgeError(f"{code}: listed, and not ours.", where=file)
            entries[code] = NOT_OURS if listed.for_ == "drugs" else None
        for code, entry in entries.items():
            for system in systems:
                key = (system, _undotted(code) if listed.by_prefix else code)
                if key in table:
                    raise KnowledgeError(
                        f"{system} {code} stands in two lists.", where=file, remedy="Keep one."
                    )
                table[key] = entry

    def _checked(self, entry: Any, where: str, file: str) -> Any:
        if isinstance(entry, DrugCode):
            return self._drug_of(entry, where, file)
        if isinstance(entry, TimingCode):
            return float(Fraction(str(entry.every_days)))
        known: Mapping[str, Any] = (
            self._content.measures
            if isinstance(entry, ResultCode)
            else self._content.routes
            if isinstance(entry, RouteCode)
            else {**self._content.problems, **self._content.procedures}
        )
        if entry.is_ not in known:
            raise KnowledgeError(f"{where}: {entry.is_!r} is not known.", where=file)
        return entry.is_ if isinstance(entry, RouteCode) else entry

    def _drug_of(self, entry: DrugCode, where: str, file: str) -> Drug:
        contents = dict(entry.contains)
        if entry.is_:
            contents[entry.is_] = entry.strength
        if not contents:
            raise KnowledgeError(f"{where}: says neither 'is' nor 'contains'.", where=file)
        components: list[Component] = []
        for ingredient, strength in contents.items():
            if ingredient not in self._content.ingredients:
                raise KnowledgeError(f"{where}: {ingredient!r} is no ingredient.", where=file)
            amount: float | None = None
            if strength:
                match = _STRENGTH.fullmatch(strength)
                unit = self._units.dose_unit(match[2]) if match else None
                amount = (
                    self._units.amount(ingredient, float(match[1]), unit)
                    if match and unit
                    else None
                )
                if amount is None:
                    raise KnowledgeError(
                        f"{where}: {strength!r} is no strength of {ingredient}.", where=file
                    )
            components.append(Component(ingredient, amount, entry.per))
        return Drug(tuple(components), entry.combined, entry.topical)

    def _by_prefix(
        self, table: Mapping[tuple[str, str], _Code], system: str, code: str
    ) -> _Code | None:
        """The longest listed prefix decides; systems may carry a version behind a bar."""
        if "|" in system:
            system = system.partition("|")[0]
            found = table.get((system, code))
            if found is not None:
                return found
        if system not in self._prefixed:
            return None
        code = _undotted(code)
        for length in range(len(code), 2, -1):
            key = (system, code[:length])
            if key in table:
                return table[key]
        return None


def _undotted(code: str) -> str:
    return code.replace(".", "").upper()
