"""The code lists of a pack in their strict form: unknown keys and wrong types are refused.

A file under ``codes/`` may hold any of the sections of ``CodeFile``.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Flag = Literal["V", "V2", "K-high"]


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An entry of a code list; unknown keys are refused."""


class IngredientEntry(_Entry, frozen=True, kw_only=True):
    """A substance: its name for people, its classes, the unit its amounts are kept in."""

    title: str
    classes: tuple[str, ...]
    unit: Literal["[IU]", "ug", "mg"]
    narrows: str = ""
    topical_forms: bool = False


class Titled(_Entry, frozen=True, kw_only=True):
    """Anything that only has a name for people."""

    title: str


class UnitAlias(_Entry, frozen=True, kw_only=True):
    """A spelling that needs a power of ten: ``reported x times = canonical``."""

    as_: str = msgspec.field(name="as")
    times: float


class MeasureUnit(_Entry, frozen=True, kw_only=True):
    """One unit family of a measure; ``plausible`` bounds it, both ends included."""

    family: str
    plausible: tuple[float, float] | None = None
    aliases: tuple[str | UnitAlias, ...] = ()


class Basis(_Entry, frozen=True, kw_only=True):
    """Why a number without a citation stands here."""

    kind: Literal["consensus", "project-policy", "label", "standard", "arithmetic"]
    rationale: str


class Coded(_Entry, frozen=True, kw_only=True):
    """A code to write into an order."""

    system: str
    code: str
    display: str


class MeasureEntry(_Entry, frozen=True, kw_only=True):
    """A laboratory measure: source it is read from, units, and the code to order it by."""

    title: str
    source: str
    units: dict[str, MeasureUnit]
    without_unit: str = ""
    order: Coded | None = None
    basis: Basis | None = None


class ProductToOrder(_Entry, frozen=True, kw_only=True):
    """The product that a draft prescription of one amount names."""

    ingredient: str
    amount: float
    system: str
    code: str
    display: str


class DrugCode(_Entry, frozen=True, kw_only=True):
    """What a drug code contains; strengths are per piece, or per mL."""

    is_: str = msgspec.field(name="is", default="")
    strength: str = ""
    contains: dict[str, str] = {}
    per: Literal["piece", "mL"] = "piece"
    combined: bool = False
    topical: bool = False
    display: str = ""
    flag: Flag


class ResultCode(_Entry, frozen=True, kw_only=True):
    """What a laboratory code measures, and the unit family its definition demands."""

    is_: str = msgspec.field(name="is")
    group: str = ""
    family: str = ""
    display: str = ""
    flag: Flag


class ProblemCode(_Entry, frozen=True, kw_only=True):
    """What a problem or procedure code stands for."""

    is_: str = msgspec.field(name="is")
    stage: int | None = None
    history: bool = False
    display: str = ""
    flag: Flag


class RouteCode(_Entry, frozen=True, kw_only=True):
    """Which route a code stands for."""

    is_: str = msgspec.field(name="is")
    display: str = ""
    flag: Flag


class TimingCode(_Entry, frozen=True, kw_only=True):
    """Days between administrations (0.5 = twice a day); fractions as text (1/3)."""

    every_days: float | str
    flag: Flag


class Unresolved(_Entry, frozen=True, kw_only=True):
    """A code that is known of and deliberately never looked up, with the reason."""

    code: str
    for_: str = msgspec.field(name="for")
    flag: str
    why: str


class CodeList(_Entry, frozen=True, kw_only=True):
    """Codes of one system, with where they come from."""

    for_: Literal["drugs", "results", "problems", "procedures", "routes", "timings"] = (
        msgspec.field(name="for")
    )
    system: str
    source: str
    release: str
    also: tuple[str, ...] = ()
    by_prefix: bool = False
    codes: dict[str, dict[str, Any]]
    not_ours: dict[str, str] = {}
    unresolved: tuple[Unresolved, ...] = ()


class NameEntry(_Entry, frozen=True, kw_only=True):
    """Words and patterns that name one substance (or several, for a fixed combination)."""

    is_: str | tuple[str, ...] = msgspec.field(name="is")
    words: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    finds: tuple[str, ...]
    ignores: tuple[str, ...] = ()


class TextEntry(_Entry, frozen=True, kw_only=True):
    """A food or purpose, recognised in free text unless a refusal stands beside it."""

    title: str
    patterns: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    finds: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()


class Substance(_Entry, frozen=True, kw_only=True):
    """International units per microgram for some classes."""

    classes: tuple[str, ...]
    units_per_ug: float
    cite: str


class NeverDaily(_Entry, frozen=True, kw_only=True):
    """From this single amount on, daily is never assumed."""

    unit: str
    from_: float = msgspec.field(name="from")
    basis: str
    rationale: str


class MostInOne(_Entry, frozen=True, kw_only=True):
    """More than this in one piece, mL or drop is no strength of the ingredient it stands beside."""

    unit: str
    above: float
    basis: str
    rationale: str


class Tolerance(_Entry, frozen=True, kw_only=True):
    """How far two figures of one label may lie apart, as a fraction."""

    value: float
    basis: str
    rationale: str


class Amount(_Entry, frozen=True, kw_only=True):
    """A number with its unit."""

    value: float
    unit: str


class Reversal(_Entry, frozen=True, kw_only=True):
    """When vitamin K is a treatment and no supplement."""

    classes: tuple[str, ...]
    routes: tuple[str, ...]
    single_or_as_needed_from: Amount
    basis: Basis


class DoseUnits(_Entry, frozen=True, kw_only=True):
    """Spellings of dose units by what they count; the keys of the mappings are factors."""

    mass: dict[str, tuple[str, ...]] = {}
    units: dict[str, tuple[str, ...]] = {}
    pieces: tuple[str, ...] = ()
    volume: dict[str, tuple[str, ...]] = {}
    drops: tuple[str, ...] = ()


class RouteEntry(_Entry, frozen=True, kw_only=True):
    """A route: does it act on the whole body, and its words."""

    systemic: bool
    words: tuple[str, ...]


class FormWords(_Entry, frozen=True, kw_only=True):
    """Words of forms that act only where they are put."""

    topical: tuple[str, ...] = ()
    not_topical: tuple[str, ...] = ()


class MostPieces(_Entry, frozen=True, kw_only=True):
    """Up to which a number without any unit counts pieces."""

    value: float
    basis: str
    rationale: str


class TimingWords(_Entry, frozen=True, kw_only=True):
    """Words of how often; keys are days."""

    periods: dict[str, tuple[str, ...]]
    period_codes: dict[str, float | str]
    numbers: dict[str, float]
    adverbs: dict[str, tuple[str, ...]]
    times_of_day: dict[Literal["morning", "midday", "evening", "night"], tuple[str, ...]]
    weekdays: tuple[str, ...]
    times: tuple[str, ...]
    per: tuple[str, ...]
    every: tuple[str, ...]
    lasting: tuple[str, ...]
    as_needed: tuple[str, ...]
    single: tuple[str, ...]
    single_at_end: tuple[str, ...]  # "5 mg by mouth once", but not "once every morning"
    ambiguous: tuple[str, ...]
    serving: tuple[str, ...]
    each: tuple[str, ...]
    take: tuple[str, ...]
    mixed_with: tuple[str, ...]
    most_pieces: MostPieces


class CodeFile(_Entry, frozen=True, kw_only=True):
    """Everything one file under ``codes/`` may say."""

    ingredients: dict[str, IngredientEntry] = {}
    measures: dict[str, MeasureEntry] = {}
    problems: dict[str, Titled] = {}
    procedures: dict[str, Titled] = {}
    sources: dict[str, Titled] = {}
    foods: dict[str, TextEntry] = {}
    purposes: dict[str, TextEntry] = {}
    names: tuple[NameEntry, ...] = ()
    not_ours: tuple[str, ...] = ()
    result_names: dict[str, tuple[str, ...]] = {}
    problem_names: dict[str, tuple[str, ...]] = {}
    code_lists: tuple[CodeList, ...] = ()
    products_to_order: tuple[ProductToOrder, ...] = ()
    order_category: Coded | None = None
    dose_units: DoseUnits | None = None
    substances: tuple[Substance, ...] = ()
    never_assumed_daily: tuple[NeverDaily, ...] = ()
    most_in_one: tuple[MostInOne, ...] = ()
    label_tolerance: Tolerance | None = None
    reversal: Reversal | None = None
    routes: dict[str, RouteEntry] = {}
    forms: FormWords | None = None
    timing: TimingWords | None = None
