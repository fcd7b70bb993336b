"""Whether a resource can add anything to a review: a fact, or a gap that must be told.

What this says no to, the reader would read without a fact and without a gap (a property test holds it to that).
It looks only at what decides, so it costs a fraction of reading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from fhir_adapter.elements import Resource, codes, codings, concept_of, mapping, mappings, words_of
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
        self._products: dict[bytes, bool] = {}
        decide: dict[str, Callable[[Resource], bool]] = {
            "Patient": _always,
            "NutritionIntake": _always,
            "Observation": self._observation,
            "Condition": self._condition,
            "Procedure": self._procedure,
            "Goal": self._goal,
            **dict.fromkeys(ORDERS, self._order),
            **dict.fromkeys(MEDICATION_RECORDS, self._medication),
        }
        self._decide = decide

    def reads(self, kind: str) -> bool:
        """Whether any rule looks at resources of this type."""
        return kind in self._decide

    def concerns(self, resource: Resource) -> bool:
        """Whether the resource can add a fact or a gap."""
        decide = self._decide.get(resource["resourceType"])
        return decide is not None and decide(resource)

    def concerns_product(self, concept: Any) -> bool:
        """Whether a medication told as a concept concerns a rule, or cannot be recognised at all."""
        try:
            key = orjson.dumps(concept)
        except (TypeError, ValueError):
            return True
        known = self._products.get(key)
        if known is None:
            known = self._product({"medicationCodeableConcept": concept})
            if len(self._products) >= _REMEMBERED:
                self._products.clear()
            self._products[key] = known
        return known

    def _product(self, record: Resource) -> bool:
        product = product_of(record, self._medications, self._vocabulary)
        return bool(product.parts) or not product.known

    def _medication(self, record: Resource) -> bool:
        concept = record.get("medicationCodeableConcept")
        if concept and "medicationReference" not in record and "medication" not in record:
            return self.concerns_product(concept)
        return self._product(record)

    def _observation(self, record: Resource) -> bool:
        concept = record.get("code")
        if self._measured(concept):
            return True
        if any(self._measured(one.get("code")) for one in mappings(record.get("component"))):
            return True
        if "category" in record and "social-history" in codes(record["category"]):
            return True
        if next(codings(concept), None) is not None:
            return False
        return any(self._vocabulary.result_named(words) for words in words_of(concept))

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

    def _condition(self, record: Resource) -> bool:
        concept, vocabulary = record.get("code"), self._vocabulary
        return any(vocabulary.problem(*one) for one in codings(concept)) or any(
            vocabulary.problem_named(words) for words in words_of(concept)
        )

    def _procedure(self, record: Resource) -> bool:
        return any(self._vocabulary.procedure(*one) for one in codings(record.get("code")))

    def _goal(self, record: Resource) -> bool:
        return any(self._measured(one.get("measure")) for one in mappings(record.get("target")))

    def _order(self, record: Resource) -> bool:
        concepts = [concept_of(record.get("code"))]
        concepts += [one.get("code") for one in mappings(record.get("item"))]
        return any(self._measured(one) for one in concepts)


def _always(_resource: Resource) -> bool:
    return True
