"""An answer in few bytes: each finding and number once, named by its place wherever else it stands.

An answer repeats every finding below every other that rests on it. Folded, these are places in a list; facts are places
in the facts that are kept beside the answer (counted down from -1). Unfolding gives the canonical bytes again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

from rules.assessment import Assessment, Recommendation
from rules.facts import Fact, FactSet, Finding

# Equal values give equal bytes: dictionaries sorted, fields in the order of their declaration.
_encode = msgspec.json.Encoder(order="deterministic").encode
_FACTS = ("uses", "labs", "conditions", "procedures", "goals", "orders", "diets")
_replace = msgspec.structs.replace


class _Folded(msgspec.Struct, frozen=True):
    """``shared`` holds findings, and facts that were made on the way; ``numbers`` the parameters."""

    shared: list[Any]
    numbers: list[Any]
    answer: Any


_folded = msgspec.json.Decoder(_Folded)


def fold(assessment: Assessment, facts: FactSet) -> bytes:
    """An assessment made from ``facts``, without which engine made it, in few bytes."""
    return _encode(_Folding(facts).of(assessment))


def unfold(answer: bytes | msgspec.Raw, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The answer as plain values; what was shared is one object. ``facts`` are those kept beside it, decoded.

    Answers of earlier versions lie there whole, and come back as they are.
    """
    if not bytes(answer).startswith(b'{"shared":'):
        whole: dict[str, Any] = msgspec.json.decode(answer)
        return whole
    read = _folded.decode(answer)
    known = list(_facts_of(facts))
    shared: list[Any] = []

    def at(place: int) -> Any:
        return shared[place] if place >= 0 else known[-1 - place]

    def opened(one: dict[str, Any]) -> dict[str, Any]:
        if "because" in one:  # what a finding rests on always stands before it
            one["because"] = [at(place) for place in one["because"]]
        if "parameters" in one:
            one["parameters"] = [read.numbers[place] for place in one["parameters"]]
        if "chain" in one:
            one["chain"] = [at(place) for place in one["chain"]]
        return one

    def keep(one: dict[str, Any]) -> None:
        shared.append(opened(one))

    for one in read.shared:
        keep(one)
    found: dict[str, Any] = read.answer
    for one in found["recommendations"]:
        opened(one)
    found["findings"] = [at(place) for place in found["findings"]]
    return found


def whole(answer: bytes | msgspec.Raw, facts: bytes | msgspec.Raw) -> bytes:
    """The canonical bytes of an answer, folded or not."""
    if not bytes(answer).startswith(b'{"shared":'):
        return bytes(answer)
    return msgspec.json.encode(unfold(answer, msgspec.json.decode(facts)))


class _Folding:
    """Gives every finding and number of one assessment its place."""

    def __init__(self, facts: FactSet) -> None:
        self._shared: list[Any] = []
        self._numbers: list[Any] = []
        self._places = {id(fact): -1 - place for place, fact in enumerate(_facts_of(facts))}
        self._number_places: dict[int, int] = {}

    def of(self, assessment: Assessment) -> _Folded:
        answer = _replace(
            assessment,
            provenance=_replace(assessment.provenance, engine=""),
            recommendations=tuple(map(self._recommendation, assessment.recommendations)),
            findings=self._placed(assessment.findings),
        )
        return _Folded(self._shared, self._numbers, answer)

    def _recommendation(self, one: Recommendation) -> Recommendation:
        return _replace(
            one,
            because=self._placed(one.because),
            chain=self._placed(one.chain),
            parameters=self._numbered(one.parameters),
        )

    def _placed(self, reasons: tuple[Fact | Finding, ...]) -> tuple[int, ...]:
        places = self._places
        found = []
        for one in reasons:
            place = places.get(id(one))
            found.append(self._keep(one) if place is None else place)
        return tuple(found)

    def _keep(self, one: Fact | Finding) -> int:
        body: Any = one
        if isinstance(one, Finding):
            body = _replace(
                one, because=self._placed(one.because), parameters=self._numbered(one.parameters)
            )
        place = self._places[id(one)] = len(self._shared)
        self._shared.append(body)
        return place

    def _numbered(self, parameters: tuple[Any, ...]) -> tuple[int, ...]:
        places, numbers = self._number_places, self._numbers
        found = []
        for one in parameters:
            place = places.get(id(one))
            if place is None:
                place = places[id(one)] = len(numbers)
                numbers.append(one)
            found.append(place)
        return tuple(found)


def _facts_of(facts: FactSet | Mapping[str, Any]) -> Iterator[Any]:
    if isinstance(facts, FactSet):
        held = {name: getattr(facts, name) for name in ("patient", "context", *_FACTS)}
    else:
        held = cast("dict[str, Any]", facts)
    yield held["patient"]
    yield held["context"]
    for name in _FACTS:
        yield from held[name]
