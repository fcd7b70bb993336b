"""All that the author of a rule imports: conditions, findings, parameters, derivations.

The notation follows durable_rules (``c``, ``m``, ``none``, ``when_all``) but builds our own tree, so that the
same rule can be checked, compiled for the engine and written out as plain Python. Shapes that Python
would silently change (``a < m.x < b``, ``and``, ``or``, ``not``) are refused where they are written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rules.errors import UnsafeRule

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.facts import Fact, Finding

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
        raise _no_alternatives()

    def __bool__(self) -> bool:
        raise _no_truth()


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Several tests that must all hold."""

    tests: tuple[Test, ...]

    def __and__(self, other: object) -> Conjunction:
        if isinstance(other, Test):
            return Conjunction((*self.tests, other))
        if isinstance(other, Conjunction):
            return Conjunction((*self.tests, *other.tests))
        raise UnsafeRule(f"'&' joins tests, not {type(other).__name__}.", where=_here())

    def __or__(self, other: object) -> Conjunction:
        raise _no_alternatives()

    def __bool__(self) -> bool:
        raise _no_truth()


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
            f"a pattern takes tests after '&', not {type(other).__name__}.", where=_here()
        )

    def __or__(self, other: object) -> Pattern:
        raise _no_alternatives()

    def __bool__(self) -> bool:
        raise _no_truth()


@dataclass(frozen=True, slots=True)
class Binding:
    """A pattern whose match gets a name that later patterns, and the card, can use."""

    alias: str
    pattern: Pattern

    def __and__(self, other: object) -> Binding:  # '<<' binds tighter than '&' in Python
        return Binding(self.alias, self.pattern & other)

    def __or__(self, other: object) -> Pattern:
        raise _no_alternatives()

    def __bool__(self) -> bool:
        raise _no_truth()


@dataclass(frozen=True, slots=True)
class Negation:
    """Holds when nothing matches the pattern."""

    pattern: Pattern


Condition = tuple[Binding | Negation, ...]


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
                where=_here(),
                remedy="Compare them in a derivation and give the finding a yes/no field.",
            )
        raise UnsafeRule(
            f"m.{self._name} is compared with {right!r}, which no fact can hold.", where=_here()
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
        raise _no_truth()

    def _arithmetic(self, *_: object) -> Test:
        raise UnsafeRule(
            f"arithmetic on m.{self._name}.",
            where=_here(),
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
                f"c.{self.ref.alias}.{self.ref.field}.{field} goes too deep.", where=_here()
            )
        return _Bound(self.ref.alias, field)

    def __lshift__(self, pattern: object) -> Binding:
        if not isinstance(pattern, Pattern):
            raise UnsafeRule(
                f"c.{self.ref.alias} << needs finding(...) or fact(...).",
                where=_here(),
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
    return Pattern(f"finding:{name}", (), _here())


def fact(kind: str) -> Pattern:
    """Match the patient or the context (``patient``, ``context``); everything else is matched as a finding."""
    return Pattern(kind, (), _here())


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
    where = _here()

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
    where = _here()

    def build(function: DerivationFunction) -> Derivation:
        return Derivation(
            function.__name__,
            tuple(gives),
            tuple(reads),
            tuple(requires),
            tuple(needs),
            function,
            where,
        )

    return build


def _here() -> str:
    """``file:line`` of the pack source that is being read, for error messages."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""


def _no_alternatives() -> UnsafeRule:
    return UnsafeRule(
        "'|' in a condition.",
        where=_here(),
        remedy="Write two rules, or infer one finding from either side in a derivation.",
    )


def _no_truth() -> UnsafeRule:
    return UnsafeRule(
        "a condition is used as true or false ('and', 'or', 'not', or a chained comparison such as a < m.x < b).",
        where=_here(),
        remedy="Join tests with '&'; write both ends of a range as two tests; write none(...) for 'not'.",
    )
