"""What is known about one patient: plain typed facts, read from the record, without FHIR.

Facts are immutable values. Everything optional is ``None`` when unknown: unknown is never zero.
Units are canonical keys of the vocabulary: ``[IU]`` for vitamin D amounts, ``ug`` for vitamin K
amounts, ``mg`` for other drugs, ``ng/mL`` or ``nmol/L`` for 25(OH)D as reported, never converted.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

import msgspec

Taking = Literal["yes", "uncertain", "no", "draft"]
Scalar = str | int | float | bool | None


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One thing the record says; ``source`` lists the FHIR references it was read from."""

    source: tuple[str, ...] = ()


class Patient(Fact, frozen=True, kw_only=True):
    """Who the review is about; ages are counted at the day of the review.

    ``age_days`` and ``age_years`` are completed days and years; ``age_approximate`` marks a
    birth date given only as a month or a year.
    """

    id: str = ""
    birth_date: date | None = None
    age_days: int | None = None
    age_years: int | None = None
    age_approximate: bool = False
    sex: str | None = None
    deceased: bool = False


class LabResult(Fact, frozen=True, kw_only=True):
    """A laboratory result in the unit family in which it was reported.

    ``measure`` is a vocabulary id (``inr``, ``25ohd-total`` ...). ``problem`` is empty when the value
    is usable, else the code of the reason (``no-unit``, ``unit-not-understood``, ``unit-mismatch``,
    ``implausible``, ``no-value``, ``no-date``); a result with a problem is never used for a decision.
    ``reported`` repeats value and unit as received, for people. ``comparator`` is ``""`` or one of ``< <= >= >``.
    """

    measure: str
    value: float | None = None
    unit: str = ""
    comparator: str = ""
    taken: date | None = None
    instant: datetime | None = None
    status: str = "final"
    performer: str = ""
    code: str = ""
    group: str = ""
    specimen: str = ""
    reference_high: float | None = None
    reported: str = ""
    problem: str = ""


class MedicationUse(Fact, frozen=True, kw_only=True):
    """One ingredient of one medication or supplement record (a product with two has two uses).

    ``record`` is the FHIR reference of the statement or request; ``product`` the words of the record
    (free text, for people only); ``ingredient`` a vocabulary id; ``classes`` its classes (``vka`` ...).
    ``taking`` folds status, adherence and intent: ``yes`` active, ``draft`` proposed now, ``uncertain``
    on hold, unknown or intended, ``no`` stopped, completed or not taken. Refusals (``doNotPerform``) and
    entered-in-error records never become facts.
    ``amount`` is the amount per administration in ``unit``; ``interval_days`` the days between
    administrations (0.5 = twice a day); ``daily`` = amount / interval_days. ``dose_known`` is false when
    ``daily`` cannot be computed; then ``dose_problem`` says why.
    ``start`` is the first day; with ``start_is_bound`` it started on that day or earlier (asserted or
    authored dates). ``end`` is the last day (inclusive), ``end_basis`` where it came from.
    ``bounded_days`` is the planned length of the course, ``doses`` the planned number of administrations.
    """

    record: str
    ingredient: str
    classes: tuple[str, ...] = ()
    product: str = ""
    kind: Literal["statement", "request"] = "statement"
    taking: Taking = "yes"
    status: str = "active"
    selected: bool = False
    coded: bool = True
    systemic: bool | None = True
    route: str = ""
    amount: float | None = None
    unit: str = ""
    interval_days: float | None = None
    daily: float | None = None
    dose_known: bool = False
    dose_problem: str = ""
    dose_note: str = ""
    as_needed: bool = False
    single: bool = False
    start: date | None = None
    start_is_bound: bool = False
    end: date | None = None
    end_basis: str = ""
    bounded_days: int | None = None
    doses: int | None = None
    recorded: date | None = None
    purposes: tuple[str, ...] = ()
    single_ingredient: bool = True


class Condition(Fact, frozen=True, kw_only=True):
    """A problem of the list; ``problem`` is a vocabulary id; refuted and erroneous ones never become facts."""

    problem: str
    clinical_status: Literal["active", "resolved", "unknown"] = "active"
    onset: date | None = None
    abated: date | None = None
    title: str = ""
    stage: int | None = None


class Procedure(Fact, frozen=True, kw_only=True):
    """A completed procedure that matters (``mechanical-valve``, ``bariatric-surgery``, ``dialysis`` ...)."""

    procedure: str
    performed: date | None = None
    title: str = ""


class Goal(Fact, frozen=True, kw_only=True):
    """A target range of a measure set for this patient (INR 2.5 to 3.5), both ends inclusive."""

    measure: str
    low: float | None = None
    high: float | None = None


class LabOrder(Fact, frozen=True, kw_only=True):
    """A laboratory order: open (``pending``) or proposed in this call (``draft``)."""

    measure: str
    state: Literal["pending", "draft"] = "pending"
    authored: date | None = None
    due: date | None = None
    selected: bool = False


class Diet(Fact, frozen=True, kw_only=True):
    """A food or habit that the record mentions as current (``natto``)."""

    food: str
    recorded: date | None = None
    says: str = ""


class Context(Fact, frozen=True, kw_only=True):
    """What the review was asked for: the hook, the amount of teaching, the band profile.

    ``moment`` is ``view`` or ``order``. ``unread`` maps each source that could not be had
    (``medication-statements``, ``medication-requests``, ``labs-inr`` ...) to the reason.
    """

    hook: str = "patient-view"
    moment: Literal["view", "order"] = "view"
    verbosity: Literal["standard", "education"] = "standard"
    profile: str = "nam-2011"
    unread: dict[str, str] = {}


class FactSet(msgspec.Struct, frozen=True, kw_only=True):
    """All facts of one patient, as one door handed them over."""

    patient: Patient
    context: Context = Context()
    uses: tuple[MedicationUse, ...] = ()
    labs: tuple[LabResult, ...] = ()
    conditions: tuple[Condition, ...] = ()
    procedures: tuple[Procedure, ...] = ()
    goals: tuple[Goal, ...] = ()
    orders: tuple[LabOrder, ...] = ()
    diets: tuple[Diet, ...] = ()


class ParameterUse(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter that was consulted: the value in force, since when, and on whose word."""

    name: str
    title: str
    value: Any
    unit: str
    since: date
    cite: str | None = None
    basis: str = ""
    says: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something inferred from facts; ``about`` is the subject it is joined on (an ingredient, a measure).

    ``values`` holds the declared fields of ``findings.yaml``; a missing optional field is unknown.
    ``because`` are the facts and findings it rests on; ``missing`` what would have made it surer.
    """

    name: str
    about: str = ""
    values: dict[str, Scalar | date] = {}
    because: tuple[Fact | Finding, ...] = ()
    parameters: tuple[ParameterUse, ...] = ()
    missing: tuple[str, ...] = ()

    def __getattr__(self, field: str) -> Any:
        try:
            return self.values[field]
        except KeyError:
            raise AttributeError(f"finding {self.name!r} has no value {field!r}") from None

    @property
    def source(self) -> tuple[str, ...]:
        """FHIR references of every fact below this finding, first mention first, without repeats."""
        seen: dict[str, None] = {}
        for reason in self.because:
            seen.update(dict.fromkeys(reason.source))
        return tuple(seen)
