"""What codes, names and units mean: the merged code lists of the active packs, as lookups without FHIR."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from rules.code_files import (
    CodeFile,
    CodeList,
    Coded,
    DrugCode,
    MeasureEntry,
    NameEntry,
    ProblemCode,
    ResultCode,
    RouteCode,
    TimingCode,
    Unresolved,
    read_code_files,
)
from rules.errors import KnowledgeError
from rules.naming import Found, NameFinder, TextFinder, fold

Dimension = Literal["mass", "units", "pieces", "volume", "drops"]
FREE_OF_VITAMIN_K = "free-of-vitamin-k"
OTHER = "other"
_STRENGTH = re.compile(r"(\d+(?:\.\d+)?) (\S+)")
_ANNOTATION = re.compile(r"[{}]")
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


class DoseUnit(NamedTuple):
    """What a dose unit counts: mass in micrograms, international units, pieces, mL, drops."""

    dimension: Dimension
    times: float = 1.0


class LabUnit(NamedTuple):
    """A unit of a measure: ``reported x times`` is the value in ``unit``."""

    unit: str
    family: str
    times: float
    plausible: tuple[float, float] | None


NOT_OURS = Drug(())


class Vocabulary:
    """Lookups over the merged code lists; immutable after loading, safe to share between threads."""

    def __init__(self, content: CodeFile, places: Mapping[int, str] | None = None) -> None:
        self.content = content
        self.ingredients = content.ingredients
        self.measures: Mapping[str, MeasureEntry] = content.measures
        self._titles = _titles_of(content)
        self._per_ug = {
            name: substance.units_per_ug
            for name, entry in content.ingredients.items()
            for substance in content.substances
            if set(substance.classes) & set(entry.classes)
        }
        self._dose_units = _dose_units_of(content)
        self._lab_units = _lab_units_of(content)
        self._prefixed: set[str] = set()
        self._drugs: dict[tuple[str, str], Drug] = {}
        self._results: dict[tuple[str, str], ResultCode | None] = {}
        self._problems: dict[tuple[str, str], ProblemCode | None] = {}
        self._procedures: dict[tuple[str, str], ProblemCode | None] = {}
        self._routes: dict[tuple[str, str], str] = {}
        self._timings: dict[tuple[str, str], float] = {}
        for place, listed in enumerate(content.code_lists):
            self._take(listed, (places or {}).get(place, ""))
        self._names = NameFinder(content.names)
        self._not_ours = NameFinder(_words_not_ours(content))
        self._foods = TextFinder(content.foods)
        self._purposes = TextFinder(content.purposes)
        self._result_names = _by_folded(content.result_names)
        self._problem_names = _by_folded(content.problem_names)
        self._route_words = {
            fold(word): name for name, entry in content.routes.items() for word in entry.words
        }
        # The words of products repeat endlessly in a population: each distinct text is read once.
        self.named = lru_cache(maxsize=8192)(self._find_names)
        self.speaks_of_other_medicines = lru_cache(maxsize=8192)(self._find_not_ours)

    # People ----------------------------------------------------------------------------------------------------

    def title(self, identifier: str) -> str:
        """The name people read; an id without a title is spelled out."""
        return self._titles.get(identifier) or identifier.replace("-", " ")

    def classes(self, ingredient: str) -> tuple[str, ...]:
        """Classes of an ingredient; empty for an unknown one."""
        entry = self.ingredients.get(ingredient)
        return entry.classes if entry else ()

    def unit_of(self, ingredient: str) -> str:
        """Canonical unit of an ingredient's amounts: ``[IU]``, ``ug`` or ``mg``."""
        entry = self.ingredients.get(ingredient)
        return entry.unit if entry else "mg"

    def members(self, ingredient_class: str) -> tuple[str, ...]:
        """Ingredients of a class."""
        return tuple(
            name for name, entry in self.ingredients.items() if ingredient_class in entry.classes
        )

    def narrows(self, specific: str, general: str) -> bool:
        """Tell whether ``specific`` is a closer name for ``general``."""
        entry = self.ingredients.get(specific)
        while entry is not None and entry.narrows:
            if entry.narrows == general:
                return True
            entry = self.ingredients.get(entry.narrows)
        return False

    # Codes -----------------------------------------------------------------------------------------------------

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

    def route_named(self, text: str) -> str:
        """Route id of a whole text (``by mouth``), empty when not understood."""
        return self._route_words.get(fold(text), "")

    def timing(self, system: str, code: str) -> float | None:
        """Days between administrations of a timing code."""
        return self._timings.get((system, code))

    def order_code(self, measure: str) -> Coded | None:
        """The code to order a measure by."""
        entry = self.measures.get(measure)
        return entry.order if entry else None

    def product_code(self, ingredient: str, amount: float | None) -> Coded | None:
        """The product that a draft of this amount names, if one is listed."""
        for one in self.content.products_to_order:
            if one.ingredient == ingredient and one.amount == amount:
                return Coded(system=one.system, code=one.code, display=one.display)
        return None

    def codes_of(self, measure: str) -> tuple[tuple[str, str], ...]:
        """Every (system, code) that a measure is recognised by, sorted; for search filters."""
        return tuple(
            sorted(key for key, code in self._results.items() if code and code.is_ == measure)
        )

    def drug_codes(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Every listed drug code with its ingredients; for search filters and prefilters."""
        return {
            key: tuple(component.ingredient for component in drug.components)
            for key, drug in self._drugs.items()
            if drug.components
        }

    @property
    def unresolved(self) -> tuple[Unresolved, ...]:
        """Codes known of and never looked up."""
        return tuple(one for listed in self.content.code_lists for one in listed.unresolved)

    # Words -----------------------------------------------------------------------------------------------------

    def _find_names(self, text: str) -> tuple[Found, ...]:
        return self._names.find(fold(text))

    def _find_not_ours(self, text: str) -> bool:
        return bool(self._not_ours.find(fold(text)))

    def foods_in(self, text: str) -> tuple[str, ...]:
        """Foods that the text mentions as eaten."""
        return self._foods.find(fold(text))

    def purposes_in(self, text: str) -> tuple[str, ...]:
        """Purposes that the text states."""
        return self._purposes.find(fold(text))

    def result_named(self, text: str) -> str:
        """Measure whose name is the whole text, or empty."""
        return self._result_names.get(fold(text), "")

    def problem_named(self, text: str) -> str:
        """Problem whose name is the whole text, or empty."""
        return self._problem_names.get(fold(text), "")

    def systemic_route(self, route: str) -> bool | None:
        """Whether a route id acts on the whole body; ``None`` for an unknown route."""
        entry = self.content.routes.get(route)
        return entry.systemic if entry else None

    # Units -----------------------------------------------------------------------------------------------------

    def dose_unit(self, text: str) -> DoseUnit | None:
        """What a unit of a dose counts, or ``None``."""
        known = self._dose_units.get(text)
        if known is None:
            folded = fold(text)
            known = self._dose_units.get(folded) or self._dose_units.get(
                _ANNOTATION.sub("", folded).rstrip(".")
            )
        return known

    def amount(self, ingredient: str, value: float, unit: DoseUnit) -> float | None:
        """``value`` in the ingredient's own unit; ``None`` when the unit cannot measure this substance."""
        own = self.unit_of(ingredient)
        per_ug = self._per_ug.get(ingredient)
        if unit.dimension == "units":
            if own != "[IU]":
                return None
            return round(value * unit.times, 6)
        if unit.dimension != "mass":
            return None
        micrograms = value * unit.times
        if own == "ug":
            return round(micrograms, 6)
        if own == "mg":
            return round(micrograms / 1000, 6)
        return round(micrograms * per_ug, 6) if per_ug else None

    def lab_unit(self, measure: str, text: str) -> LabUnit | None:
        """Canonical unit of a reported unit spelling for one measure; ``None`` when not understood."""
        known = self._lab_units.get((measure, text))
        return known or self._lab_units.get((measure, _squeezed(text)))

    def never_daily_from(self, ingredient: str) -> float | None:
        """Single amount from which daily use is never assumed, in the ingredient's unit."""
        unit = self.unit_of(ingredient)
        for entry in self.content.never_assumed_daily:
            if entry.unit == unit:
                return entry.from_
        return None

    # Loading ---------------------------------------------------------------------------------------------------

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
            self.content.measures
            if isinstance(entry, ResultCode)
            else self.content.routes
            if isinstance(entry, RouteCode)
            else {**self.content.problems, **self.content.procedures}
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
            if ingredient not in self.ingredients:
                raise KnowledgeError(f"{where}: {ingredient!r} is no ingredient.", where=file)
            amount: float | None = None
            if strength:
                match = _STRENGTH.fullmatch(strength)
                unit = self.dose_unit(match[2]) if match else None
                amount = self.amount(ingredient, float(match[1]), unit) if match and unit else None
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


def load_vocabulary(folders: Iterable[Path]) -> Vocabulary:
    """Load and merge the ``codes`` folders of the active packs.

    Raises:
        KnowledgeError: a list is malformed, names something unknown, or collides with another.
    """
    return Vocabulary(*read_code_files(folders))


def _undotted(code: str) -> str:
    return code.replace(".", "").upper()


def _squeezed(text: str) -> str:
    return fold(text).replace(" ", "")


def _by_folded(names: Mapping[str, Iterable[str]]) -> dict[str, str]:
    return {fold(word): name for name, words in names.items() for word in words}


def _titles_of(content: CodeFile) -> dict[str, str]:
    titles: dict[str, str] = {}
    for section in (
        content.sources,
        content.procedures,
        content.problems,
        content.purposes,
        content.foods,
        content.measures,
        content.ingredients,
    ):
        titles.update({name: entry.title for name, entry in section.items()})
    return titles


def _words_not_ours(content: CodeFile) -> Iterable[NameEntry]:
    yield NameEntry(is_=OTHER, words=content.not_ours, finds=())


def _dose_units_of(content: CodeFile) -> dict[str, DoseUnit]:
    units = content.dose_units
    table: dict[str, DoseUnit] = {}
    if units is None:
        return table
    pairs: list[tuple[str, DoseUnit]] = [(word, DoseUnit("pieces")) for word in units.pieces]
    pairs += [(word, DoseUnit("drops")) for word in units.drops]
    scaled: tuple[tuple[Dimension, Mapping[str, tuple[str, ...]]], ...] = (
        ("mass", units.mass),
        ("units", units.units),
        ("volume", units.volume),
    )
    for dimension, scales in scaled:
        for times, words in scales.items():
            pairs += [(word, DoseUnit(dimension, float(times))) for word in words]
    for word, unit in pairs:
        if table.setdefault(fold(word), unit) != unit:
            raise KnowledgeError(f"the dose unit {word!r} stands for two things.")
    return table


def _lab_units_of(content: CodeFile) -> dict[tuple[str, str], LabUnit]:
    table: dict[tuple[str, str], LabUnit] = {}
    for measure, entry in content.measures.items():
        for canonical, unit in entry.units.items():
            spellings: list[tuple[str, float]] = [(canonical, 1.0)]
            for alias in unit.aliases:
                spellings.append(
                    (alias, 1.0) if isinstance(alias, str) else (alias.as_, alias.times)
                )
            for text, times in spellings:
                known = LabUnit(canonical, unit.family, times, unit.plausible)
                for spelling in {text, _squeezed(text)}:
                    if table.setdefault((measure, spelling), known) != known:
                        raise KnowledgeError(f"{measure}: the unit {text!r} stands for two things.")
    return table
