"""The sieve: which lines of a file must be looked at, decided on raw bytes where that is certain.

Nothing is skipped that the exact way (parse, then ``Relevance``) would keep; a property test holds it to that.

- Of medications, conditions, procedures and orders one element decides. Where it stands plainly in the line it
  is cut out and decided once for all its repetitions; a line where it does not is parsed.
- Results and goals are searched for the codes of the active packs, a buffer at a time (see needles.py).
  What could be a gap is found as well: a result known only by its name, written in whatever way.
- A line that writes a plain character as an escape, or holds a type that does not belong there, is parsed.

Without a library to search with, every line of results is parsed, and every other line looked at more closely.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from io import BytesIO
from typing import Final, NamedTuple

import orjson

from fhir_adapter.elements import Resource
from fhir_adapter.ndjson import count_lines
from fhir_adapter.needles import (
    DoubleSearch,
    Library,
    Search,
    libraries,
    searching,
    searching_two,
)
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
_TEXT_OR_DISPLAY: Final = re.compile(rb'"(?:text|display)"\s*:\s*("(?:[^"\\]|\\.)*")')
_CONTAINER: Final = re.compile(rb'"resourceType"\s*:\s*"(?:Bundle|Parameters)"')
# A line with a backslash or a letter beyond ASCII: it may spell a name in a way that no expression lists.
_ODD: Final = rb"(?m:[\\\x80-\xff][^\n]*$)"
_SPACED_CODE: Final = rb'"code"\s*:\s*"\s'
_SHORTEST_BEGINNING: Final = 5  # a shorter one begins too many texts
_BY_CODE: Final = ORDERS | {"Condition", "Procedure"}
_BY_NEEDLES: Final = frozenset({"Observation", "Goal"})
_ALL: Final = frozenset({"Patient", "NutritionIntake"})
_PLAIN_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_STRUCTURES: Final = ("Bundle", "Parameters", "Medication")
_AFTER: Final = b'"subject"'  # stands behind the deciding element in what most servers write
_MOST_DULL: Final = 65_536
_MOST_REMEMBERED: Final = 65_536


class Sifted(NamedTuple):
    """A line with its number from 0; ``certain`` when it counts as it is, without being parsed."""

    number: int
    line: bytes
    certain: bool


class _Element(NamedTuple):
    """The one element that decides for a type, and how its line begins to speak of it."""

    begins: bytes
    pattern: re.Pattern[bytes]
    again: bytes  # in the rest of the line, it would be a second one


_BY_PRODUCT: Final = _Element(b'"medication', _PRODUCT, b'"medication')
_BY_ITS_CODE: Final = _Element(b'"code":{', _CODE, b'"code"')


class Sieve:
    """Sifts lines for one vocabulary.

    ``quick`` false means that every line is parsed; ``library`` is the fastest there is, unless another is named.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        medications: Mapping[str, Resource],
        *,
        quick: bool = True,
        library: Library | None = None,
    ) -> None:
        self._relevance = Relevance(vocabulary, medications)
        self.reads = self._relevance.reads
        self.concerns = self._relevance.concerns
        self._vocabulary = vocabulary
        self._quick = quick
        self._library: Library = libraries()[0] if library is None else library
        self._searches: dict[tuple[str, str], Search] = {}
        self._double: dict[str, DoubleSearch] = {}
        self._dull: dict[str, set[bytes]] = {}
        self._named: dict[bytes, bool] = {}
        self._codes = self._result_codes()

    def sift(self, data: bytes, kind: str) -> Iterator[Sifted]:
        """Lines of ``data`` that may matter; ``kind`` is the type of its resources, empty when mixed."""
        if not self._quick or not kind:
            yield from _every(data, certain=False)
        elif kind in _ALL:
            opening = _opening(kind)
            for one in _every(data, certain=True):
                yield one if one.line.startswith(opening) else one._replace(certain=False)
        elif kind in MEDICATION_RECORDS:
            yield from self._by_element(data, kind, _BY_PRODUCT)
        elif kind in _BY_CODE:
            yield from self._by_element(data, kind, _BY_ITS_CODE)
        elif self._library == "none" or (kind in _BY_NEEDLES and self._codes is None):
            yield from _every(data, certain=False)
        elif kind in _BY_NEEDLES:
            yield from self._by_needles(data, kind)
        else:
            for number, line in self._lines_found(data, kind, "other").items():
                yield Sifted(number, line, certain=False)

    def _by_element(self, data: bytes, kind: str, element: _Element) -> Iterator[Sifted]:
        """Lines by the one element that decides; what does not hold it plainly is parsed.

        What stands between its beginning and the subject, and was found dull once, is dull again, provided that
        the line is of this type and holds neither an escape, nor a second resource, nor a second such element.
        """
        concerns = self._relevance.concerns_element
        begins, pattern, again = element
        opening = _opening(kind)
        strange: Collection[int] = frozenset()
        dull: set[bytes] = set()
        if self._library != "none":
            strange = self._lines_found(data, kind, "twice", "escaped", "spaced")
            dull = self._dull.setdefault(kind, dull)
        for number, line in enumerate(BytesIO(data)):
            start = line.find(begins)
            end = line.find(_AFTER, start)
            if (
                line[start:end] in dull
                and line.startswith(opening)
                and line.find(again, end) < 0
                and number not in strange
            ):
                continue
            if line.isspace():
                continue
            found = pattern.search(line)
            if found is None or not _plain(line, kind, element):
                yield Sifted(number, line.removesuffix(b"\n"), certain=False)
            elif concerns(kind, found[1].decode(), found[2]):
                yield Sifted(number, line.removesuffix(b"\n"), certain=True)
            elif found.start() == start and found.end() <= end and len(dull) < _MOST_DULL:
                dull.add(line[start:end])

    def _by_needles(self, data: bytes, kind: str) -> Iterator[Sifted]:
        """Lines by the codes and names in them, searched for in the whole buffer."""
        if self._library == "re2":  # one pass for everything is cheaper than two
            other = self._lines_found(data, kind, "any")
            coded = {n: line for n, line in other.items() if self._lines_found(line, kind, "coded")}
        else:
            coded, other = self._lines_of_both(data, kind)
        opening = _opening(kind)
        for number, line in sorted((coded | other).items()):
            certain = (
                number in coded
                and kind == "Observation"
                and line.startswith(opening)
                and _CONTAINER.search(line) is None
            )
            if certain or number in coded or self._could_matter(line, kind):
                yield Sifted(number, line, certain)

    def _lines_of_both(self, data: bytes, kind: str) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """Lines with the code of a result, and lines that may be something else, in one pass over the data.

        A code is searched for as a text that begins like it, wherever that stands: those are far quicker to find, and
        few. Then it is seen whether the line has it as its code.
        """
        search = self._double.get(kind)
        if search is None:
            # What the pattern of odd letters finds already, the others need not look for
            other = [
                *_other_types(kind, self._relevance.kinds),
                *self._names(kind)[1:],
                _SPACED_CODE,
                _ODD,
            ]
            search = self._double[kind] = searching_two(self._beginnings(), other)
        begun, odd = search(data)
        coded = {
            number: line
            for number, line in lines_at(data, begun).items()
            if self._coded_line.search(line)
        }
        return coded, lines_at(data, odd)

    def _beginnings(self) -> list[bytes]:
        codes = self._codes or []
        if min(map(len, codes)) >= _SHORTEST_BEGINNING:
            return [b'"' + one for one in codes]
        return [self._coded_line.pattern]

    @cached_property
    def _coded_line(self) -> re.Pattern[bytes]:
        return re.compile(rb'"code"\s*:\s*"(?:' + b"|".join(self._codes or ()) + b")")

    def _could_matter(self, line: bytes, kind: str) -> bool:
        """Whether there is more to a line than letters that need a closer look."""
        if self._lines_found(line, kind, "named", "escaped"):
            return True
        return any(map(self._names_a_result, _TEXT_OR_DISPLAY.findall(line)))

    def _names_a_result(self, spelt: bytes) -> bool:
        """Whether a text, as JSON, is the name of a result; texts repeat endlessly."""
        known = self._named.get(spelt)
        if known is None:
            try:
                known = bool(self._vocabulary.result_named(orjson.loads(spelt)))
            except orjson.JSONDecodeError:
                known = True  # the line is no JSON; whoever parses it says so
            if len(self._named) >= _MOST_REMEMBERED:
                self._named.clear()
            self._named[spelt] = known
        return known

    def _lines_found(self, data: bytes, kind: str, *names: str) -> dict[int, bytes]:
        """Lines by number in which one of these searches finds anything."""
        places: list[int] = []
        for name in names:
            search = self._searches.get((kind, name))
            if search is None:
                search = self._searches[kind, name] = self._searching(kind, name)
            places += search(data)
        return lines_at(data, sorted(places)) if places else {}

    def _searching(self, kind: str, name: str) -> Search:
        coded = [self._coded_line.pattern]
        named = [*_other_types(kind, self._relevance.kinds), *self._names(kind)]
        other = [*named, *([_ODD] if kind in _BY_NEEDLES else [])]
        expressions = {
            "twice": [rb'"resourceType"[^\n]*"resourceType"'],
            "escaped": [_ESCAPED_ASCII],
            "spaced": [rb'"code"(?:[^:]|:[^"{])'] if kind in _BY_CODE else [],
            "coded": coded,
            "named": named,
            "other": other,
            "any": [*coded, *other],
        }
        return searching(self._library, expressions[name])

    def _names(self, kind: str) -> list[bytes]:
        """How a result of any code may be written plainly, and how the habits of eating are."""
        if kind not in _BY_NEEDLES:
            return []
        expressions = [rb'"code"\s*:\s*"[\s\\\x80-\xff]']
        if kind == "Observation":
            expressions += [rb"(?i:social-history)"]
            for names in self._vocabulary.content.result_names.values():
                expressions += map(_spelt, names)
        return expressions

    def _result_codes(self) -> list[bytes] | None:
        """Every code of a result; None when one is not plain, or codes stand for all that begin like them."""
        codes: set[str] = set()
        for listed in self._vocabulary.content.code_lists:
            if listed.for_ == "results":
                if listed.by_prefix:
                    return None
                codes.update(listed.codes)
        if not codes or not all(map(_PLAIN_CODE.fullmatch, codes)):
            return None
        return [re.escape(one).encode() for one in sorted(codes)]


def _opening(kind: str) -> bytes:
    """How nearly all servers begin a line; one that begins otherwise is looked at more closely."""
    return b'{"resourceType":"' + kind.encode() + b'"'


def _other_types(kind: str, read: Iterable[str]) -> list[bytes]:
    """What gives away a line that is not of the type of its file."""
    types = sorted({*read, *_STRUCTURES} - {kind})
    return [rb'"resourceType"\s*:\s*"(?:' + "|".join(types).encode() + rb')"']


def _spelt(name: str) -> bytes:
    """An expression for every plain text that folds to a name: any case, more blanks.

    A text may go on after two blanks: folding cuts what is very long, and then drops blanks at the end.
    """
    words = [re.escape(word).encode() for word in fold(name).split(" ")]
    return rb'(?i:"\s*' + rb"\s+".join(words) + rb'(?:\s?"|\s\s))'


def lines_at(data: bytes, places: Iterable[int]) -> dict[int, bytes]:
    """The lines that hold these places (in ascending order), by their number from 0."""
    found: dict[int, bytes] = {}
    number = start = 0
    end = -1
    for place in places:
        if place <= end:
            continue
        before = data.rfind(b"\n", start, place) + 1 or start
        number += count_lines(data[start:before])
        start, end = before, data.find(b"\n", place)
        end = len(data) if end < 0 else end
        found[number] = data[start:end]
    return found


def _plain(line: bytes, kind: str, element: _Element) -> bool:
    """Whether the element that decides stands in the line once, and nothing in it may be read in two ways."""
    if element.pattern is _CODE:
        alone = len(_ANY_CODE.findall(line)) == 1
    else:
        alone = line.count(element.begins) == 1
    return (
        alone
        and b"\\u00" not in line
        and line.count(b'"resourceType"') == 1
        and re.search(rb'"resourceType"\s*:\s*"' + kind.encode() + rb'"', line) is not None
    )


def _every(data: bytes, *, certain: bool) -> Iterator[Sifted]:
    for number, line in enumerate(BytesIO(data)):
        if not line.isspace():
            yield Sifted(number, line.removesuffix(b"\n"), certain)
