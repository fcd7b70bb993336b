"""Numbers in the units a client's clinicians think in: thresholds in that family first, results also translated.

A translation is for reading alone. What a rule decides is decided in the units of the result (docs/adr/0011).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from rules.facts import Fact, LabResult

if TYPE_CHECKING:
    from rules.rulebook import Rulebook
    from rules.wording import Wording

Family = Literal["as-reported", "mass", "molar"]


class UnitFamilies:
    """What the packs say about the two families of units of a measure."""

    def __init__(self, rulebook: Rulebook, words: Wording) -> None:
        self._words = words
        told: Mapping[str, Any] = rulebook.texts["equivalents"]
        self._sentence: str = told["says"]
        self._measures: Mapping[str, Any] = told["measures"]
        self._family_of: dict[str, str] = {
            measure[family]: family
            for measure in self._measures.values()
            for family in ("mass", "molar")
        }

    def threshold(self, value: Any, unit: str, family: Family) -> str:
        """A parameter's value; a pair of both families begins with the client's own."""
        if family != "as-reported" and isinstance(value, Mapping):
            own = [key for key in value if self._family_of.get(key) == family]
            if own and all(isinstance(one, int | float) for one in value.values()):
                others = [key for key in value if key not in own]
                first, *rest = (self._words.amount(value[key], key) for key in (*own, *others))
                return f"{first} ({'; '.join(rest)})" if rest else first
        return self._words.parameter_value(value, unit)

    def equivalent(self, fact: Fact, family: Family) -> str:
        """What a result is in the client's family, in words; empty where it came so, or nothing is known of it."""
        if family == "as-reported" or not isinstance(fact, LabResult) or fact.value is None:
            return ""
        measure = self._measures.get(fact.measure)
        reported_in = self._family_of.get(fact.unit)
        if measure is None or fact.problem or reported_in is None or reported_in == family:
            return ""
        factor = measure["molar_per_mass"]
        value = fact.value * factor if family == "molar" else fact.value / factor
        rounded = round(value, measure["digits"][family])
        amount = f"{fact.comparator}{self._words.amount(rounded, measure[family])}"
        return self._sentence.format(amount=amount)
