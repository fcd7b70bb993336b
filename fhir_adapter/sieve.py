"""The sieve: which lines of a file must be looked at, decided on raw bytes where that is certain.

Nothing is skipped that the exact way (parse, then ``Relevance``) would keep; a property test holds it to that.

- Of medications, conditions, procedures and orders one element decides. Where it stands plainly in the line it
  is cut out and decided once for all its repetitions; a line where it does not is parsed.
- Results are searched for the codes of the active packs, 16 MB at a time (google-re2, the extra ``batch``).
  What could be a gap is found as well: a result known only by its name, written in whatever way.
- A line that writes a plain character as an escape, or holds a type that does not belong there, is parsed.

Without google-re2 every line of results is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from fhir_adapter.elements import Resource
from fhir_adapter.relevance import MEDICATION_RECORDS, ORDERS, Relevance
from rules.naming import fold
from rules.vocabulary import Vocabulary

_ESCAPED_ASCII: Final = rb"\\u00[0-7]"
# A JSON object of plain texts, and a concept or reference that is made of such: no escape, nothing nested further.
_TEXT: Final = rb'"[^"\\]*"'
_PAIR: Final = _TEXT + rb"\s*:\s*(?:" + _TEXT + rb"|[a-z0-9.+-]+)"
_FLAT: Final = rb"\{\s*" + _PAIR + rb"(?:\s*,\s*" + _PAIR + rb")*\s*\}"
_LIST: Final = rb"\[\s*" + _FLAT + rb"(?:\s*,\s*" + _FLAT + rb")*\s*\]"
_CONCEPT: Final = (
    rb'\{\s*(?:"coding"\s*:\s*'
    + _LIST
    + rb'(?:\s*,\s*"text"\s*:\s*'
    + _TEXT
    + rb')?|"text"\s*:\s*'
    + _TEXT
    + rb'(?:\s*,\s*"coding"\s*:\s*'
    + _LIST
    + rb")?)\s*\}"
)
_PRODUCT: Final = re.compile(
    rb'"(medicationCodeableConcept|medicationReference)"\s*:\s*(' + _CONCEPT + rb"|" + _FLAT + rb")"
)
_CODE: Final = re.compile(rb'"(code)"\s*:\s*(' + _CONCEPT + rb")")
_ANY_CODE: Final = re.compile(rb'"code"\s*:\s*[^"\s]')
_BY_CODE: Final = ORDERS | {"Condition", "Procedure"}
_ALL: Final = frozenset({"Patient", "NutritionIntake"})
_PLAIN_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_STRUCTURES: Final = ("Bundle", "Parameters", "Medication")


class Sifted(NamedTuple):
    """A line with its number from 0; ``certain`` when it counts as it is, without being parsed."""

    number: int
    line: bytes
    certain: bool


class Sieve:
    """Sifts lines for one vocabulary; ``quick`` false means that every line is parsed."""

    def __init__(
        self, vocabulary: Vocabulary, medications: Mapping[str, Resource], *, quick: bool = True
    ) -> None:
        self._relevance = Relevance(vocabulary, medications)
        self.reads = self._relevance.reads
        self.concerns = self._relevance.concerns
        self._vocabulary = vocabulary
        self._quick = quick
        self._needles: dict[str, Any] = {}
        self._codes: frozenset[bytes] = frozenset()

    def sift(self, data: bytes, kind: str) -> Iterator[Sifted]:
        """Lines of ``data`` that may matter; ``kind`` is the type of its resources, empty when mixed."""
        if not self._quick or not kind:
            yield from _every(data, certain=False)
        elif kind in _ALL:
            for one in _every(data, certain=True):
                yield one._replace(certain=b'"' + kind.encode() + b'"' in one.line)
        elif kind in MEDICATION_RECORDS:
            yield from self._by_element(data, kind, _PRODUCT, _one_product)
        elif kind in _BY_CODE:
            yield from self._by_element(data, kind, _CODE, _one_code)
        elif kind == "Goal":
            yield from _every(data, certain=False)
        else:
            yield from self._by_needles(data, kind)

    def _by_element(
        self, data: bytes, kind: str, element: re.Pattern[bytes], alone: Callable[[bytes], bool]
    ) -> Iterator[Sifted]:
        """Lines by the one element that decides; what does not hold it plainly is parsed."""
        concerns = self._relevance.concerns_element
        named = re.compile(rb'"resourceType"\s*:\s*"' + kind.encode() + rb'"')
        for number, line in enumerate(data.split(b"\n")):
            if not line or line.isspace():
                continue
            found = element.search(line)
            if (
                found is None
                or not alone(line)
                or b"\\u00" in line
                or line.count(b'"resourceType"') != 1
                or named.search(line) is None
            ):
                yield Sifted(number, line, certain=False)
            elif concerns(kind, found[1].decode(), found[2]):
                yield Sifted(number, line, certain=True)

    def _by_needles(self, data: bytes, kind: str) -> Iterator[Sifted]:
        """Lines by the codes in them, in one pass over the whole buffer."""
        needles = self._needles_for(kind)
        if needles is None:
            yield from _every(data, certain=False)
            return
        number = place = 0
        while (found := needles.search(data, place)) is not None:
            start = data.rfind(b"\n", place, found.start()) + 1 or place
            end = data.find(b"\n", found.start())
            end = len(data) if end < 0 else end
            number += data.count(b"\n", place, start)
            line = data[start:end]
            yield Sifted(number, line, certain=found.group(0).rpartition(b'"')[2] in self._codes)
            number += 1
            place = end + 1
            if place >= len(data):
                return

    def _needles_for(self, kind: str) -> Any:
        if kind not in self._needles:
            self._needles[kind] = self._compile(kind)
        return self._needles[kind]

    def _compile(self, kind: str) -> Any:
        """The search for one type; None where it cannot be searched for safely."""
        try:
            import re2  # type: ignore[import-untyped]
        except ImportError:
            return None
        types = [one for one in (*self._relevance.kinds, *_STRUCTURES) if one != kind]
        parts = [rb'"resourceType"\s*:\s*"(?:' + "|".join(sorted(types)).encode() + rb')"']
        if kind == "Observation":
            codes = self._result_codes()
            if codes is None:
                return None
            self._codes = frozenset(one.encode() for one in codes)
            listed = "|".join(re.escape(one) for one in sorted(codes, key=len, reverse=True))
            parts += [
                _ESCAPED_ASCII,
                rb'"code"\s*:\s*"(?:[\s\\\x80-\xff]|' + listed.encode() + rb")",
                _named(
                    one for names in self._vocabulary.content.result_names.values() for one in names
                ),
                rb"(?i:social-history)",
            ]
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.max_mem = 64 << 20
        return re2.compile(b"|".join(parts), options)

    def _result_codes(self) -> set[str] | None:
        """Every code of a result; None when one is not plain, or codes stand for all that begin like them."""
        codes: set[str] = set()
        for listed in self._vocabulary.content.code_lists:
            if listed.for_ == "results":
                if listed.by_prefix:
                    return None
                codes.update(listed.codes)
        return codes if all(_PLAIN_CODE.fullmatch(one) for one in codes) else None


# What folding may take for a plain letter, or leave out: bytes beyond ASCII, escapes, blanks.
_ODD: Final = rb"(?:[\x80-\xff\s]|\\u[0-9a-fA-F]{4}|\\.)*"


def _named(names: Iterable[str]) -> bytes:
    """A pattern for every text that folds to one of the names, and few others.

    Folding replaces, expands and drops letters beyond ASCII only; so the plain letters of such a text are
    letters of the name in their order, and whatever else it holds is odd.
    """
    spelt = [
        _ODD
        + b"".join(
            re.escape(sign).encode() + b"?" + _ODD if sign.isascii() else _ODD
            for sign in fold(name)
        )
        for name in sorted(names)
    ]
    return rb'"(?:text|display)"\s*:\s*"(?i:' + b"|".join(spelt) + rb')"'


def _every(data: bytes, *, certain: bool) -> Iterator[Sifted]:
    for number, line in enumerate(data.split(b"\n")):
        if line and not line.isspace():
            yield Sifted(number, line, certain)


def _one_product(line: bytes) -> bool:
    return line.count(b'"medication') == 1


def _one_code(line: bytes) -> bool:
    return len(_ANY_CODE.findall(line)) == 1
