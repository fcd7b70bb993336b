"""From facts to an assessment: derive, match, conclude, reconcile."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from importlib.metadata import PackageNotFoundError, version
from threading import Lock
from types import SimpleNamespace
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from rules.assessment import Assessment, HistoryEntry, Provenance, Recommendation, RuleFailure
from rules.compiler import Item, Program, compile_rules
from rules.conclusions import Concluder, Conclusion
from rules.errors import DekacardError, EngineError, FactError, KnowledgeError
from rules.evidence import Evidence
from rules.facts import Context, Fact, FactSet, Finding, Patient
from rules.in_force import KnowledgeInForce
from rules.plan import Plan
from rules.reconcile import rank, supersede, suppress

if TYPE_CHECKING:
    from rules.authoring import Derivation
    from rules.rulebook import Rulebook

MatcherName = Literal["durable", "compiled"]
_REMEMBERED_DAYS = 64


class Matcher(Protocol):
    """Finds which rules hold for which items; durable_rules and the generated Python agree on every answer."""

    def match(
        self, items: Sequence[Item], stratum: int, only: frozenset[str] | None = None
    ) -> list[tuple[str, tuple[int, ...]]]:
        """Rule names with the positions of the items bound, sorted, without repeats; of ``only`` these rules."""

    def close(self) -> None:
        """Give back what the matcher holds."""


class _Compiled(NamedTuple):
    """The rules with one set of numbers: what matches them, and what is worth working out for them."""

    matcher: Matcher
    program: Program
    plan: Plan


class _Work:
    """The derivations run for one patient, each at most once."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.failures: list[RuleFailure] = []
        self._done: set[int] = set()

    def follow(
        self, plan: Plan, facts: FactSet, besides: frozenset[str] = frozenset()
    ) -> frozenset[str]:
        """Run what rules that could still fire ask for; the names of those that may fire now."""
        stage = plan.begin(facts, besides)
        while (derivation := stage.derivation) is not None:
            self._run(derivation)
            stage = plan.proceed(stage, self.evidence)
        return stage.alive

    def run(self, derivations: Iterable[Derivation]) -> None:
        """Run some derivations, in this order."""
        for one in derivations:
            self._run(one)

    def _run(self, derivation: Derivation) -> None:
        this = id(derivation)  # they live as long as the rulebook
        if this in self._done:
            return
        self._done.add(this)
        evidence = self.evidence
        if derivation.requires and evidence.lacks(derivation.requires):
            return
        try:
            for finding in derivation.derive(evidence):
                evidence.add(finding)
        except Exception as error:  # noqa: BLE001 - a broken one must not hide the others
            self.failures.append(
                RuleFailure(rule=derivation.name, version="", error=_describe(error))
            )


class Engine:
    """Assesses patients under one rulebook; safe to share between threads.

    ``matcher`` chooses who matches: ``durable`` (durable_rules, the default) or ``compiled`` (plain Python
    generated from the same rules). Knowledge is read as of each review's day, so one engine serves all days.
    """

    def __init__(self, rulebook: Rulebook, matcher: MatcherName = "durable") -> None:
        self.rulebook = rulebook
        self.matcher_name: MatcherName = matcher
        self._lock = Lock()
        self._in_force: OrderedDict[tuple[date, str], tuple[KnowledgeInForce, _Compiled]] = (
            OrderedDict()
        )
        self._matchers: dict[tuple[object, ...], _Compiled] = {}
        self._concluder = Concluder(rulebook)
        self._days = {
            name: tuple(field for field, spec in fields.items() if spec.kind == "day")
            for name, fields in rulebook.finding_fields.items()
        }
        self._packs = rulebook.digests
        self._local_codes = rulebook.local_codes
        self._profiles = rulebook.profiles
        self._software = software_version()

    def assess(
        self,
        facts: FactSet,
        *,
        as_of: datetime,
        today: date,
        history: Sequence[HistoryEntry] = (),
        user: str = "",
        quiet: Collection[str] = (),
        asked: Collection[str] = (),
    ) -> Assessment:
        """Evaluate every rule for one patient.

        Args:
            facts: what the record says; units are canonical.
            as_of: the moment of the review, with a time zone.
            today: the calendar day of that moment in the client's zone.
            history: earlier answers of this patient; empty means nothing is suppressed.
            user: who looks on, for suppression of warnings.
            quiet: rules that are not live for this caller; assessed, but they never silence a live one.
            asked: findings to work out in any case; the others only as far as rules ask for them.

        Raises:
            EngineError: the matcher broke its promise; nothing may be concluded from silence.
            KnowledgeError: the band profile is unknown, or the knowledge in force cannot be compiled.
        """
        knowledge, compiled = self._prepare(today, facts.context.profile)
        evidence = Evidence(facts, knowledge, as_of=as_of, today=today)
        work = _Work(evidence)
        alive = work.follow(compiled.plan, facts)
        fired = self._fire(work, compiled, alive)
        if (
            asked
        ):  # last, so that findings stand in the same order for those who ask and those who do not
            work.run(compiled.plan.giving(frozenset(asked), facts))
        kept, superseded = supersede(fired, self.rulebook.cards, evidence, quiet)
        spoken, suppressed = suppress(
            kept, history, as_of=as_of, user=user, evidence=evidence, cards=self.rulebook.cards
        )
        return Assessment(
            recommendations=rank(spoken),
            superseded=tuple(sorted(superseded, key=lambda one: (one.rule, one.about, one.by))),
            suppressed=tuple(sorted(suppressed, key=lambda one: (one.rule, one.about))),
            findings=evidence.all_findings(),
            failures=tuple(work.failures),
            provenance=Provenance(
                as_of=as_of, today=today, profile=facts.context.profile, verbosity=facts.context.verbosity,
                packs=self._packs, engine=self.matcher_name, software=self._software,
                local_codes=self._local_codes,
            ),
        )  # fmt: skip

    def could_speak(
        self, facts: FactSet, evidence: Evidence, besides: frozenset[str], asked: frozenset[str]
    ) -> bool:
        """Whether a rule may fire, or a derivation fails, on evidence of facts that hold these triggers besides."""
        plan = self._prepare(evidence.today, evidence.context.profile)[1].plan
        work = _Work(evidence)
        work.run(plan.giving(asked, facts, besides))
        return bool(work.follow(plan, facts, besides) or work.failures)

    def knowledge(self, day: date, profile: str) -> KnowledgeInForce:
        """The numbers in force on a day; raises KnowledgeError when the profile is unknown."""
        return self._prepare(day, profile)[0]

    def program(self, day: date, profile: str) -> Program:
        """The rules as they are matched on a day; raises KnowledgeError when the profile is unknown."""
        return self._prepare(day, profile)[1].program

    def close(self) -> None:
        """Give back every handle of the matchers."""
        with self._lock:
            for compiled in self._matchers.values():
                compiled.matcher.close()
            self._matchers.clear()
            self._in_force.clear()

    # Steps -----------------------------------------------------------------------------------------------------

    def _fire(
        self, work: _Work, compiled: _Compiled, alive: frozenset[str]
    ) -> list[Recommendation]:
        """Match the rules that may fire with what they look at; the others are left in peace."""
        evidence, failures, program = work.evidence, work.failures, compiled.program
        if not alive:
            return []
        names = program.findings_of(alive)
        bound: list[Fact | Finding] = [evidence.patient, evidence.context]
        items = [_patient_item(evidence.patient), _context_item(evidence.context)]
        fresh: Iterable[Finding] = evidence.findings_of(names)
        conclusions: list[Conclusion] = []
        for stratum in range(program.strata):
            for one in fresh:
                bound.append(one)
                items.append(self._item(one))
            # Later rules wait for what earlier ones infer, and mostly in vain; the first are always matched
            awake = not stratum or program.could_fire(stratum, {item.kind for item in items})
            for name, places in _match(compiled.matcher, items, stratum, alive) if awake else ():
                rule = self.rulebook.rules[name]
                aliases = program.aliases(name)
                case = SimpleNamespace(
                    **dict(zip(aliases, (bound[place] for place in places), strict=True))
                )
                try:
                    outcome = rule.conclude(case)
                except Exception as error:  # noqa: BLE001 - recorded; the others still speak
                    failures.append(self._failure(name, error))
                    continue
                if outcome is not None:
                    conclusions.append(Conclusion(rule, outcome, vars(case)))
            fresh = ()
            if stratum + 1 < program.strata:
                inferred = tuple(self._concluder.infer(conclusions, evidence))
                for finding in inferred:
                    evidence.add(finding)
                fresh = [finding for finding in inferred if finding.name in names]
        fired: list[Recommendation] = []
        groups = self._concluder.group(conclusions)
        work.run(compiled.plan.for_cards([group[0].rule.name for group in groups], evidence.facts))
        for group in groups:
            try:
                fired.append(self._concluder.recommend(group, evidence))
            except Exception as error:  # noqa: BLE001 - recorded; the others still speak
                failures.append(self._failure(group[0].rule.name, error))
        return fired

    def _item(self, one: Finding) -> Item:
        """What the matcher sees of a finding."""
        values: dict[str, object] = {"about": one.about, **one.values}
        for field in self._days[one.name]:
            day = one.values.get(field)
            if isinstance(day, date):
                values[field] = day.isoformat()
        return Item("finding:" + one.name, values)

    def _failure(self, name: str, error: Exception) -> RuleFailure:
        card = self.rulebook.cards.get(name)
        return RuleFailure(rule=name, version=card.version if card else "", error=_describe(error))

    # Preparation -----------------------------------------------------------------------------------------------

    def _prepare(self, day: date, profile: str) -> tuple[KnowledgeInForce, _Compiled]:
        key = (day, profile)
        with self._lock:
            ready = self._in_force.get(key)
            if ready is None:
                if self._profiles and profile not in self._profiles:
                    raise KnowledgeError(
                        f"there is no band profile {profile!r}.",
                        remedy=f"Choose one of {', '.join(self._profiles)}.",
                    )
                knowledge = KnowledgeInForce(self.rulebook, day, profile)
                ready = self._in_force[key] = (knowledge, self._matcher_for(knowledge))
                if len(self._in_force) > _REMEMBERED_DAYS:
                    self._in_force.popitem(last=False)
            return ready

    def _matcher_for(self, knowledge: KnowledgeInForce) -> _Compiled:
        """One matcher per set of values, not per day: most days share all their numbers."""
        values = {name: held.value for name, held in knowledge.parameters.items()}
        names = sorted(name for name in self._consulted() if name in values)
        key = tuple((name, values[name]) for name in names)
        if key not in self._matchers:
            active = [
                rule
                for rule in self.rulebook.rules.values()
                if self._concluder.consults(rule) <= values.keys()
            ]
            program = compile_rules(
                active, self.rulebook.schema(), {name: values[name] for name in names}
            )
            plan = Plan(self.rulebook, program, self._concluder.speaks)
            self._matchers[key] = _Compiled(_build(self.matcher_name, program), program, plan)
        return self._matchers[key]

    def _consulted(self) -> set[str]:
        return {
            name for rule in self.rulebook.rules.values() for name in self._concluder.consults(rule)
        }


def _match(
    matcher: Matcher, items: Sequence[Item], stratum: int, only: frozenset[str]
) -> list[tuple[str, tuple[int, ...]]]:
    """What the matcher finds; facts that it may not see make the whole patient fail, loudly."""
    try:
        return matcher.match(items, stratum, only)
    except FactError as error:
        raise EngineError(f"this patient cannot be evaluated: {error}") from error


def _build(name: MatcherName, program: Program) -> Matcher:
    if name == "compiled":
        from rules.oracle import CompiledMatcher

        return CompiledMatcher(program)
    if name == "durable":
        from rules.driver import DurableMatcher

        return DurableMatcher(program)
    raise EngineError(f"there is no matcher {name!r}; choose durable or compiled.")


def _patient_item(one: Patient) -> Item:
    values = {"age_years": one.age_years, "age_days": one.age_days, "sex": one.sex}
    return Item("patient", values)


def _context_item(one: Context) -> Item:
    values = {
        "hook": one.hook, "moment": one.moment, "verbosity": one.verbosity, "profile": one.profile
    }  # fmt: skip
    return Item("context", values)


def _describe(error: Exception) -> str:
    """Type and our own words only: a foreign message could repeat patient data."""
    return (
        f"{type(error).__name__}: {error}"
        if isinstance(error, DekacardError)
        else type(error).__name__
    )


def software_version() -> str:
    """The installed version of dekacard, or ``unknown`` when run from a plain folder."""
    try:
        return version("dekacard")
    except PackageNotFoundError:
        return "unknown"
