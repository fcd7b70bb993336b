"""All that the author of a rule imports: conditions, findings, parameters, derivations.

The notation follows durable_rules (``c``, ``m``, ``none``, ``when_all``) but builds our own tree, so that the
same rule can be checked, compiled for the engine and written out as plain Python. Shapes that Python
would silently change (``a < m.x < b``, ``and``, ``or``, ``not``) are refused where they are written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rules.conditions import (
    Binding,
    Condition,
    FieldRef,
    Negation,
    Operator,
    ParameterRef,
    Pattern,
    Test,
    no_truth,
    written_at,
)
from rules.errors import UnsafeRule

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.facts import Fact, Finding


class _Field:
    """``m.x``: a field of the fact at hand, waiting for its comparison."""

    __slots__ = ("_name",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        self._name = name

    def _test(self, op: Operator, right: object) -> Test:
        if isinstance(right, _Bound):
            return Test(self._name, op, right.ref)
        if isinstance(right, ParameterRef | str | int | float | bool):
            return Test(self._name, op, right)
        if isinstance(right, _Field):
            raise UnsafeRule(
                f"m.{self._name} is compared with m.{right._name}: two fields of one fact.",  # noqa: SLF001
                where=written_at(),
                remedy="Compare them in a derivation and give the finding a yes/no field.",
            )
        raise UnsafeRule(
            f"m.{self._name} is compared with {right!r}, which no fact can hold.",
            where=written_at(),
        )

    def __eq__(self, right: object) -> Test:  # type: ignore[override]
        return self._test("==", right)

    def __ne__(self, right: object) -> Test:  # type: ignore[override]
        return self._test("!=", right)

    def __lt__(self, right: object) -> Test:
        return self._test("<", right)

    def __le__(self, right: object) -> Test:
        return self._test("<=", right)

    def __gt__(self, right: object) -> Test:
        return self._test(">", right)

    def __ge__(self, right: object) -> Test:
        return self._test(">=", right)

    def __bool__(self) -> bool:
        raise no_truth()

    def _arithmetic(self, *_: object) -> Test:
        raise UnsafeRule(
            f"arithmetic on m.{self._name}.",
            where=written_at(),
            remedy="Compute it in a derivation and test the result.",
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = (
        _arithmetic
    )
    __neg__ = __pos__ = __invert__ = __floordiv__ = __mod__ = __pow__ = _arithmetic


class _Message:
    def __getattr__(self, name: str) -> _Field:
        return _Field(name)


class _Bound:
    """``c.vka`` before ``<<``, or ``c.vka.about`` on the right of a comparison."""

    __slots__ = ("ref",)

    def __init__(self, alias: str, field: str = "") -> None:
        self.ref = FieldRef(alias, field)

    def __getattr__(self, field: str) -> _Bound:
        if self.ref.field:
            raise UnsafeRule(
                f"c.{self.ref.alias}.{self.ref.field}.{field} goes too deep.", where=written_at()
            )
        return _Bound(self.ref.alias, field)

    def __lshift__(self, pattern: object) -> Binding:
        if not isinstance(pattern, Pattern):
            raise UnsafeRule(
                f"c.{self.ref.alias} << needs finding(...) or fact(...).",
                where=written_at(),
                remedy="Put tests behind '&'.",
            )
        return Binding(self.ref.alias, pattern)


class _Captures:
    def __getattr__(self, alias: str) -> _Bound:
        return _Bound(alias)


m: Any = _Message()
c: Any = _Captures()


def finding(name: str) -> Pattern:
    """Match a finding by its name in ``findings.yaml``."""
    return Pattern(f"finding:{name}", (), written_at())


def fact(kind: str) -> Pattern:
    """Match the patient or the context (``patient``, ``context``); everything else is matched as a finding."""
    return Pattern(kind, (), written_at())


def none(pattern: Pattern) -> Negation:
    """Hold when no fact matches ``pattern``."""
    return Negation(pattern)


def parameter(name: str) -> Any:
    """Name a number of ``parameters.yaml``; its value on the day of the review is used."""
    return ParameterRef(name)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule found worth saying: the subject, and everything that counts as its reason."""

    subject: Fact | Finding
    because: tuple[Fact | Finding, ...]


def recommend(subject: Finding, *because: Fact | Finding) -> Outcome:
    """Recommend something about ``subject``; the others count as reasons too."""
    return Outcome(subject, (subject, *because))


RuleFunction = Callable[[Any], Outcome | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rule: conditions, the function that picks subject and reasons, and what it infers."""

    name: str
    condition: Condition
    conclude: RuleFunction
    infers: tuple[str, ...]
    silent: bool
    where: str


@dataclass(frozen=True, slots=True)
class _Conditioned:
    condition: Condition
    function: RuleFunction


def when_all(*condition: Binding | Negation) -> Callable[[RuleFunction], _Conditioned]:
    """State the conditions of a rule; the first must bind something."""

    def attach(function: RuleFunction) -> _Conditioned:
        return _Conditioned(condition, function)

    return attach


def rule(
    name: str, *, infers: Iterable[str] = (), silent: bool = False
) -> Callable[[_Conditioned], Rule]:
    """Name a rule; ``name`` is the key of its card and of its vignettes.

    ``infers`` names findings that firing gives to later rules (about the same subject), before anything is
    superseded. A ``silent`` rule has no card: it only infers.
    """
    where = written_at()

    def build(conditioned: _Conditioned) -> Rule:
        if not isinstance(conditioned, _Conditioned):
            raise UnsafeRule(
                f"rule {name!r} has no conditions.",
                where=where,
                remedy="Put @when_all(...) below @rule.",
            )
        return Rule(name, conditioned.condition, conditioned.function, tuple(infers), silent, where)

    return build


DerivationFunction = Callable[["Evidence"], Iterable["Finding"]]


@dataclass(frozen=True, slots=True)
class Derivation:
    """Arithmetic in plain Python: reads facts and earlier findings, gives findings."""

    name: str
    gives: tuple[str, ...]
    reads: tuple[str, ...]
    requires: tuple[str, ...]
    needs: tuple[str, ...]
    derive: DerivationFunction
    where: str


def derivation(
    *,
    gives: Iterable[str],
    reads: Iterable[str] = (),
    requires: Iterable[str] = (),
    needs: Iterable[str] = (),
) -> Callable[[DerivationFunction], Derivation]:
    """Declare a derivation: it runs after everything that gives what it ``reads`` or ``requires``.

    It is not called while one of the findings in ``requires`` is absent, nor while none of the facts in
    ``needs`` is there: ``class:vka``, ``measure:inr``, ``problem:ckd``, ``procedure:dialysis``, ``goal:inr``,
    ``order:inr``, ``food:natto``. Without ``needs`` the facts do not matter. It is not called either when
    nothing that could still fire asks for what it gives.
    """
    where = written_at()

    def build(function: DerivationFunction) -> Derivation:
        # Code compiled to C has no lines to point at
        at = (
            where if hasattr(function, "__code__") else f"{function.__module__}.{function.__name__}"
        )
        return Derivation(
            function.__name__,
            tuple(gives),
            tuple(reads),
            tuple(requires),
            tuple(needs),
            function,
            at,
        )

    return build
