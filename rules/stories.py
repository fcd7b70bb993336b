"""Stories of patients, written the way a pharmacist would tell them, and read into facts.

A vignette file is a YAML list. Each item is one story; these are all its keys:

``vignette``   the story in one sentence (first key of the item; messages point at its line)
``today``      the day of the review (ISO); it happens at noon UTC
``patient``    ``71-year-old woman``, ``4-month-old boy``, ``12-day-old girl``, ``man of unknown age``
``takes``      one line per record: ``[selected] [draft] [prescribed] INGREDIENT [DOSE] [+ INGREDIENT [DOSE]] [CLAUSES]``
``labs``       ``MEASURE [GROUP] [<|>] VALUE [UNIT] [CLAUSES]``: ``inr 2.4 on 2026-11-01``, ``25ohd d3 30 nmol/L 20 days ago``
``has``        ``PROBLEM [stage N] [since DAY] [resolved [DAY]]``
``procedures`` ``PROCEDURE [on DAY]``
``goals``      ``inr 2.5 to 3.5``
``orders``     ``[selected] [draft|pending] MEASURE [authored DAY] [due DAY]``
``eats``       ``natto [on DAY]``
``hook`` ``profile`` ``verbosity``   as in a call; default patient-view, nam-2011, standard
``unread``     sources that could not be had: ``[medication-statements, labs-inr]``
``history``    ``RULE [about X] shown|accepted|overridden DAY [because REASON] [of other values]``
``expect``     ``nothing``, or lines ``RULE, INDICATOR [, about X] [; suggests A, B] [; because of F, G] [; says "words"]``
``finds``      findings that must be there: ``FINDING [about X]: field value, field value``
``superseded`` ``RULE by RULE``
``complete``   ``true``: no rule of any pack may speak beside ``expect`` (otherwise only rules of the story's own pack)

DOSE is ``100 ug/d``, ``15 mg 3 times a day``, ``50000 IU weekly``, ``50000 IU every 14 days``, ``10 mg once``, ``25 ug/d``,
``50000 IU`` (how often is unknown), or nothing (dose unknown). Clauses of ``takes``, in any order: ``since DAY``, ``since at least DAY``
(an asserted date: it began then or earlier), ``until DAY`` (last day), ``stopped DAY``, ``status on-hold``, ``for 6 days`` (planned
length), ``8 doses``, ``as needed``, ``topical``, ``route iv``, ``purpose inr-stabilisation``, ``recorded DAY``, ``not coded``,
``named "what the record says"``. Without ``since`` the start is unknown.
Clauses of ``labs``: ``on DAY`` or ``N days ago``, ``at 08:30``, ``preliminary``, ``unusable no-unit`` (any reason), ``by LAB``,
``upper limit 10.3``, ``code 1989-3``. DAY is ``2026-11-01``, ``today``, ``yesterday``, ``20 days ago``, ``2 years ago`` or ``in 5 days``.
Vitamin D is written in IU, vitamin K in ug or mg; people who read the cards get the long words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rules.errors import KnowledgeError
from rules.facts import (
    Condition,
    Context,
    Diet,
    FactSet,
    Goal,
    LabOrder,
    LabResult,
    MedicationUse,
    Patient,
    Procedure,
    Taking,
)
from rules.story_words import NUMBER, Sentence, Unreadable, day_before, interval_of
from rules.yaml_files import read_yaml

if TYPE_CHECKING:
    from rules.vocabulary import Vocabulary

KEYS = frozenset(
    {
        "vignette", "today", "patient", "takes", "labs", "has", "procedures", "goals", "orders", "eats", "hook",
        "profile", "verbosity", "unread", "history", "expect", "finds", "superseded", "complete",
    }
)  # fmt: skip
TAKING: dict[str, Taking] = {
    "active": "yes", "draft": "draft", "on-hold": "uncertain", "unknown": "uncertain", "intended": "uncertain",
    "stopped": "no", "completed": "no", "not-taken": "no", "cancelled": "no",
}  # fmt: skip
UNITS = {"IU": "[IU]", "[IU]": "[IU]", "ug": "ug", "mcg": "ug", "mg": "mg", "g": "g"}
SCALES = {("mg", "ug"): 1000.0, ("ug", "mg"): 0.001, ("g", "mg"): 1000.0}


@dataclass(frozen=True, kw_only=True)
class Story:
    """One vignette: the facts it tells, and what it expects; ``where`` is ``file:line``."""

    title: str
    where: str
    pack: str
    today: date
    as_of: datetime
    facts: FactSet
    expect: tuple[str, ...]
    finds: tuple[str, ...] = ()
    superseded: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    complete: bool = False


def read_stories(file: Path, vocabulary: Vocabulary, pack: str = "") -> list[Story]:
    """Read every story of one vignette file.

    Raises:
        KnowledgeError: a key or a line does not follow the grammar above; names file, line and the words.
    """
    items = read_yaml(file)
    if not isinstance(items, list):
        raise KnowledgeError("a vignette file is a list of stories.", where=str(file))
    lines = [
        n
        for n, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if re.match(r"-\s+vignette:", line)
    ]
    if len(lines) != len(items):
        raise KnowledgeError("every story must begin with '- vignette:'.", where=str(file))
    return [
        _read(item, f"{file}:{line}", vocabulary, pack)
        for item, line in zip(items, lines, strict=True)
    ]


def _read(item: Mapping[str, Any], where: str, vocabulary: Vocabulary, pack: str) -> Story:
    unknown = sorted(set(item) - KEYS)
    if unknown:
        raise KnowledgeError(
            f"unknown key {unknown[0]!r}.", where=where, remedy="See rules/stories.py for the keys."
        )
    today = item.get("today")
    if not isinstance(today, date) or "expect" not in item:
        raise KnowledgeError("a story needs 'today' (a day) and 'expect'.", where=where)
    try:
        facts = _Teller(today, vocabulary).tell(item)
    except Unreadable as error:
        raise KnowledgeError(str(error), where=where) from None
    expect = () if item["expect"] == "nothing" else tuple(_lines(item, "expect"))
    return Story(
        title=str(item["vignette"]), where=where, pack=pack, today=today, facts=facts,
        as_of=datetime.combine(today, time(12), tzinfo=UTC),
        expect=expect, finds=tuple(_lines(item, "finds")), superseded=tuple(_lines(item, "superseded")),
        history=tuple(_lines(item, "history")), complete=bool(item.get("complete", False)),
    )  # fmt: skip


def _lines(item: Mapping[str, Any], key: str) -> list[str]:
    value = item.get(key, [])
    return [str(line) for line in (value if isinstance(value, list) else [value])]


@dataclass
class _Teller:
    today: date
    vocabulary: Vocabulary
    counts: dict[str, int] = field(default_factory=dict)

    def tell(self, item: Mapping[str, Any]) -> FactSet:
        hook = str(item.get("hook", "patient-view"))
        unread = item.get("unread", [])
        return FactSet(
            patient=self.patient(str(item.get("patient", "patient of unknown age"))),
            context=Context(
                hook=hook,
                moment="order" if hook in {"order-select", "order-sign"} else "view",
                verbosity=item.get("verbosity", "standard"),
                profile=str(item.get("profile", "nam-2011")),
                unread=dict(unread)
                if isinstance(unread, dict)
                else dict.fromkeys(unread, "not fetched"),
            ),
            uses=tuple(use for line in _lines(item, "takes") for use in self.uses(line)),
            labs=tuple(self.lab(line) for line in _lines(item, "labs")),
            conditions=tuple(self.condition(line) for line in _lines(item, "has")),
            procedures=tuple(self.procedure(line) for line in _lines(item, "procedures")),
            goals=tuple(self.goal(line) for line in _lines(item, "goals")),
            orders=tuple(self.order(line) for line in _lines(item, "orders")),
            diets=tuple(self.diet(line) for line in _lines(item, "eats")),
        )

    def patient(self, line: str) -> Patient:
        words = {
            "woman": "female",
            "girl": "female",
            "man": "male",
            "boy": "male",
            "patient": None,
            "child": None,
            "infant": None,
        }
        known = re.fullmatch(r"(\d+)-(day|week|month|year)-old (\w+)", line)
        unknown = re.fullmatch(r"(\w+) of unknown age", line)
        match = known or unknown
        if match is None or match[match.lastindex or 1] not in words:
            raise Unreadable(f"'patient: {line}' is not of the form '71-year-old woman'.")
        sex = words[match[match.lastindex or 1]]
        if known is None:
            return Patient(id="story", sex=sex, source=("Patient/story",))
        born = day_before(self.today, int(known[1]), known[2])
        years = (
            self.today.year
            - born.year
            - ((self.today.month, self.today.day) < (born.month, born.day))
        )
        return Patient(
            id="story", sex=sex, birth_date=born, age_days=(self.today - born).days, age_years=years,
            source=("Patient/story",),
        )  # fmt: skip

    def uses(self, line: str) -> list[MedicationUse]:
        rest = Sentence(line, self.today)
        selected, draft, prescribed = (
            rest.word("selected"),
            rest.word("draft"),
            rest.word("prescribed"),
        )
        bound, since = rest.day(r"\bsince at least "), rest.day(r"\bsince ")
        until, stopped = rest.day(r"\buntil "), rest.day(r"\bstopped ")
        recorded = rest.day(r"\brecorded ")
        status = rest.take(r"\bstatus ([a-z-]+)") or (
            "stopped" if stopped else "draft" if draft else "active"
        )
        if status not in TAKING:
            raise Unreadable(f"'{line}': unknown status {status!r} (known: {', '.join(TAKING)}).")
        planned, doses = rest.take(r"\bfor (\d+) days?\b"), rest.take(r"\b(\d+) doses?\b")
        named = rest.take(r'\bnamed "([^"]*)"')
        topical, route = rest.flag(r"\btopical\b"), rest.take(r"\broute ([a-z-]+)")
        purposes: list[str] = []
        while purpose := rest.take(r"\bpurpose ([a-z-]+)"):
            purposes.append(purpose)
        needed, uncoded = rest.flag(r"\bas needed\b"), rest.flag(r"\bnot coded\b")
        kind: Literal["request", "statement"] = "request" if draft or prescribed else "statement"
        record = self._number("MedicationRequest" if kind == "request" else "MedicationStatement")
        parts = [part.strip() for part in rest.text.split(" + ")]
        end = stopped or until
        return [
            MedicationUse(
                source=(record,), record=record, kind=kind, product=named or line, selected=bool(selected),
                taking=TAKING[status], status=status, coded=not uncoded, systemic=not topical,
                route=route or "", as_needed=needed, start=bound or since, start_is_bound=bound is not None,
                end=end, end_basis="end date" if end else "", recorded=recorded,
                bounded_days=int(planned) if planned else None, doses=int(doses) if doses else None,
                purposes=tuple(purposes), single_ingredient=len(parts) == 1, **self.dose(part, line),
            )
            for part in parts
        ]  # fmt: skip

    def dose(self, part: str, line: str) -> dict[str, Any]:
        match = re.fullmatch(rf"([a-z][a-z0-9-]*)(?: {NUMBER} ?([a-zA-Z\[\]]+) ?(.*))?", part)
        if match is None:
            raise Unreadable(f"'{line}': '{part}' is not understood.")
        ingredient = match[1]
        classes = self.vocabulary.classes(ingredient)
        if ingredient not in self.vocabulary.ingredients:
            raise Unreadable(f"'{line}': no ingredient is called {ingredient!r}.")
        said: dict[str, Any] = {"ingredient": ingredient, "classes": tuple(classes)}
        if match[2] is None:
            return said | {"dose_problem": "not recorded"}
        unit, amount, often = UNITS.get(match[3]), float(match[2]), match[4].strip()
        if unit is None:
            raise Unreadable(f"'{line}': unknown unit {match[3]!r} (known: {', '.join(UNITS)}).")
        canonical = self.vocabulary.unit_of(ingredient) or unit
        if unit != canonical:
            if (unit, canonical) not in SCALES:
                raise Unreadable(f"'{line}': write {ingredient} in {canonical}, not in {unit}.")
            amount, unit = amount * SCALES[unit, canonical], canonical
        said |= {"amount": amount, "unit": unit}
        if often == "once":
            return said | {"single": True, "dose_problem": "given once"}
        interval = interval_of(often, line)
        if interval is None:
            return said | {"dose_problem": "how often is not recorded"}
        return said | {
            "interval_days": interval,
            "daily": round(amount / interval, 6),
            "dose_known": True,
        }

    def lab(self, line: str) -> LabResult:
        rest = Sentence(line, self.today)
        problem = rest.take(r"\bunusable ([a-z-]+)") or ""
        performer, code = rest.take(r"\bby (\S+)") or "", rest.take(r"\bcode (\S+)") or ""
        high, clock = rest.take(rf"\bupper limit {NUMBER}"), rest.take(r"\bat (\d\d:\d\d)")
        status = "preliminary" if rest.flag(r"\bpreliminary\b") else "final"
        taken = rest.day(r"\bon ") or rest.day(r"\b")
        match = re.fullmatch(
            rf"(\S+)(?: (total|total-legacy|d3|d2))?(?: (<=|>=|<|>))? ?{NUMBER}(?: (\S+))?",
            rest.text,
        )
        if match is None:
            raise Unreadable(f"'{line}' is no result; write it like 'inr 2.4 on 2026-11-01'.")
        group = match[2] or ("total" if match[1] == "25ohd" else "")
        return LabResult(
            source=(self._number("Observation"),), measure=match[1], group=group, comparator=match[3] or "",
            value=float(match[4]), unit=match[5] or "", reported=f"{match[4]} {match[5] or ''}".strip(),
            taken=taken, status=status, problem=problem, performer=performer, code=code,
            instant=datetime.combine(taken, time.fromisoformat(clock or "12:00"), tzinfo=UTC) if taken else None,
            reference_high=float(high) if high else None,
        )  # fmt: skip

    def condition(self, line: str) -> Condition:
        rest = Sentence(line, self.today)
        since, stage = rest.day(r"\bsince "), rest.take(r"\bstage (\d)")
        abated = rest.day(r"\bresolved ")
        resolved = rest.flag(r"\bresolved\b") or abated is not None
        return Condition(
            source=(self._number("Condition"),), problem=rest.text, onset=since, abated=abated,
            clinical_status="resolved" if resolved else "active", stage=int(stage) if stage else None,
        )  # fmt: skip

    def procedure(self, line: str) -> Procedure:
        rest = Sentence(line, self.today)
        performed = rest.day(r"\bon ") or rest.day(r"\b")
        return Procedure(
            source=(self._number("Procedure"),), procedure=rest.text, performed=performed
        )

    def goal(self, line: str) -> Goal:
        match = re.fullmatch(rf"(\S+) {NUMBER} to {NUMBER}", line)
        if match is None:
            raise Unreadable(f"'{line}' is no goal; write it like 'inr 2.5 to 3.5'.")
        return Goal(
            source=(self._number("Goal"),),
            measure=match[1],
            low=float(match[2]),
            high=float(match[3]),
        )

    def order(self, line: str) -> LabOrder:
        rest = Sentence(line, self.today)
        selected, draft = rest.word("selected"), rest.word("draft")
        rest.word("pending")
        authored, due = rest.day(r"\bauthored "), rest.day(r"\bdue ")
        return LabOrder(
            source=(self._number("ServiceRequest"),), measure=rest.text, state="draft" if draft else "pending",
            authored=authored, due=due, selected=selected,
        )  # fmt: skip

    def diet(self, line: str) -> Diet:
        rest = Sentence(line, self.today)
        recorded = rest.day(r"\bon ") or rest.day(r"\b")
        return Diet(
            source=(self._number("Observation"),), food=rest.text, recorded=recorded, says=line
        )

    def _number(self, kind: str) -> str:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return f"{kind}/{self.counts[kind]}"
