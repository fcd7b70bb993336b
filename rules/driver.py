"""Drives the C engine of durable_rules, and is the only module that knows it.

The engine is exact inside narrow bounds and dangerous outside them (docs/adr/0003). So: its C entry points and not
its ``Host`` with timers; facts only; one handle with one live session under one constant id; the patient asserted
last; a sentinel rule that must fire exactly once, last; actions that only record. At any doubt the handle is retired,
never touched again but to be deleted, and the caller gets an EngineError instead of an incomplete answer.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from rules.definition import SENTINEL, write_definition
from rules.encoding import ItemReader, Wire, blank_row, write_batch
from rules.errors import EngineError
from rules.program import PATIENT, CompiledRule, Item, Program
from rules.topics import divide

Match = tuple[str, tuple[int, ...]]

MOST_MATCHES = 50_000
_SESSION = "0"  # the engine's own name for the session of facts that name none; never a patient's
_ACCEPTED = (
    0,
    1,
)  # 1: some fact satisfied no condition, which is usual; 2: two facts under one id; 3: put off
_MOST_PLANS = 2_048
# A session clears 8 kB per pattern of its handle, so that a few rules are quicker asked one by one.
_FEW = 4
# A firing reads {"r4":{"r4s0":{"id":"0",...},"r4s1":{"id":"7",...}}}. No text of a patient is in it (see encoding), so
# looking for steps and ids is exact, and takes a fifth of the time of reading the JSON.
_BOUND = re.compile(r's(\d+)":\{"id":"(\d+)"').findall
_REMEDY = (
    "durable-rules 2.0.28 cannot be imported ({problem}). Build it again with\n"
    '    CPPFLAGS="-O2 -DPyEval_CallObject=PyObject_CallObject" pip install --force-reinstall --no-cache-dir'
    " --no-binary durable-rules durable-rules==2.0.28\n"
    "(needs gcc and the Python headers; Python 3.13 and newer need the flag), or choose the engine written in Python:"
    " DEKACARD_ENGINE=compiled."
)


def explain_import_error() -> str | None:
    """Why the C engine cannot be imported, with the line that mends it; ``None`` when it can."""
    try:
        load_engine()
    except ImportError as error:
        return str(error)
    return None


def load_engine() -> ModuleType:
    """The C module of durable_rules.

    Raises:
        ImportError: naming the exact remedy.
    """
    try:
        import durable_rules_engine  # not above: the other engine runs where this one is missing
    except ImportError as error:
        raise ImportError(
            _REMEDY.format(problem=error), name=error.name, path=error.path
        ) from error
    return durable_rules_engine


class DurableMatcher:
    """Matches items against a program with durable_rules; safe to share between threads, not between processes."""

    def __init__(self, program: Program) -> None:
        engine = load_engine()
        wire = Wire.of(program)
        self._lock = threading.Lock()
        self._strata = [_Stratum(engine, program, wire, stratum) for stratum in program.rules]

    def match(
        self, items: Sequence[Item], stratum: int, only: frozenset[str] | None = None
    ) -> list[Match]:
        """Every firing of the rules of one stratum, sorted: rule name, and the index of the item of each binding.

        ``only`` names the rules that are asked for; the others are not looked at.

        Raises:
            FactError: an item that no engine may see; nothing was evaluated.
            EngineError: the engine broke its promise; its handle is retired and built anew for the next patient.
        """
        with self._lock:
            return self._strata[stratum].match(items, only)

    def close(self) -> None:
        """Give the memory back to C; the matcher cannot be used afterwards."""
        with self._lock:
            for stratum in self._strata:
                stratum.close()


class _Stratum:
    """Rules that may be evaluated at once, in topics with a handle each."""

    def __init__(
        self, engine: ModuleType, program: Program, wire: Wire, rules: Sequence[CompiledRule]
    ) -> None:
        self._reader = ItemReader(program, rules)
        self._engine = engine
        self._wire = wire
        self._rules = {rule.name: rule for rule in rules}
        self._alone: dict[str, _Handle] = {}
        self._handles = [_Handle(engine, topic.rules, wire) for topic in divide(rules)]
        self._writers = {name: wire.writer(kind) for name, kind in program.kinds.items()}
        self._plans: dict[tuple[object, ...], tuple[tuple[_Handle, tuple[str, ...]], ...]] = {}
        self._closed = False

    def match(self, items: Sequence[Item], only: frozenset[str] | None) -> list[Match]:
        if self._closed:
            raise EngineError("the matcher is closed.")
        rows = self._reader.read(items)
        plan = self._plan(frozenset(rows), only)
        if not plan:
            return []
        symbols = self._wire.symbols()
        chunks = {
            kind: ",".join([self._writers[kind](row, symbols) for row in rows[kind]])
            for kind in sorted({kind for _, kinds in plan for kind in kinds})
        }
        matches: set[Match] = set()
        for handle, kinds in plan:
            matches.update(handle.evaluate(write_batch(chunks[kind] for kind in kinds)))
        return sorted(matches if only is None else [one for one in matches if one[0] in only])

    def _plan(
        self, present: frozenset[str], only: frozenset[str] | None
    ) -> tuple[tuple[_Handle, tuple[str, ...]], ...]:
        """Which handles to ask, with which kinds: a rule cannot fire while a kind it binds is absent."""
        plan = self._plans.get((present, only))
        if plan is None:
            able = [
                rule
                for rule in self._rules.values()
                if rule.triggers <= present and (only is None or rule.name in only)
            ]
            few = only is not None and len(able) <= _FEW
            handles = [self._handle_of(rule) for rule in able] if few else self._handles
            asked = []
            for handle in handles:
                # A rule that is not asked for may fire for lack of what it denies; it is not listed then
                kinds = frozenset[str]().union(
                    *(rule.kinds for rule in handle.rules if rule in able)
                )
                if kinds:
                    asked.append((handle, (*sorted(kinds & present - {PATIENT}), PATIENT)))
            plan = tuple(asked)
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            self._plans[present, only] = plan
        return plan

    def _handle_of(self, rule: CompiledRule) -> _Handle:
        """A handle for one rule alone, made when it is first wanted."""
        handle = self._alone.get(rule.name)
        if handle is None:
            handle = self._alone[rule.name] = _Handle(self._engine, [rule], self._wire)
        return handle

    def close(self) -> None:
        self._closed = True
        for handle in (*self._handles, *self._alone.values()):
            handle.retire()


class _Handle:
    """One rule set in C memory, with one session at a time."""

    def __init__(self, engine: ModuleType, rules: Sequence[CompiledRule], wire: Wire) -> None:
        self.rules = rules
        self._engine: Any = engine
        self._definition = write_definition(rules, wire)
        self._recorded = {
            f"r{number}": (rule.name, tuple(str(step) for step in rule.outputs))
            for number, rule in enumerate(rules)
        }
        patient = wire.kinds[PATIENT]
        self._trial = write_batch([wire.writer(patient)(blank_row(patient), wire.symbols())])
        self._number: int | None = None
        self._delete: weakref.finalize[..., Any] | None = None
        self._build()

    def _build(self) -> None:
        try:
            self._number = self._engine.create_ruleset("rules", self._definition)
        except Exception as error:
            raise EngineError(f"the engine refused {len(self.rules)} rules: {error}") from error
        self._delete = weakref.finalize(self, self._engine.delete_ruleset, self._number)
        self._delete.atexit = False
        # A session in which nothing ever fired cannot be deleted: it frees a pointer nobody set.
        self.evaluate(self._trial)

    def evaluate(self, facts: str) -> list[Match]:
        """Firings of one patient; the session is gone afterwards, or the whole handle is."""
        if self._number is None:
            self._build()
        whole = False
        try:
            matches = self._run(facts)
            self._engine.delete_state(self._number, _SESSION)
            whole = True
        except EngineError:
            raise
        except Exception as error:
            # Its own words may repeat a fact, and this sentence goes to the log
            raise EngineError(f"the engine failed with {type(error).__name__}.") from error
        finally:
            if not whole:
                self.retire()
        return matches

    def _run(self, facts: str) -> list[Match]:
        engine, number = self._engine, self._number
        outcome, state = engine.assert_facts(number, facts)
        if outcome not in _ACCEPTED:
            raise EngineError(f"the engine answered {outcome} to the facts.")
        matches: list[Match] = []
        complete = False
        started = engine.start_action_for_state(number, state)
        message = started[1] if started else None
        while message:
            if complete:
                raise EngineError("a rule fired after the sentinel.")
            name = message[2 : message.index('"', 2)]
            if name == SENTINEL:
                complete = True
            else:
                rule, steps = self._recorded[name]
                bound = dict(_BOUND(message))
                matches.append((rule, tuple([int(bound[step]) for step in steps])))
                if len(matches) > MOST_MATCHES:
                    raise EngineError(f"more than {MOST_MATCHES} firings for one patient.")
            message = engine.complete_and_start_action(number, state)
        if not complete:
            raise EngineError("the engine did not read all facts.")
        return matches

    def retire(self) -> None:
        """Delete the rule set, whatever state its session is in; the next evaluation builds it anew."""
        if self._delete is not None:
            self._delete()
        self._number = self._delete = None
