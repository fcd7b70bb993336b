"""What an alert was made from, read back from its evidence: facts, recommendation, results over time."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import Row, select

from rules.assessment import Citation, OverrideReason, Recommendation
from rules.errors import DekacardError
from rules.facts import Fact, FactSet, Finding, LabResult, ParameterUse
from service.alerts import models
from service.evidence_vault import Evidence, bound, fetch, fetch_all, unseal_text

if TYPE_CHECKING:
    from service.alerts.store import Store

_ANNOTATION: Final = re.compile(r"\s*\{[^{}]*\}")
_FORGOTTEN: Final = "patient not known any more"
OF_ONE_DRAFT: Final = "order-select"  # called at every click, with what the client has at hand
_LOOKED_AT: Final = 2  # newest reviews of a patient that a list opens
_FACT_LISTS: Final = ("uses", "labs", "conditions", "procedures", "goals", "orders", "diets")


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation as it was recorded."""

    facts: FactSet
    answer: dict[str, Any]
    gaps: tuple[Any, ...]

    def recommendation(self, rule: str, about: str) -> Recommendation | None:
        """What the rule said about its subject, with its reasons as facts and findings again."""
        for one in self.answer["recommendations"]:
            if (one["rule"], one["about"]) == (rule, about):
                return _recommendation(one, self.facts)
        return None


class Glance(msgspec.Struct, frozen=True, kw_only=True):
    """The little that a row of the worklist shows of a patient; ``trend`` is oldest first.

    ``left_out`` counts results of the same measure in another unit, which the trend cannot show.
    """

    patient: str
    about: str
    newest: LabResult | None = None
    trend: tuple[LabResult, ...] = ()
    target: tuple[float | None, float | None] | None = None
    left_out: int = 0


def case_of(store: Store, tenant: str, evaluation: str) -> Case | None:
    """The evaluation behind an alert; None when its evidence is gone (retention) or never was."""
    with store.database.reading() as connection:
        digest = connection.scalar(
            select(models.evaluation.c.evidence).where(
                models.evaluation.c.tenant == tenant, models.evaluation.c.id == evaluation
            )
        )
        if not digest:
            return None
        try:
            return _opened(fetch(connection, store.keyring, tenant, digest))
        except DekacardError:
            return None


def glances(store: Store, tenant: str, rows: Sequence[Row[Any]]) -> dict[int, Glance]:
    """A glance for each alert, by its number: four queries, however many alerts there are.

    Results are the newest known of the patient, also where the alert rests on older ones.
    """
    patients = {row.patient for row in rows}
    names = references_of(store, tenant, patients)
    latest = newest_reviews(store, tenant, patients)
    seen = {review for reviews in latest.values() for review in reviews}
    facts = _facts_of(store, tenant, {row.evaluation for row in rows} | seen)
    found: dict[int, Glance] = {}
    for row in rows:
        patient = names.get(row.patient, _FORGOTTEN)
        held = facts.get(row.evaluation)
        if held is None:
            found[row.id] = Glance(patient=patient, about="")
            continue
        newer = [facts[one] for one in latest.get(row.patient, ()) if one in facts] or [held]
        known, trend = _newest_known(held, newer, row)
        found[row.id] = Glance(
            patient=patient,
            about=about_patient(newer[0] if newer[0].patient.source else held),
            newest=trend[-1] if trend else None,
            trend=trend,
            target=_target(known, trend[-1].measure) if trend else None,
            left_out=left_out(known.labs, trend[-1].measure) if trend else 0,
        )
    return found


def newest_reviews(store: Store, tenant: str, patients: Collection[str]) -> dict[str, list[str]]:
    """The newest reviews of each patient of which the evidence is kept, the newest first.

    More than one, since the newest may have seen no results; calls for the choice of an order see too little always.
    """
    here, there = models.patient, models.evaluation
    newest = (
        select(there.c.id)
        .where(
            there.c.tenant == here.c.tenant, there.c.patient == here.c.patient, there.c.evidence != "",
            there.c.hook != OF_ONE_DRAFT,
        )
        .order_by(there.c.received.desc(), there.c.id)
        .limit(1)
    )  # fmt: skip
    # Short looks into the index: numbering all reviews of all these patients costs many times as much
    looks = [newest.offset(turn).scalar_subquery() for turn in range(_LOOKED_AT)]
    query = select(here.c.patient, *looks).where(
        here.c.tenant == tenant, here.c.patient.in_(set(patients))
    )
    with store.database.reading() as connection:
        rows = connection.execute(query).all()
    return {row[0]: [one for one in row[1:] if one is not None] for row in rows}


def references_of(store: Store, tenant: str, patients: Collection[str]) -> dict[str, str]:
    """The ids of patients on the client's server by our keys, as far as they are known and can be opened."""
    table, found = models.patient, {}
    with store.database.reading() as connection:
        rows = connection.execute(
            select(table).where(table.c.tenant == tenant, table.c.patient.in_(set(patients)))
        ).all()
    for row in rows:
        with contextlib.suppress(DekacardError):
            found[row.patient] = unseal_text(
                store.keyring, row.sealed_with, row.reference, bound("patient", tenant, row.patient)
            )
    return found


def cases_of(store: Store, tenant: str, evaluations: Collection[str]) -> dict[str, Case]:
    """The evaluations behind many alerts, as far as their evidence is kept."""
    digests, held = _evidence_of(store, tenant, evaluations)
    opened = {digest: _opened(evidence) for digest, evidence in held.items()}
    return {number: opened[digest] for number, digest in digests.items() if digest in opened}


def _facts_of(store: Store, tenant: str, evaluations: Collection[str]) -> dict[str, FactSet]:
    digests, held = _evidence_of(store, tenant, evaluations)
    facts = {digest: evidence.fact_set() for digest, evidence in held.items()}
    return {number: facts[digest] for number, digest in digests.items() if digest in facts}


def _evidence_of(
    store: Store, tenant: str, evaluations: Collection[str]
) -> tuple[dict[str, str], dict[str, Evidence]]:
    """The digest of each evaluation, and the evidence of each digest, by two queries."""
    table = models.evaluation
    with store.database.reading() as connection:
        rows = connection.execute(
            select(table.c.id, table.c.evidence).where(
                table.c.tenant == tenant, table.c.id.in_(set(evaluations)), table.c.evidence != ""
            )
        ).all()
        held = fetch_all(connection, store.keyring, tenant, {row.evidence for row in rows})
    return {row.id: row.evidence for row in rows}, held


def _target(facts: FactSet, measure: str) -> tuple[float | None, float | None] | None:
    """The range that the record sets for this patient."""
    goals = [goal for goal in facts.goals if goal.measure == measure]
    return (goals[0].low, goals[0].high) if goals else None


def reference_of(store: Store, tenant: str, patient: str) -> str:
    """The patient's id on the client's server, or words for its absence."""
    try:
        return store.patient_reference(tenant, patient)
    except DekacardError:
        return _FORGOTTEN


def about_patient(facts: FactSet) -> str:
    """Age and sex as far as they were supplied."""
    who = facts.patient
    age = "age not supplied" if who.age_years is None else f"{who.age_years} y"
    return ", ".join(part for part in (age, who.sex or "sex not supplied"))


def as_reported(lab: LabResult) -> str:
    """The result as it was received, less the annotations of UCUM, which no laboratory prints (``{INR}``)."""
    said = _ANNOTATION.sub("", lab.reported) or f"{lab.value}"
    return f"{lab.comparator}{said}"


def left_out(labs: Iterable[LabResult], measure: str) -> int:
    """How many usable results of a measure cannot stand beside the newest one, for their unit."""
    labs = list(labs)
    return len(_usable(labs, measure)) - len(series(labs, measure))


def series(labs: Iterable[LabResult], measure: str) -> list[LabResult]:
    """Usable results of a measure in the unit of the newest one, oldest first."""
    usable = _usable(labs, measure)
    return [lab for lab in usable if lab.unit == usable[-1].unit]


def _usable(labs: Iterable[LabResult], measure: str) -> list[LabResult]:
    return sorted(
        (lab for lab in labs if lab.measure == measure and not lab.problem and lab.taken is not None and lab.value is not None),
        key=lambda lab: lab.taken or date.min,
    )  # fmt: skip


def _newest_known(
    held: FactSet, newer: Sequence[FactSet], row: Row[Any]
) -> tuple[FactSet, tuple[LabResult, ...]]:
    """The results to show beside an alert, and the facts they are from: whichever review knows the latest result."""
    measure = _measure(held, msgspec.json.decode(row.sources or "{}"))
    known = [(facts, tuple(series(facts.labs, measure))) for facts in (*newer, held)]
    told = [one for one in known if one[1]]
    if not told:
        return held, ()
    # What was taken back or amended is no newest result, though newer reviews may know older ones only
    if row.evidence_state in {"withdrawn", "amended"}:
        return told[0]
    return max(told, key=lambda one: one[1][-1].taken or date.min)  # of equals the newest review


def _measure(facts: FactSet, sources: Mapping[str, str]) -> str:
    """The test that the alert rests on, else that of which there are most results; "" without any."""
    cited = [lab for lab in facts.labs if not sources.keys().isdisjoint(lab.source)]
    measures = [lab.measure for lab in cited] or [lab.measure for lab in facts.labs]
    return max(sorted(set(measures)), key=measures.count) if measures else ""


def _opened(evidence: Evidence) -> Case:
    return Case(facts=evidence.fact_set(), answer=evidence.said(), gaps=evidence.gaps)


def _recommendation(one: Mapping[str, Any], facts: FactSet) -> Recommendation:
    known = _by_content(facts)
    plain = {
        name: one[name]
        for name in (
            "rule", "version", "pack", "topic_code", "title", "status", "about", "indicator", "certainty", "summary",
            "why", "limits", "fingerprint", "reviewed",
        )
    }  # fmt: skip
    return Recommendation(
        **plain,
        options=tuple(one["options"]),
        missing=tuple(one["missing"]),
        because=tuple(_reason(reason, known) for reason in one["because"]),
        chain=tuple(found for reason in one["chain"] if isinstance(found := _reason(reason, known), Finding)),
        parameters=msgspec.convert(one["parameters"], tuple[ParameterUse, ...], strict=False),
        citations=msgspec.convert(one["citations"], tuple[Citation, ...]),
        override_reasons=msgspec.convert(one["override_reasons"], tuple[OverrideReason, ...]),
    )  # fmt: skip


def _by_content(facts: FactSet) -> dict[bytes, Fact]:
    """Facts by their bytes: an answer repeats them whole, without saying of which kind each is."""
    every: list[Fact] = [facts.patient, facts.context]
    for name in _FACT_LISTS:
        every.extend(getattr(facts, name))
    return {_bytes(msgspec.to_builtins(fact)): fact for fact in every}


def _bytes(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def _reason(reason: Mapping[str, Any], known: Mapping[bytes, Fact]) -> Fact | Finding:
    if "values" in reason and "because" in reason:
        return Finding(
            name=reason["name"],
            about=reason["about"],
            values=dict(reason["values"]),
            because=tuple(_reason(one, known) for one in reason["because"]),
            missing=tuple(reason["missing"]),
        )
    return known.get(_bytes(reason)) or Fact(source=tuple(reason["source"]))
