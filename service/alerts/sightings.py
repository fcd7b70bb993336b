"""From a recorded answer to what concerns alerts: plain values, without a database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

import msgspec

from rules.assessment import Gap
from service.alerts.lines import canonical
from service.alerts.priority import Part, parts_of

# What changes when a record is merely renewed or read again; the values that decide stay in the hash.
_INCIDENTAL = {
    "source", "record", "recorded", "product", "reported", "performer", "code", "title", "instant", "kind", "status",
    "selected", "end", "end_basis", "dose_note", "coded", "reference_high", "specimen", "group", "authored", "due",
}  # fmt: skip
_LAB_VALUES = ("measure", "value", "unit", "comparator", "taken")
_FAMILIES = {
    "Observation": "labs", "DiagnosticReport": "labs", "MedicationStatement": "medication",
    "MedicationRequest": "medication", "MedicationOrder": "medication", "Medication": "medication",
    "Condition": "conditions", "Procedure": "procedures", "Goal": "goals", "ServiceRequest": "orders",
    "NutritionOrder": "diet", "Patient": "patient",
}  # fmt: skip
NOT_EVALUATED = "could-not-evaluate"
_MEDICATION = "medication"  # every rule needs it; so does whatever could not be evaluated
_AMENDED = {"amended", "corrected"}
_AMENDED_MARK = "+amended"


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that holds for the patient now; ``sources`` maps each FHIR reference to a digest of its values."""

    rule: str
    about: str
    indicator: str
    kind: str = "recommendation"
    version: str = ""
    topic_code: str = ""
    title: str = ""
    summary: str = ""
    fingerprint: str = ""
    evidence_hash: str = ""
    needs: tuple[str, ...] = ()
    concerns: tuple[str, ...] = ()
    sources: dict[str, str] = {}
    from_draft: bool = False
    priority: tuple[Part, ...] = ()


def recommended(answer: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Sighting]:
    """A sighting for each recommendation of an answer; ``facts`` are those it was made from."""
    today = date.fromisoformat(answer["provenance"]["today"])
    return [_of_recommendation(one, facts, today) for one in answer["recommendations"]]


def not_evaluated(gaps: Iterable[Gap], failures: Iterable[Mapping[str, Any]]) -> list[Sighting]:
    """A sighting for each thing that could not be evaluated and might have mattered."""
    grouped: dict[str, list[Gap]] = {}
    for gap in gaps:
        grouped.setdefault(gap.code or gap.source, []).append(gap)
    found = [
        Sighting(
            rule=NOT_EVALUATED, about=code, indicator="warning", kind="not-evaluated", title=code,
            summary=" ".join(dict.fromkeys(gap.says for gap in held)),
            evidence_hash=_hash(sorted(gap.source for gap in held)),
            needs=tuple(sorted({_MEDICATION, *(_family(gap.source) for gap in held)})),
        )
        for code, held in sorted(grouped.items())
    ]  # fmt: skip
    broken = sorted({str(failure["rule"]) for failure in failures})
    return found + [call_failed(f"rule-failure:{rule}") for rule in broken]


def call_failed(error: str) -> Sighting:
    """The sighting of a call, or a rule, that broke."""
    return Sighting(
        rule=NOT_EVALUATED,
        about=error,
        indicator="warning",
        kind="not-evaluated",
        title=error,
        evidence_hash=error,
        needs=(_MEDICATION,),
    )


def _of_recommendation(one: Mapping[str, Any], facts: Mapping[str, Any], today: date) -> Sighting:
    leaves = list(_leaves(one["because"]))
    chained = [*leaves, *_leaves(one["chain"])]
    return Sighting(
        rule=one["rule"],
        about=one["about"],
        indicator=one["indicator"],
        version=one["version"],
        topic_code=one["topic_code"],
        title=one["title"],
        summary=one["summary"],
        fingerprint=one["fingerprint"],
        evidence_hash=_hash(
            sorted({canonical(_deciding(leaf)) for leaf in leaves} - {canonical({})})
        ),
        needs=tuple(
            sorted({_MEDICATION, *(family for leaf in chained for family in _families(leaf))})
        ),
        concerns=tuple(
            sorted({one["about"], *(word for leaf in chained for word in _words(leaf))} - {""})
        ),
        sources={ref: _values_digest(leaf) for leaf in chained for ref in leaf["source"]},
        from_draft=any("draft" in (leaf.get("taking"), leaf.get("state")) for leaf in leaves),
        priority=parts_of(chained, facts, today),
    )


def _leaves(reasons: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Facts below findings; a finding is known by its values."""
    for reason in reasons:
        if "values" in reason and "because" in reason:
            yield from _leaves(reason["because"])
        else:
            yield reason


def _deciding(leaf: Mapping[str, Any]) -> dict[str, Any]:
    if "age_days" in leaf or "verbosity" in leaf:
        return {}  # patient and context: an age grows every day and is no new evidence
    kept = {name: value for name, value in leaf.items() if name not in _INCIDENTAL}
    if kept.get("taking") == "draft":
        kept["taking"] = "yes"  # the signed order is the draft that was warned about
    if leaf.get("start_is_bound"):
        kept.pop("start", None)  # a bound moves with each renewal, the course does not
    return kept


def _families(leaf: Mapping[str, Any]) -> set[str]:
    return {_FAMILIES.get(_type_of(ref), "") for ref in leaf["source"]} - {""}


def _family(source: str) -> str:
    """The family of a FHIR reference; the name of an unread source stands for itself."""
    return _FAMILIES.get(_type_of(source), "") or source


def _type_of(ref: str) -> str:
    parts = ref.split("/")
    return parts[-2] if len(parts) > 1 else ""


def _words(leaf: Mapping[str, Any]) -> Iterator[str]:
    for name in ("ingredient", "measure", "problem", "procedure", "food"):
        if leaf.get(name):
            yield leaf[name]
    yield from leaf.get("classes", ())


def _values_digest(leaf: Mapping[str, Any]) -> str:
    if "measure" not in leaf or "value" not in leaf:
        return ""
    digest = _hash([leaf[name] for name in _LAB_VALUES])[:16]
    return digest + _AMENDED_MARK if leaf.get("status") in _AMENDED else digest


def _hash(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


# What became of evidence that alerts rest on -------------------------------------------------------------------


def current_sources(
    facts: Mapping[str, Any], withdrawn: Iterable[str]
) -> dict[str, frozenset[str]]:
    """Every result of this review: reference -> digests of the values under it; none where it was taken back."""
    now: dict[str, set[str]] = {}
    for lab in facts["labs"]:
        for ref in lab["source"]:
            now.setdefault(ref, set()).add(_values_digest(lab))
    now |= {ref: set() for ref in withdrawn}
    return {ref: frozenset(digests) for ref, digests in now.items()}


def evidence_state(rested_on: Mapping[str, str], now: Mapping[str, frozenset[str]]) -> str:
    """``withdrawn``, ``amended`` or "" for an alert that rests on these sources."""
    states = {_state_of(digest, now[ref]) for ref, digest in rested_on.items() if ref in now}
    return "withdrawn" if "withdrawn" in states else "amended" if "amended" in states else ""


def _state_of(then: str, now: frozenset[str]) -> str:
    """Values that were judged as amended already are no news; the same values named amended later are."""
    if not now:
        return "withdrawn"
    return "amended" if then and now.isdisjoint({then, then.removesuffix(_AMENDED_MARK)}) else ""


def may_clear(
    needs: Iterable[str], concerns: Iterable[str], rule: str, *, unread: Iterable[str], gaps: Iterable[Gap],
    failures: Iterable[Mapping[str, Any]], evaluated: Iterable[str], rule_names: bool = True,
) -> bool:  # fmt: skip
    """Whether silence about an alert means that it no longer holds: everything that its rule needs was read."""
    # Alerts of earlier versions do not say what they need: then everything counts
    needed, about = set(needs) or set(_FAMILIES.values()), set(concerns)
    if rule_names and rule not in set(evaluated):
        return False
    if any(_needed(source, needed) for source in unread):
        return False
    if any(True for _ in failures):
        return False
    for gap in gaps:
        family = _family(gap.source)
        relevant = not gap.concerns or bool(about.intersection(gap.concerns))
        if relevant and (_needed(family, needed) or family not in _FAMILIES.values()):
            return False
    return True


def _needed(source: str, needed: set[str]) -> bool:
    """``labs-inr`` belongs to ``labs``, ``medication-requests`` to ``medication``; what the patient is, to all."""
    return source.partition("-")[0] in needed or source in needed or source == "patient"
