"""Whether a resource can add anything to a review: a fact, or a gap that must be told.

What this says no to, the reader would read without a fact and without a gap (a property test holds it to that).
It looks only at what decides, so it costs a fraction of reading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from fhir_adapter.elements import (
    Resource,
    codes,
    codings,
    concept_of,
    mapping,
    mappings,
    notes_of,
    text,
    words_of,
)
from fhir_adapter.medications import REQUESTS, STATEMENTS
from fhir_adapter.products import product_of
from rules.vocabulary import Vocabulary

MEDICATION_RECORDS: Final = STATEMENTS | REQUESTS
ORDERS: Final = frozenset({"ServiceRequest", "ProcedureRequest", "DiagnosticOrder"})
_REMEMBERED: Final = 16_384


class Relevance:
    """Decides for one vocabulary; ``medications`` are the shared Medication resources by ``Medication/id``."""

    def __init__(self, vocabulary: Vocabulary, medications: Mapping[str, Resource]) -> None:
        self._vocabulary = vocabulary
        self._medications = medications
        self._decided: dict[tuple[str, bytes], bool] = {}
        self._elements: dict[tuple[str, str, bytes], bool] = {}
        decide: dict[str, Callable[[Resource], bool]] = {
            "Patient": _always,
            "NutritionIntake": _always,
            "Observation": self._observation,
            "Condition": lambda one: self._once("problem", one.get("code"), self._problem),
            "Procedure": lambda one: self._once("procedure", one.get("code"), self._procedure),
            "Goal": self._goal,
            **dict.fromkeys(ORDERS, self._order),
            **dict.fromkeys(MEDICATION_RECORDS, self._medication),
        }
        self._decide = decide

    @property
    def kinds(self) -> frozenset[str]:
        """Types that some rule looks at."""
        return frozenset(self._decide)

    def reads(self, kind: str) -> bool:
        """Whether any rule looks at resources of this type."""
        return kind in self._decide

    def concerns(self, resource: Resource) -> bool:
        """Whether the resource can add a fact or a gap."""
        decide = self._decide.get(resource["resourceType"])
        return decide is not None and decide(resource)

    def concerns_element(self, kind: str, name: str, value: bytes) -> bool:
        """The same for a resource of which only the deciding element is known, as JSON.

        A medication concerns a rule by its product, a condition, procedure or order by its code alone. These
        repeat endlessly in a population, so each is decided once.
        """
        key = (kind, name, value)
        known = self._elements.get(key)
        if known is None:
            known = self.concerns({"resourceType": kind, name: orjson.loads(value)})
            if len(self._elements) >= _REMEMBERED:
                self._elements.clear()
            self._elements[key] = known
        return known

    def _product(self, record: Resource) -> bool:
        product = product_of(record, self._medications, self._vocabulary)
        return bool(product.parts) or not product.known

    def _once(self, about: str, value: Any, decide: Callable[[Any], bool]) -> bool:
        """What is decided about a part of a resource; such parts repeat endlessly in a population."""
        try:
            key = (about, orjson.dumps(value))
        except (TypeError, ValueError):
            return decide(value)
        known = self._decided.get(key)
        if known is None:
            known = decide(value)
            if len(self._decided) >= _REMEMBERED:
                self._decided.clear()
            self._decided[key] = known
        return known

    def _medication(self, record: Resource) -> bool:
        concept = record.get("medicationCodeableConcept")
        if concept and "medicationReference" not in record and "medication" not in record:
            return self._once("product", concept, self._coded_product)
        return self._product(record)

    def _coded_product(self, concept: Any) -> bool:
        return self._product({"medicationCodeableConcept": concept})

    def _observation(self, record: Resource) -> bool:
        if self._once("result", record.get("code"), self._result):
            return True
        components = mappings(record.get("component"))
        if any(self._once("result", one.get("code"), self._result) for one in components):
            return True
        return self._once("habit", record.get("category"), _habit) and self._foods(record)

    def _result(self, concept: Any) -> bool:
        named = self._vocabulary.result_named
        return self._measured(concept) or any(map(named, words_of(concept)))

    def _foods(self, record: Resource) -> bool:
        said = [text(record.get("valueString")), *words_of(record.get("valueCodeableConcept"))]
        said += [*words_of(record.get("code")), *notes_of(record)]
        for one in mappings(record.get("component")):
            said += [text(one.get("valueString")), *words_of(one.get("valueCodeableConcept"))]
        return any(self._vocabulary.foods_in(words) for words in said if words)

    def _measured(self, concept: Any) -> bool:
        result = self._vocabulary.result
        for coding in mappings(mapping(concept).get("coding")):
            system, code = coding.get("system"), coding.get("code")
            if (
                system.__class__ is str
                and code.__class__ is str
                and result(system.strip(), code.strip()) is not None
            ):
                return True
        return False

    def _problem(self, concept: Any) -> bool:
        vocabulary = self._vocabulary
        return any(vocabulary.problem(*one) for one in codings(concept)) or any(
            map(vocabulary.problem_named, words_of(concept))
        )

    def _procedure(self, concept: Any) -> bool:
        return any(self._vocabulary.procedure(*one) for one in codings(concept))

    def _goal(self, record: Resource) -> bool:
        return any(self._measured(one.get("measure")) for one in mappings(record.get("target")))

    def _order(self, record: Resource) -> bool:
        concepts = [concept_of(record.get("code"))]
        concepts += [one.get("code") for one in mappings(record.get("item"))]
        return any(self._measured(one) for one in concepts)


def _always(_resource: Resource) -> bool:
    return True


def _habit(category: Any) -> bool:
    return "social-history" in codes(category)
