"""The tree of a rule's conditions: what authoring builds, the compiler checks, and both matchers read.

A node refuses what Python would silently change into something else: ``and``, ``or``, ``not``, ``|``, and chained
comparisons such as ``a < m.x < b``.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rules.errors import UnsafeRule

_NOTATION = frozenset(
    str(Path(__file__).with_name(name)) for name in ("conditions.py", "authoring.py")
)

Operator = Literal["==", "!=", "<", "<=", ">", ">="]
Constant = str | int | float | bool


@dataclass(frozen=True, slots=True)
class ParameterRef:
    """A number of the knowledge, to be looked up for the day of the review."""

    name: str


@dataclass(frozen=True, slots=True)
class FieldRef:
    """A field of a fact bound earlier in the same rule (``c.vka.about``)."""

    alias: str
    field: str


@dataclass(frozen=True, slots=True)
class Test:
    """One comparison of a field of the fact at hand with a constant, a parameter or an earlier fact."""

    field: str
    op: Operator
    right: Constant | ParameterRef | FieldRef

    __test__ = False

    def __and__(self, other: object) -> Conjunction:
        return Conjunction((self,)) & other

    def __or__(self, other: object) -> Conjunction:
        raise no_alternatives()

    def __bool__(self) -> bool:
        raise no_truth()


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Several tests that must all hold."""

    tests: tuple[Test, ...]

    def __and__(self, other: object) -> Conjunction:
        if isinstance(other, Test):
            return Conjunction((*self.tests, other))
        if isinstance(other, Conjunction):
            return Conjunction((*self.tests, *other.tests))
        raise UnsafeRule(f"'&' joins tests, not {type(other).__name__}.", where=written_at())

    def __or__(self, other: object) -> Conjunction:
        raise no_alternatives()

    def __bool__(self) -> bool:
        raise no_truth()


@dataclass(frozen=True, slots=True)
class Pattern:
    """A kind of fact, or a named finding, together with what must hold of it."""

    kind: str
    tests: tuple[Test, ...] = ()
    where: str = ""

    def __and__(self, other: object) -> Pattern:
        if isinstance(other, Test):
            return Pattern(self.kind, (*self.tests, other), self.where)
        if isinstance(other, Conjunction):
            return Pattern(self.kind, (*self.tests, *other.tests), self.where)
        raise UnsafeRule(
            f"a pattern takes tests after '&', not {type(other).__name__}.", where=written_at()
        )

    def __or__(self, other: object) -> Pattern:
        raise no_alternatives()

    def __bool__(self) -> bool:
        raise no_truth()


@dataclass(frozen=True, slots=True)
class Binding:
    """A pattern whose match gets a name that later patterns, and the card, can use."""

    alias: str
    pattern: Pattern

    def __and__(self, other: object) -> Binding:  # '<<' binds tighter than '&' in Python
        return Binding(self.alias, self.pattern & other)

    def __or__(self, other: object) -> Pattern:
        raise no_alternatives()

    def __bool__(self) -> bool:
        raise no_truth()


@dataclass(frozen=True, slots=True)
class Negation:
    """Holds when nothing matches the pattern."""

    pattern: Pattern

    def __and__(self, other: object) -> Pattern:
        raise UnsafeRule("'&' joins tests, not conditions.", where=written_at(), remedy="Use ','.")

    def __or__(self, other: object) -> Pattern:
        raise no_alternatives()

    def __bool__(self) -> bool:
        raise no_truth()


Condition = tuple[Binding | Negation, ...]


def written_at() -> str:
    """``file:line`` of the pack source that is being read, for error messages."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename in _NOTATION:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""


def no_alternatives() -> UnsafeRule:
    """Why ``|`` is refused, and what to write instead."""
    return UnsafeRule(
        "'|' in a condition.",
        where=written_at(),
        remedy="Write two rules, or infer one finding from either side in a derivation.",
    )


def no_truth() -> UnsafeRule:
    """Why a condition has no truth value in Python, and what to write instead."""
    return UnsafeRule(
        "a condition is used as true or false ('and', 'or', 'not', or a chained comparison such as a < m.x < b).",
        where=written_at(),
        remedy="Join tests with '&'; write both ends of a range as two tests; write none(...) for 'not'.",
    )
