"""Checks rules against what is declared and turns them into a program for any matcher.

What durable_rules would evaluate wrongly, or not survive, is refused here with the place and with what to write
instead: wrong types (it compares ``'10' > 5`` as text), tables for numbers, unbound names, overlong rules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from rules.authoring import Rule
from rules.conditions import Binding, FieldRef, Negation, ParameterRef, Pattern, Test
from rules.errors import UnsafeRule
from rules.program import (
    PATIENT,
    BaseType,
    Check,
    CompiledRule,
    CrossTest,
    Field,
    Item,
    Join,
    Kind,
    Known,
    KnownEarlier,
    Program,
    Schema,
    SingleTest,
    Step,
    Value,
    order_in_strata,
)

__all__ = ["Item", "Program", "compile_rules", "fit"]

LARGEST = 2**53  # beyond it whole numbers and floating-point numbers part company
LONGEST_TEXT = 2_000
MOST_PATTERNS = 15  # the engine holds 16 frames a rule, the patient included; the 17th fails on the patient's facts
MOST_TESTS = (
    24  # the engine's expression sequence has 32 places, some of them taken by its own marks
)
MOST_FIELDS = 120  # an optional field takes two of the engine's 252 properties

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TYPE = re.compile(r"(text|integer|number|boolean)(\?)?")
_RESERVED = frozenset({"id", "sid"})  # the engine's own; a join on them reads freed memory


def compile_rules(
    rules: Iterable[Rule], schema: Schema, parameters: Mapping[str, object]
) -> Program:
    """All rules as one program.

    ``parameters`` maps every known parameter to its value in force; ``None`` means known but not in force, and
    the rules that test it are listed as dormant.

    Raises:
        UnsafeRule: anything unknown, of clashing type, or outside the limits of the engine.
    """
    declared = _read_schema(schema)
    compiled: dict[str, CompiledRule] = {}
    infers: dict[str, tuple[str, ...]] = {}
    used: dict[str, set[str]] = {PATIENT: set()}
    dormant: list[tuple[str, str]] = []
    for rule in rules:
        if rule.name in infers:
            raise UnsafeRule(
                f"rule {rule.name!r} stands twice.", where=rule.where, remedy="Rename one."
            )
        for finding in rule.infers:
            if f"finding:{finding}" not in declared:
                raise UnsafeRule(
                    f"rule {rule.name!r} infers {finding!r}, which no findings.yaml declares.",
                    where=rule.where,
                    remedy="Declare it.",
                )
        checker = _Checker(rule, declared, parameters)
        outcome = checker.compile()
        infers[rule.name] = rule.infers
        if checker.waits_for:
            dormant.append((rule.name, checker.waits_for[0]))
            continue
        compiled[rule.name] = outcome
        for kind, field in checker.used:
            used.setdefault(kind, set()).add(field)
    strata = order_in_strata(
        compiled,
        {name: rule.kinds for name, rule in compiled.items()},
        {name: infers[name] for name in compiled},
        {name: rule.where for name, rule in compiled.items()},
    )
    for ready in compiled.values():
        for step in ready.steps:
            used.setdefault(step.kind, set())
    kinds = {
        kind: Kind(
            kind,
            number,
            tuple(declared[kind][field] for field in sorted(used[kind])),
            frozenset(declared[kind]),
        )
        for number, kind in enumerate(sorted(used))
    }
    # Kinds no rule looks at are known too: their items are passed over, an undeclared kind is an error.
    for kind in sorted(set(declared) - set(kinds)):
        kinds[kind] = Kind(kind, len(kinds), (), frozenset(declared[kind]))
    return Program(
        tuple(tuple(compiled[name] for name in stratum) for stratum in strata),
        kinds,
        tuple(sorted(dormant)),
    )


def _read_schema(schema: Schema) -> dict[str, dict[str, Field]]:
    declared: dict[str, dict[str, Field]] = {PATIENT: {}}
    for kind, fields in schema.items():
        if len(fields) > MOST_FIELDS:
            raise UnsafeRule(f"{kind!r} has more than {MOST_FIELDS} fields.", remedy="Split it.")
        declared[kind] = {}
        if kind.startswith("finding:"):
            declared[kind]["about"] = Field("about", "text", optional=False)
        for name, words in fields.items():
            match = _TYPE.fullmatch(words)
            if match is None:
                raise UnsafeRule(
                    f"{kind}.{name}: {words!r} is no type.",
                    remedy="Write text, integer, number or boolean.",
                )
            if not _NAME.fullmatch(name) or name in _RESERVED:
                raise UnsafeRule(
                    f"{kind}.{name}: no name for a field.",
                    remedy="Write lower-case words; not id or sid.",
                )
            declared[kind][name] = Field(name, _base(match[1]), optional=match[2] is not None)
    return declared


def _base(words: str) -> BaseType:
    match words:
        case "text" | "integer" | "number" | "boolean":
            return words
    raise AssertionError(words)  # pragma: no cover - the pattern above admits nothing else


class _Checker:
    """One rule on its way into the program."""

    def __init__(
        self,
        rule: Rule,
        declared: Mapping[str, Mapping[str, Field]],
        parameters: Mapping[str, object],
    ) -> None:
        self.rule = rule
        self.declared = declared
        self.parameters = parameters
        self.bound: dict[str, int] = {}
        self.steps: list[Step] = []
        self.used: list[tuple[str, str]] = []
        self.waits_for: list[str] = []  # parameters that are not in force
        self.where = rule.where

    def refuse(self, what: str, remedy: str) -> UnsafeRule:
        return UnsafeRule(f"rule {self.rule.name!r}: {what}", where=self.where, remedy=remedy)

    def compile(self) -> CompiledRule:
        """The rule with the patient in front, whether its author named the patient or not."""
        gate, rest = self._part_the_gate()
        if len(rest) > MOST_PATTERNS:
            raise self.refuse(
                f"more than {MOST_PATTERNS} patterns.", "Infer a finding from part of them."
            )
        if gate is None:
            self.steps.append(Step(PATIENT, (), (), negated=False))
        else:
            self._bind(gate)
        for condition in rest:
            if isinstance(condition, Binding):
                self._bind(condition)
            else:
                self.steps.append(self._step(condition.pattern, negated=True))
        if not self.bound:
            raise self.refuse(
                "nothing is bound, so there is nothing to speak about.",
                "Write c.x << finding(...).",
            )
        order = [part.alias for part in self.rule.condition if isinstance(part, Binding)]
        return CompiledRule(
            self.rule.name,
            self.rule.where,
            tuple(self.steps),
            tuple(order),
            tuple(self.bound[alias] for alias in order),
            frozenset(step.kind for step in self.steps[1:] if not step.negated),
        )

    def _part_the_gate(self) -> tuple[Binding | None, list[Binding | Negation]]:
        gate: Binding | None = None
        rest: list[Binding | Negation] = []
        for part in self.rule.condition:
            if not isinstance(part, Binding | Negation):
                raise self.refuse(
                    "a condition is no binding.", "Write c.x << finding(...) or none(finding(...))."
                )
            self.where = part.pattern.where or self.rule.where
            if part.pattern.kind != PATIENT:
                rest.append(part)
            elif isinstance(part, Negation):
                raise self.refuse(
                    "none(fact('patient')).",
                    "Write the opposite test: c.p << fact('patient') & ...",
                )
            elif gate is not None:
                raise self.refuse("the patient is bound twice.", "Join the tests of both with '&'.")
            else:
                gate = part
        return gate, rest

    def _bind(self, binding: Binding) -> None:
        self.where = binding.pattern.where or self.rule.where
        if binding.alias in self.bound:
            raise self.refuse(f"c.{binding.alias} is bound twice.", "Use another name.")
        step = self._step(binding.pattern, negated=False)
        self.bound[binding.alias] = len(self.steps)
        self.steps.append(step)

    def _step(self, pattern: Pattern, *, negated: bool) -> Step:
        self.where = pattern.where or self.rule.where
        if pattern.kind not in self.declared:
            raise self.refuse(
                f"{pattern.kind!r} is declared nowhere.",
                "Declare it in findings.yaml, or mend the name.",
            )
        tests: list[SingleTest] = []
        joins: list[CrossTest] = []
        for test in pattern.tests:
            field = self._field(pattern.kind, test.field, f"m.{test.field}")
            if field.optional:
                tests.append(Known(field.name))
            if isinstance(test.right, FieldRef):
                self._join(field, test, test.right, joins)
            else:
                value = self._value(field, test)
                if value is not None:
                    tests.append(Check(field.name, test.op, value))
        tests, joins = list(dict.fromkeys(tests)), list(dict.fromkeys(joins))
        if len(tests) + len(joins) > MOST_TESTS:
            raise self.refuse(
                f"more than {MOST_TESTS} tests in one pattern.",
                "Test some of them in a derivation.",
            )
        return Step(pattern.kind, tuple(tests), tuple(joins), negated)

    def _field(self, kind: str, name: str, written: str) -> Field:
        field = self.declared[kind].get(name)
        if field is None:
            raise self.refuse(
                f"{written}: {kind!r} has no such field.", "Declare it, or mend the name."
            )
        self.used.append((kind, name))
        return field

    def _join(self, field: Field, test: Test, ref: FieldRef, joins: list[CrossTest]) -> None:
        written = f"c.{ref.alias}.{ref.field}" if ref.field else f"c.{ref.alias}"
        if ref.alias not in self.bound:
            raise self.refuse(
                f"{written} is used before it is bound.",
                "Bind it further up (the patient comes first).",
            )
        if not ref.field:
            raise self.refuse(
                f"m.{field.name} is compared with a whole fact, {written}.",
                f"Write {written}.about.",
            )
        step = self.bound[ref.alias]
        other = self._field(self.steps[step].kind, ref.field, written)
        if other.type != field.type:
            raise self.refuse(
                f"m.{field.name} ({field.type}) is compared with {written} ({other.type}).",
                "Declare both with one type: the engine never finds 5 equal to 5.0.",
            )
        self._orderable(field, test)
        if other.optional:
            joins.append(KnownEarlier(step, other.name))
        joins.append(Join(field.name, test.op, step, other.name))

    def _orderable(self, field: Field, test: Test) -> None:
        if field.type in {"text", "boolean"} and test.op not in {"==", "!="}:
            raise self.refuse(
                f"m.{field.name} is {field.type} and has no order ({test.op}).",
                "Compare days or ranks in a derivation and give the finding a number or a yes/no field.",
            )

    def _value(self, field: Field, test: Test) -> Value | None:
        """The constant in the field's own type; ``None`` when its parameter is not in force."""
        self._orderable(field, test)
        value: object = test.right
        shown = "the constant"
        if isinstance(test.right, ParameterRef):
            shown = f"parameter {test.right.name!r}"
            if test.right.name not in self.parameters:
                raise self.refuse(
                    f"{shown} is unknown.", "Give it a dated value in parameters.yaml."
                )
            value = self.parameters[test.right.name]
            if value is None:
                self.waits_for.append(test.right.name)
                return None
        fitted = fit(field.type, value)
        if fitted is None:
            raise self.refuse(
                f"{shown} does not fit m.{field.name}, which is {field.type}.",
                "Use one plain value of that type within its limits; look tables up in a derivation.",
            )
        return fitted


def fit(kind: BaseType, value: object) -> Value | None:
    """A value in the exact type of a field, or ``None`` when it cannot be held there without change.

    Whole numbers and floating-point numbers stay within 2**53, texts within 2,000 characters; zero has no sign.
    """
    match kind, value:
        case ("boolean", bool()):
            return bool(value)
        case ("text", str()) if len(value) <= LONGEST_TEXT:
            return str.__str__(value)
        case (_, bool() | str()):
            return None
        case ("integer", int()) if abs(value) <= LARGEST:
            return int(value)
        case ("number", int() | float()) if abs(value) <= LARGEST and not math.isnan(value):
            # Joins compare the text of numbers first, and -0.0 reads unlike 0.0.
            return float(value) + 0.0
    return None
