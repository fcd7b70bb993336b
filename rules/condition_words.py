"""The conditions of a rule as sentences that a pharmacist reads: findings by their titles, numbers with their units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rules.conditions import Binding, FieldRef, Negation, Operator, ParameterRef, Pattern, Test
from rules.wording import Wording

if TYPE_CHECKING:
    from rules.authoring import Rule
    from rules.knowledge import FindingModel, Parameter
    from rules.rulebook import Rulebook

_SAID: Final[dict[Operator, str]] = {
    "==": "is", "!=": "is known and is not", "<": "is below", "<=": "is at most", ">": "is above", ">=": "is at least",
}  # fmt: skip
_PLAIN: Final = {
    "age_years": "age in years", "age_days": "age in days", "sex": "sex", "hook": "hook", "moment": "moment of the call",
    "verbosity": "verbosity", "profile": "band profile",
}  # fmt: skip


class ConditionWords:
    """Says conditions in the words of one rulebook."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook
        self._words = Wording(rulebook)

    def say(self, rule: Rule) -> tuple[str, ...]:
        """One sentence for each condition; all of them must hold."""
        return tuple(self.say_part(rule, part) for part in rule.condition)

    def say_part(self, rule: Rule, part: Binding | Negation) -> str:
        """One condition as a sentence."""
        if isinstance(part, Negation):
            return f"there is no finding “{self._pattern(rule, part.pattern)}"
        if part.pattern.kind in {"patient", "context"}:
            subject = "the patient" if part.pattern.kind == "patient" else "the call"
            tests = " and ".join(
                self.say_test(rule, part.pattern, one) for one in part.pattern.tests
            )
            return f"of {subject}, {tests}" if tests else f"there is {subject}"
        return f"there is a finding “{self._pattern(rule, part.pattern)}"

    def _pattern(self, rule: Rule, pattern: Pattern) -> str:
        tests = " and ".join(self.say_test(rule, pattern, one) for one in pattern.tests)
        model = self._model(pattern)
        title = model.title if model else pattern.kind
        return f"{title}”{', ' if tests else ''}{tests}"

    def _model(self, pattern: Pattern) -> FindingModel | None:
        return self._rulebook.findings.get(pattern.kind.removeprefix("finding:"))

    def say_test(self, rule: Rule, pattern: Pattern, test: Test) -> str:
        """One comparison as words."""
        if isinstance(test.right, FieldRef):
            return self._joined(rule, test, test.right)
        model = self._model(pattern)
        field = _PLAIN.get(test.field, test.field.replace("_", " "))
        if isinstance(test.right, ParameterRef):
            return f"{field} {_SAID[test.op]} {self.parameter(test.right.name)}"
        kind = model.fields.get(test.field, "text").rstrip("?") if model else "text"
        if isinstance(test.right, bool):
            yes = test.right == (test.op == "==")
            return f"{field}: {'yes' if yes else 'no'}"
        if isinstance(test.right, str):
            value = (
                self._words.title(test.right)
                if test.field == "about"
                else self._words.value(test.right, kind)
            )
            return f"{'subject' if test.field == 'about' else field} {_SAID[test.op]} {value}"
        unit = model.units.get(test.field, "") if model else ""
        return f"{field} {_SAID[test.op]} {self._words.parameter_value(test.right, unit)}"

    def _joined(self, rule: Rule, test: Test, other: FieldRef) -> str:
        bound = next(
            part.pattern
            for part in rule.condition
            if isinstance(part, Binding) and part.alias == other.alias
        )
        model = self._model(bound)
        title = f"“{model.title}”" if model else f"the {bound.kind}"
        if test.field == other.field == "about" and test.op == "==":
            return f"about the same subject as {title}"
        theirs = other.field.replace("_", " ")
        return f"{test.field.replace('_', ' ')} {_SAID[test.op]} the {theirs} of {title}"

    def parameter(self, name: str) -> str:
        """The newest value of a number, and its name; profiles one by one where they differ."""
        parameter = self._rulebook.parameters[name]
        return f"{self._newest(parameter)} (`{name}`)"

    def _newest(self, parameter: Parameter) -> str:
        if parameter.profiles:
            return "the number of the band profile"
        value = parameter.values[max(parameter.values)].value
        return (
            "no number any more"
            if value is None
            else self._words.parameter_value(value, parameter.unit)
        )
