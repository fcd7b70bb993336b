"""Whether silence about an alert may only mean that the result it rests on grew old.

Rules look at results of the last days only, so an alarming one falls silent by mere waiting. Such an alert stays open
until the result was repeated, or until what was given together with it was stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

# Facts whose end changes the situation: kind in the fact set, and the word each is known by
_SITUATION = (
    ("uses", "ingredient"), ("conditions", "problem"), ("procedures", "procedure"), ("diets", "food"),
)  # fmt: skip
_UNCONFIRMED = frozenset({"preliminary", "registered", "partial", "unknown"})


def only_grew_old(
    then: Mapping[str, Any], answer: Mapping[str, Any], facts: Mapping[str, Any]
) -> bool:
    """Whether the recommendation ``then`` would still be due, had its result not grown old.

    ``then`` is the recommendation that described the alert last, ``answer`` and ``facts`` are those of the
    review that is silent about it. What only renews a record, or lowers a dose, leaves the result unanswered.
    """
    reasons = list(then["because"])
    if not all(_stands(reason, then["about"], facts) for reason in reasons):
        return False
    found = {(one["name"], one["about"]) for one in answer["findings"]}
    return any(
        _results(reason) and _name(reason) not in found and not _repeated(reason, answer, facts)
        for reason in reasons
    )


def _stands(reason: Mapping[str, Any], about: str, facts: Mapping[str, Any]) -> bool:
    """Whether at least one of the drugs and problems of a reason is still there, first of all its subject."""
    words = {word for leaf in _leaves(reason) if (word := _word(leaf)) and _counts(leaf)}
    subjects = words & {about, str(reason.get("about", ""))}
    return not words or bool((subjects or words) & _present(facts))


def _present(facts: Mapping[str, Any]) -> set[str]:
    return {
        str(fact[word]) for kind, word in _SITUATION for fact in facts[kind] if _counts(fact)
    }  # fmt: skip


def _counts(fact: Mapping[str, Any]) -> bool:
    return fact.get("taking") != "no" and fact.get("clinical_status") != "resolved"


def _word(leaf: Mapping[str, Any]) -> str:
    return next((str(leaf[word]) for _, word in _SITUATION if leaf.get(word)), "")


def _repeated(
    reason: Mapping[str, Any], answer: Mapping[str, Any], facts: Mapping[str, Any]
) -> bool:
    """Whether the result was measured again; albumin beside calcium, for one, is no repetition of it."""
    first = _results(reason)[0]
    if any(lab["measure"] == first["measure"] and _after(lab, first) for lab in facts["labs"]):
        return True
    # The same finding from another measure: an ionised calcium after a total one, but not its own albumin of later
    names = {_name(one) for one in _findings(reason)}
    own = [one["source"] for one in _results(reason)]
    return any(
        _after(lab, first) and lab["source"] not in own
        for one in answer["findings"]
        if _name(one) in names
        for lab in _results(one)
    )


def _after(lab: Mapping[str, Any], then: Mapping[str, Any]) -> bool:
    if lab["problem"] or lab["status"] in _UNCONFIRMED or lab["value"] is None:
        return False
    day, before = lab["taken"] or "", then["taken"] or ""
    if day != before:
        return str(day) > str(before)
    if not (lab["instant"] and then["instant"]):
        return False  # nothing says which of two results of one day is newer
    return datetime.fromisoformat(lab["instant"]) > datetime.fromisoformat(then["instant"])


def _results(reason: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        leaf
        for leaf in _leaves(reason)
        if leaf.get("measure") and leaf.get("value") is not None and "problem" in leaf
    ]


def _name(reason: Mapping[str, Any]) -> tuple[str, str]:
    return str(reason.get("name", "")), str(reason.get("about", ""))


def _findings(reason: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "because" in reason:
        yield reason
        for below in reason["because"]:
            yield from _findings(below)


def _leaves(reason: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    if "because" not in reason:
        yield reason
        return
    for below in reason["because"]:
        yield from _leaves(below)
