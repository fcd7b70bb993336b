"""Which ingredients a medication record means: codes, contained or sibling Medication, and words together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fhir_adapter.elements import (
    Resource,
    codings,
    concept_of,
    mapping,
    mappings,
    number,
    reference_of,
    text,
    words_of,
)
from fhir_adapter.product_words import Part, is_topical_form, read_product_words
from rules.vocabulary import Vocabulary

MULTIVITAMIN = "multivitamin"
_VITAMIN_K = "vitamin-k"
_COMPLETE = frozenset(
    {
        "http://www.whocc.no/atc",
        "http://fhir.de/CodeSystem/bfarm/atc",
        "urn:oid:2.16.840.1.113883.6.73",
    }
)


class Product(NamedTuple):
    """``parts`` concern the rules; ``known`` is false when nothing said what the product is."""

    parts: tuple[Part, ...]
    name: str
    single: bool
    topical: bool
    known: bool
    problem: str = ""


class _Gathered:
    """What codes and words of one product have said so far."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.parts: dict[str, Part] = {}
        self.words: list[str] = []
        self.others = self.topical = self.free_of_vitamin_k = False
        self.listed = self.coded = self.settled = False

    def concept(self, value: Any) -> None:
        """Take a CodeableConcept: its codes, then its words."""
        vocabulary = self.vocabulary
        for system, code in codings(value):
            self.coded = True
            drug = vocabulary.drug(system, code)
            if drug is None:
                self.settled = self.settled or system in _COMPLETE
                continue
            self.settled = True
            self.others = self.others or drug.combined
            self.topical = self.topical or drug.topical
            for one in drug.components:
                self.add(Part(one.ingredient, one.amount, one.per, coded=True))
        for said in words_of(value):
            self.say(said)

    def say(self, words: str) -> None:
        """Take words of a product."""
        if words in self.words:
            return
        self.words.append(words)
        read = read_product_words(words, self.vocabulary)
        self.others = self.others or read.others
        self.topical = self.topical or read.topical
        self.free_of_vitamin_k = self.free_of_vitamin_k or read.free_of_vitamin_k
        for part in read.parts:
            self.add(part)

    def add(self, part: Part) -> None:
        """Add an ingredient; a closer name replaces a general one, a second strength must agree."""
        narrows = self.vocabulary.narrows
        for name in list(self.parts):
            if name == part.ingredient or narrows(name, part.ingredient):
                self.parts[name] = _merged(self.parts[name], part, self.vocabulary)
                return
            if narrows(part.ingredient, name):
                general = self.parts.pop(name)
                moved = general._replace(ingredient=part.ingredient)
                self.parts[part.ingredient] = _merged(moved, part, self.vocabulary)
                return
        self.parts[part.ingredient] = part

    def product(self) -> Product:
        """The product, after all was taken."""
        parts = dict(self.parts)
        multivitamin = MULTIVITAMIN in parts
        stated = (
            self.listed
            or self.free_of_vitamin_k
            or any(_VITAMIN_K in self.vocabulary.classes(name) for name in parts)
        )
        if multivitamin and stated:
            # its vitamin K is stated (or excluded), so the unknown composition no longer matters
            del parts[MULTIVITAMIN]
        known = bool(parts) or multivitamin or self.settled or self.others
        if not known and self.words:
            known = self.coded or any(
                self.vocabulary.speaks_of_other_medicines(words) for words in self.words
            )
        return Product(
            tuple(parts[name] for name in sorted(parts)),
            self.words[0] if self.words else "",
            len(parts) == 1 and not self.others and not multivitamin,
            self.topical,
            known,
        )


def _merged(one: Part, two: Part, vocabulary: Vocabulary) -> Part:
    coded = one.coded or two.coded
    if one.amount is None or two.amount is None or one.per != two.per:
        best = one if one.amount is not None or one.problem else two
        return best._replace(ingredient=one.ingredient, coded=coded)
    tolerance = vocabulary.content.label_tolerance
    if abs(one.amount - two.amount) > (tolerance.value if tolerance else 0.0) * one.amount:
        return Part(one.ingredient, None, problem="code and words give two strengths", coded=coded)
    return (one if one.coded else two)._replace(ingredient=one.ingredient, coded=coded)


def product_of(
    record: Resource, medications: Mapping[str, Resource], vocabulary: Vocabulary
) -> Product:
    """Read the medication[x] of a statement or request.

    References are followed to contained resources, then to Medications of the same bundle (by ``Type/id``,
    ``fullUrl`` or ``urn:uuid``), else the display is read as words.
    """
    gathered = _Gathered(vocabulary)
    medication = record.get("medication")
    concept = record.get("medicationCodeableConcept") or concept_of(medication)
    if concept:
        gathered.concept(concept)
    holder = mapping(record.get("medicationReference")) or mapping(medication)
    inner = mapping(holder.get("reference"))
    target = reference_of(holder)
    problem = ""
    if target:
        found = _followed(target, record, medications)
        if found is None:
            problem = "medication-not-found"
        else:
            _medication(found, record, medications, gathered, depth=0)
    for said in (text(holder.get("display")), text(inner.get("display"))):
        if said:
            gathered.say(said)
    return gathered.product()._replace(problem=problem)


def _followed(
    target: str, record: Resource, medications: Mapping[str, Resource]
) -> Resource | None:
    if target.startswith("#"):
        for one in mappings(record.get("contained")):
            if text(one.get("id")).lstrip("#") == target[1:]:
                return one
        return None
    target = target.partition("/_history/")[0]
    found = medications.get(target)
    if found is None and "/" in target:
        found = medications.get("/".join(target.split("/")[-2:]))
    return found


_DEEPEST = 3


def _medication(
    medication: Resource,
    record: Resource,
    medications: Mapping[str, Resource],
    gathered: _Gathered,
    depth: int,
) -> None:
    gathered.concept(medication.get("code"))
    for form in (
        medication.get("form"),
        medication.get("doseForm"),
        mapping(medication.get("product")).get("form"),
    ):
        if any(is_topical_form(words, gathered.vocabulary) for words in words_of(form)):
            gathered.topical = True
    ingredients = mappings(medication.get("ingredient")) or mappings(
        mapping(medication.get("product")).get("ingredient")
    )
    for ingredient in ingredients:
        if ingredient.get("isActive") is False:
            continue
        gathered.listed = True
        part = _Gathered(gathered.vocabulary)
        item = ingredient.get("item")
        part.concept(ingredient.get("itemCodeableConcept") or concept_of(item))
        target = reference_of(ingredient.get("itemReference")) or reference_of(item)
        if target and depth < _DEEPEST:
            found = _followed(target, record, medications)
            if found is not None:
                _medication(found, record, medications, part, depth + 1)
        if not part.parts:
            gathered.others = True
        for one in part.parts.values():
            gathered.add(_strengthened(one, ingredient, gathered.vocabulary))


def _strengthened(part: Part, ingredient: Resource, vocabulary: Vocabulary) -> Part:
    """The ingredient with its structured strength per piece or per mL."""
    ratio = mapping(ingredient.get("strength")) or mapping(ingredient.get("strengthRatio"))
    ratio = ratio or mapping(ingredient.get("amount"))
    top = mapping(ratio.get("numerator")) or mapping(ingredient.get("strengthQuantity"))
    value = number(top.get("value"))
    if value is None:
        return part._replace(coded=True)
    unit = vocabulary.dose_unit(text(top.get("code"))) or vocabulary.dose_unit(
        text(top.get("unit"))
    )
    amount = vocabulary.amount(part.ingredient, value, unit) if unit else None
    if amount is None:
        return Part(
            part.ingredient, problem="the unit of the strength is not understood", coded=True
        )
    bottom = mapping(ratio.get("denominator"))
    count = number(bottom.get("value")) or 1.0
    counted = vocabulary.dose_unit(text(bottom.get("code"))) or vocabulary.dose_unit(
        text(bottom.get("unit"))
    )
    dimension = counted.dimension if counted else "pieces"
    if dimension == "volume" and counted:
        return Part(part.ingredient, round(amount / (count * counted.times), 6), "mL", coded=True)
    if dimension not in {"pieces", "drops"}:
        return Part(part.ingredient, problem="the strength is not per piece or volume", coded=True)
    per = "drop" if dimension == "drops" else "piece"
    return Part(part.ingredient, round(amount / count, 6), per, coded=True)
