"""Items on their way to a matcher: read into exact rows first, then, for the C engine, written as JSON.

Reading is the guard at the gate: NaN, infinity, numbers beyond 2**53, overlong texts, booleans for numbers,
undeclared kinds and fields are a FactError and reach no matcher. Messages name kind and field, never the value.
Texts go no further than this module: within one call each is replaced by a whole number (equal texts, equal
numbers), so that no words about a patient, and no encoding of them, ever enter C memory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rules.compiler import LARGEST, LONGEST_TEXT, fit
from rules.errors import FactError
from rules.program import PATIENT, Check, CompiledRule, Field, Item, Kind, Program, Value

MOST_ITEMS = 1_000  # evaluation time is bounded by what goes in
MOST_COMBINATIONS = 2_000_000  # ... and by how many rows of items one rule could look at


Cell = str | int | float | bool | None
Row = tuple[int, tuple[Cell, ...]]
Rows = dict[str, list[Row]]
RowReader = Callable[[Mapping[str, object]], tuple[Cell, ...]]


class ItemReader:
    """Reads items into rows of exactly typed values: what every matcher of the program starts from."""

    def __init__(self, program: Program, stratum: Sequence[CompiledRule]) -> None:
        self._kinds = program.kinds
        self._rules = stratum
        self._longest = max(sum(not step.negated for step in rule.steps) - 1 for rule in stratum)
        wanted = {PATIENT}.union(*(rule.kinds for rule in stratum))
        self._readers = {name: _row_reader(program.kinds[name]) for name in sorted(wanted)}

    def read(self, items: Sequence[Item]) -> Rows:
        """Rows by kind, in the order of the items; kinds that no rule of the stratum looks at are passed over.

        Raises:
            FactError: a value no engine may see, not exactly one patient, or more items than the limits allow.
        """
        if len(items) > MOST_ITEMS:
            raise FactError(
                f"{len(items)} items for one patient; at most {MOST_ITEMS} can be evaluated."
            )
        rows: Rows = {}
        known = self._readers.get
        for index, (kind, values) in enumerate(items):
            reader = known(kind)
            if reader is not None:
                row = (index, reader(values))
                if kind in rows:
                    rows[kind].append(row)
                else:
                    rows[kind] = [row]
            elif kind not in self._kinds:
                raise FactError("an item is of a kind that is declared nowhere.")
        if len(rows.get(PATIENT, ())) != 1:
            raise FactError(
                f"{len(rows.get(PATIENT, ()))} patients in one evaluation; exactly one is needed."
            )
        if max(map(len, rows.values())) ** self._longest > MOST_COMBINATIONS:
            self._check_combinations(rows)
        return rows

    def _check_combinations(self, rows: Rows) -> None:
        for rule in self._rules:
            used: Counter[str] = Counter()
            ways = most = 1
            for step in rule.steps:
                if not step.negated:
                    ways *= max(len(rows.get(step.kind, ())) - used[step.kind], 0)
                    used[step.kind] += 1
                    most = max(most, ways)
            if most > MOST_COMBINATIONS:
                raise FactError(
                    f"rule {rule.name!r} would look at {most} combinations of items; too many."
                )


def read_carefully(kind: Kind, values: Mapping[str, object]) -> tuple[Cell, ...]:
    """One row, checked field by field; the quick readers fall back on this and must agree with it.

    Raises:
        FactError: naming kind and field, never the value.
    """
    unknown = values.keys() - kind.declared
    if unknown:
        raise FactError(f"{kind.name} has {len(unknown)} fields that are declared nowhere.")
    return tuple(_read_field(kind, field, values.get(field.name)) for field in kind.fields)


def _read_field(kind: Kind, field: Field, value: object) -> Cell:
    if value is None:
        if field.optional:
            return None
        raise FactError(f"{kind.name}.{field.name} is missing and not optional.")
    fitted = fit(field.type, value)
    if fitted is None:
        raise FactError(f"{kind.name}.{field.name} holds no {field.type} that an engine can hold.")
    return fitted


_QUICK = {
    "text": f"{{0}}.__class__ is str and len({{0}}) <= {LONGEST_TEXT}",
    "integer": f"{{0}}.__class__ is int and -{LARGEST} <= {{0}} <= {LARGEST}",
    "number": f"{{0}}.__class__ is float and -{LARGEST}.0 <= {{0}} <= {LARGEST}.0",
    "boolean": "{0}.__class__ is bool",
}


def _row_reader(kind: Kind) -> RowReader:
    """A generated reader for well-formed items of one kind; all others go to ``read_carefully``."""
    source = quick_reader_source(kind)
    scope: dict[str, object] = {
        "carefully": read_carefully,
        "kind": kind,
        "declared": kind.declared,
    }
    exec(compile(source, f"<reader of {kind.name}>", "exec"), scope)  # noqa: S102 - our own text, names checked
    return scope["read"]  # type: ignore[return-value]


def quick_reader_source(kind: Kind) -> str:
    """Python source of ``read(values)``; field names were checked to be plain lower-case words."""
    tests = []
    cells = []
    for number, field in enumerate(kind.fields):
        test = _QUICK[field.type].format(f"v{number}")
        tests.append(f"(v{number} is None or {test})" if field.optional else f"{test}")
        if field.type != "number":
            cells.append(f"v{number}")
        elif field.optional:
            cells.append(f"None if v{number} is None else v{number} + 0.0")
        else:
            cells.append(f"v{number} + 0.0")
    gets = "".join(
        f"        v{number} = get('{field.name}')\n"
        if field.optional
        else f"        v{number} = values['{field.name}']\n"
        for number, field in enumerate(kind.fields)
    )
    whole = "values.keys() <= declared"  # counting is no substitute: one may be missing and another unknown
    return (
        "def read(values):\n"
        "    get = values.get\n"
        "    try:\n"
        f"{gets or '        pass' + chr(10)}"
        "    except KeyError:\n"
        "        return carefully(kind, values)\n"
        f"    if {' and '.join([*tests, whole])}:\n"
        f"        return ({''.join(cell + ', ' for cell in cells)})\n"
        "    return carefully(kind, values)\n"
    )


class Symbols(dict[str, int]):
    """Whole numbers for texts: rule constants first, then whatever a call brings, in the order it brings it."""

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self)
        return number


@dataclass(frozen=True, slots=True)
class Wire:
    """How kinds, fields and constants of a program are written for the C engine.

    Every fact has ``id``, ``k7`` (1: it is of kind number 7), ``u`` (always 1, for guards) and its fields as ``f0``,
    ``f1`` ...; an optional field has ``h0``, ``h1`` ... beside it (1 when it has a value). Only whole numbers and
    numbers with a dot are ever written, so the letter e stands nowhere but in an exponent.
    """

    kinds: Mapping[str, Kind]
    constants: Mapping[str, int]

    @classmethod
    def of(cls, program: Program) -> Wire:
        """The wire form of a program."""
        texts = {
            test.value: None
            for stratum in program.rules
            for rule in stratum
            for step in rule.steps
            for test in step.tests
            if isinstance(test, Check) and isinstance(test.value, str)
        }
        return cls(program.kinds, {text: number for number, text in enumerate(texts)})

    def mark(self, kind: str) -> str:
        """The property that says that a fact is of a kind."""
        return f"k{self.kinds[kind].number}"

    def place(self, kind: str, field: str) -> int:
        """The number of a field, as in ``f3`` and ``h3``."""
        return next(n for n, held in enumerate(self.kinds[kind].fields) if held.name == field)

    def symbols(self) -> Symbols:
        """A fresh table of texts for one call."""
        return Symbols(self.constants)

    def constant(self, value: Value) -> int | str:
        """A rule's constant as the engine is to see it: a whole number, or the text of a number with a dot."""
        match value:
            case str():
                return self.constants[value]
            case bool() | int():
                return int(value)
        return _with_dots(f":{value!r}")[1:]

    def writer(self, kind: Kind) -> Callable[[Row, Symbols], str]:
        """A function that writes one row of a kind as a JSON object."""
        scope: dict[str, object] = {"with_dots": _with_dots}
        exec(compile(writer_source(kind), f"<writer of {kind.name}>", "exec"), scope)  # noqa: S102 - our own text
        return scope["write"]  # type: ignore[return-value]


_WRITTEN = {
    "text": "symbols[v{0}]",
    "integer": "v{0}",
    "number": "v{0}!r",
    "boolean": "v{0} + 0",
}
_UNKNOWN = {"text": "0", "integer": "0", "number": "0.0", "boolean": "0"}


def writer_source(kind: Kind) -> str:
    """Python source of ``write(row, symbols)``."""
    parts = [f'"k{kind.number}":1,"u":1']
    for number, field in enumerate(kind.fields):
        written = _WRITTEN[field.type].format(number)
        if field.optional:
            written = f"{_UNKNOWN[field.type]} if v{number} is None else {written}"
            parts.append(f'"h{number}":{{(v{number} is not None) + 0}}')
        parts.append(f'"f{number}":{{{written}}}')
    names = "".join(f"v{number}, " for number in range(len(kind.fields)))
    body = ",".join(parts)
    return (
        "def write(row, symbols):\n"
        f"    index, ({names}) = row\n"
        f'    text = f\'{{{{"id":"{{index}}",{body}}}}}\'\n'
        "    return with_dots(text) if 'e' in text else text\n"
    )


_DOTLESS = re.compile(r"(:-?\d+)e")


def _with_dots(text: str) -> str:
    """The engine's reader takes 1.0e-07 and stops, without a word, at 1e-07."""
    return _DOTLESS.sub(r"\1.0e", text)


def write_batch(chunks: Iterable[str]) -> str:
    """Facts as one batch, in the order given: the patient belongs last."""
    return f"[{','.join(chunks)}]"


def blank_row(kind: Kind) -> Row:
    """A row that says nothing, to try a handle with before any patient comes."""
    blanks: Mapping[str, Cell] = {"text": "", "integer": 0, "number": 0.0, "boolean": False}
    return 0, tuple(None if field.optional else blanks[field.type] for field in kind.fields)
