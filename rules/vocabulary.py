"""What codes, names and units mean: the merged code lists of the active packs, as lookups without FHIR."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import inf
from pathlib import Path

from rules.code_files import (
    Coded,
    CodeFile,
    MeasureEntry,
    NameEntry,
    Unresolved,
)
from rules.code_folders import read_code_files
from rules.code_maps import CodeMap, with_local_codes
from rules.code_tables import CodeTables
from rules.naming import Found, NameFinder, TextFinder, fold
from rules.units import Units

FREE_OF_VITAMIN_K = "free-of-vitamin-k"
OTHER = "other"


class Vocabulary:
    """Lookups over the merged code lists; immutable after loading, safe to share between threads."""

    def __init__(self, content: CodeFile, places: Mapping[int, str] | None = None) -> None:
        self.content = content
        self.ingredients = content.ingredients
        self.measures: Mapping[str, MeasureEntry] = content.measures
        self.local_codes_used: Mapping[str, int] = {}
        self.local_systems: frozenset[str] = frozenset()
        self._titles = _titles_of(content)
        self._units = Units(content)
        self.unit_of = self._units.unit_of
        self.dose_unit = self._units.dose_unit
        self.amount = self._units.amount
        self.lab_unit = self._units.lab_unit
        self._tables = CodeTables(content, places or {}, self._units)
        self.drug = self._tables.drug
        self.result = self._tables.result
        self.problem = self._tables.problem
        self.procedure = self._tables.procedure
        self.route = self._tables.route
        self.timing = self._tables.timing
        self.codes_of = self._tables.codes_of
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
        self.foods_in = lru_cache(maxsize=2048)(self._find_foods)
        self.purposes_in = lru_cache(maxsize=2048)(self._find_purposes)
        self.speaks_of_other_medicines = lru_cache(maxsize=8192)(self._find_not_ours)

    # People ----------------------------------------------------------------------------------------------------

    def title(self, identifier: str) -> str:
        """The name people read; an id without a title is spelled out."""
        return self._titles.get(identifier) or identifier.replace("-", " ")

    def classes(self, ingredient: str) -> tuple[str, ...]:
        """Classes of an ingredient; empty for an unknown one."""
        entry = self.ingredients.get(ingredient)
        return entry.classes if entry else ()

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

    @property
    def unresolved(self) -> tuple[Unresolved, ...]:
        """Codes known of and never looked up."""
        return tuple(one for listed in self.content.code_lists for one in listed.unresolved)

    # Words -----------------------------------------------------------------------------------------------------

    def _find_names(self, text: str) -> tuple[Found, ...]:
        return self._names.find(fold(text))

    def _find_not_ours(self, text: str) -> bool:
        return bool(self._not_ours.find(fold(text)))

    def _find_foods(self, text: str) -> tuple[str, ...]:
        """Foods that the text mentions as eaten."""
        return self._foods.find(fold(text))

    def _find_purposes(self, text: str) -> tuple[str, ...]:
        """Purposes that the text states."""
        return self._purposes.find(fold(text))

    def result_named(self, text: str) -> str:
        """Measure whose name is the whole text, or empty."""
        return self._result_names.get(fold(text), "")

    def problem_named(self, text: str) -> str:
        """Problem whose name is the whole text, or empty."""
        return self._problem_names.get(fold(text), "")

    def route_named(self, text: str) -> str:
        """Route id of a whole text (``by mouth``), empty when not understood."""
        return self._route_words.get(fold(text), "")

    def systemic_route(self, route: str) -> bool | None:
        """Whether a route id acts on the whole body; ``None`` for an unknown route."""
        entry = self.content.routes.get(route)
        return entry.systemic if entry else None

    # Units -----------------------------------------------------------------------------------------------------

    def never_daily_from(self, ingredient: str) -> float | None:
        """Single amount from which daily use is never assumed, in the ingredient's unit."""
        unit = self.unit_of(ingredient)
        for entry in self.content.never_assumed_daily:
            if entry.unit == unit:
                return entry.from_
        return None

    def most_in_one(self, ingredient: str) -> float:
        """The greatest strength of one piece, mL or drop, in the ingredient's unit."""
        unit = self.unit_of(ingredient)
        return min((e.above for e in self.content.most_in_one if e.unit == unit), default=inf)


def load_vocabulary(folders: Iterable[Path], code_maps: Sequence[CodeMap] = ()) -> Vocabulary:
    """Load and merge the ``codes`` folders of the active packs, with a hospital's own codes.

    Raises:
        KnowledgeError: a list is malformed, names something unknown, or collides with another; or a code map
            cannot be used.
    """
    content, places = read_code_files(folders)
    if not code_maps:
        return Vocabulary(content, places)
    packs = len(content.code_lists)
    content, used = with_local_codes(content, code_maps)
    added = enumerate(content.code_lists[packs:], start=packs)
    made = Vocabulary(content, places | {place: listed.source for place, listed in added})
    made.local_codes_used = used
    made.local_systems = frozenset(entry.system for one in code_maps for entry in one.entries)
    return made


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
