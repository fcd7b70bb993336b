"""The sieve: which lines of a file must be looked at, decided on raw bytes where that is certain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from fhir_adapter.elements import Resource
from fhir_adapter.relevance import Relevance
from rules.vocabulary import Vocabulary


class Sifted(NamedTuple):
    """A line with its number from 0; ``certain`` when it counts as it is, without being parsed."""

    number: int
    line: bytes
    certain: bool


class Sieve:
    """Sifts lines for one vocabulary."""

    def __init__(
        self, vocabulary: Vocabulary, medications: Mapping[str, Resource], *, quick: bool = True
    ) -> None:
        self._relevance = Relevance(vocabulary, medications)
        self.reads = self._relevance.reads
        self.concerns = self._relevance.concerns
        self.quick = False

    def sift(self, data: bytes, kind: str) -> Iterator[Sifted]:
        """Lines of ``data`` that may matter; ``kind`` is the type of its resources, empty when mixed."""
        for number, line in enumerate(data.split(b"\n")):
            if line and not line.isspace():
                yield Sifted(number, line, certain=False)
