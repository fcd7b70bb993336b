"""Suggestions -> FHIR drafts in the client's version, and recommendations -> DetectedIssue; all validated."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from fhir_adapter.elements import Resource, mappings, name_of
from fhir_adapter.resources import Version, checked, version_of
from rules.assessment import ProposedAction, Recommendation
from rules.code_files import Coded
from rules.vocabulary import Vocabulary

_UCUM = "http://unitsofmeasure.org"
_UNITS = {"[IU]": ("international units", "[iU]"), "ug": ("mcg", "ug"), "mg": ("mg", "mg")}
_SEVERITY = {"critical": "high", "warning": "moderate", "info": "low"}
_WEEK = 7
_DETAIL_LIMIT = 4000


class Proposed(NamedTuple):
    """One change: create or update a resource, or delete ``resource_id`` (``Type/id``)."""

    verb: Literal["create", "update", "delete"]
    resource: Resource | None = None
    resource_id: str = ""


class Draftsman:
    """Draws up the FHIR of suggestions for one patient of one client."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        patient_id: str,
        as_of: datetime,
        version: Version = "R4",
        drafts: Sequence[Resource] = (),
    ) -> None:
        self._vocabulary = vocabulary
        self._subject = {"reference": f"Patient/{patient_id}"}
        self._as_of = as_of
        self._version = version
        self._drafts = {name_of(draft): draft for draft in drafts}

    def draw(self, action: ProposedAction) -> tuple[Proposed, ...]:
        """Everything one suggestion would do; a link does nothing to the record.

        Raises:
            EngineError: the action cannot be expressed as valid FHIR.
        """
        makers: dict[str, Callable[[ProposedAction], Iterator[Proposed]]] = {
            "order-test": self._orders,
            "prescribe": self._prescription,
            "delete-draft": self._deletions,
            "replace-draft": self._replacements,
            "task": self._task,
        }
        maker = makers.get(action.kind)
        return tuple(maker(action)) if maker else ()

    def _orders(self, action: ProposedAction) -> Iterator[Proposed]:
        first = int(action.data.get("from_days") or 0)
        last = max(first, int(action.data.get("to_days") or first))
        for test in action.data.get("tests", ()):
            order = self._vocabulary.order_code(test)
            title = self._vocabulary.title(test)
            concept = _concept(order, title)
            resource: Resource = {
                "resourceType": "ProcedureRequest" if self._version == "STU3" else "ServiceRequest",
                "status": "draft",
                "intent": "proposal",
                "code": {"concept": concept} if self._version == "R5" else concept,
                "subject": self._subject,
                "authoredOn": self._as_of.isoformat(),
            }
            category = self._vocabulary.content.order_category
            if category is not None:
                resource["category"] = [_concept(category, "")]
            if last > first:
                resource["occurrencePeriod"] = {"start": self._day(first), "end": self._day(last)}
            else:
                resource["occurrenceDateTime"] = self._day(first)
            yield Proposed("create", checked(resource, self._version))

    def _prescription(self, action: ProposedAction) -> Iterator[Proposed]:
        resource: Resource = {
            "resourceType": "MedicationRequest",
            "status": "draft",
            "intent": "proposal",
            "subject": self._subject,
            "authoredOn": self._as_of.isoformat(),
            **self._medication(action.data, self._version),
            "dosageInstruction": [self._dosage(action.data, self._version)],
        }
        yield Proposed("create", checked(resource, self._version))

    def _deletions(self, action: ProposedAction) -> Iterator[Proposed]:
        for target in action.targets:
            if target in self._drafts:
                yield Proposed("delete", resource_id=target)

    def _replacements(self, action: ProposedAction) -> Iterator[Proposed]:
        """An update carries the client's own JSON, changed only where it must be (C51, CDS Hooks)."""
        for target in action.targets:
            draft = self._drafts.get(target)
            if draft is None:
                continue
            version = version_of(draft)
            changed = copy.deepcopy(draft)
            changed.pop("fullUrl", None)
            data = dict(action.data)
            if not data.get("keep_product"):
                for key in (
                    "medicationCodeableConcept",
                    "medicationReference",
                    "medication",
                    "contained",
                ):
                    changed.pop(key, None)
                changed.update(self._medication(data, version))
                changed["dosageInstruction"] = [self._dosage(data, version)]
            else:
                doses = mappings(changed.get("dosageInstruction")) or [{}]
                kept = doses[0]
                kept["timing"] = {"repeat": _repeat(data)}
                kept["text"] = _often(data)
                changed["dosageInstruction"] = [kept]
            yield Proposed("update", changed, target)

    def _task(self, action: ProposedAction) -> Iterator[Proposed]:
        to = str(action.data.get("to", "")).replace("-", " ")
        resource: Resource = {
            "resourceType": "Task",
            "status": "draft",
            "intent": "proposal",
            "description": action.description or action.label,
            "for": self._subject,
            "authoredOn": self._as_of.isoformat(),
        }
        if to:
            performer = {"text": to}
            if self._version == "R5":
                resource["requestedPerformer"] = [{"concept": performer}]
            else:
                resource["performerType"] = [performer]
        yield Proposed("create", checked(resource, self._version))

    def _medication(self, data: dict[str, Any], version: Version) -> Resource:
        ingredient = str(data.get("ingredient", ""))
        order = self._vocabulary.product_code(ingredient, data.get("amount"))
        concept = _concept(order, order.display if order else self._vocabulary.title(ingredient))
        if version == "R5":
            return {"medication": {"concept": concept}}
        return {"medicationCodeableConcept": concept}

    def _dosage(self, data: dict[str, Any], version: Version) -> Resource:
        unit = str(data.get("unit", ""))
        named, code = _UNITS.get(unit, (unit, unit))
        quantity = {"value": data["amount"], "unit": named, "system": _UCUM, "code": code}
        dosage: Resource = {
            "text": f"{data['amount']:,g} {named}, {_often(data)}",
            "timing": {"repeat": _repeat(data)},
        }
        if version == "STU3":
            return {**dosage, "doseQuantity": quantity}
        return {**dosage, "doseAndRate": [{"doseQuantity": quantity}]}

    def _day(self, days: int) -> str:
        return (self._as_of + timedelta(days=days)).date().isoformat()


def detected_issue(
    recommendation: Recommendation, *, patient_id: str, as_of: datetime, identity: str = ""
) -> Resource:
    """One recommendation as a FHIR R4 DetectedIssue, with the records it rests on as ``implicated``.

    Raises:
        EngineError: it cannot be expressed as valid FHIR.
    """
    text = " ".join(part for part in (recommendation.summary, recommendation.why) if part)
    resource: Resource = {
        "resourceType": "DetectedIssue",
        "status": "preliminary",
        "code": {"text": recommendation.title},
        "severity": _SEVERITY[recommendation.indicator],
        "patient": {"reference": f"Patient/{patient_id}"},
        "identifiedDateTime": as_of.isoformat(),
        "detail": text[:_DETAIL_LIMIT],
    }
    if identity:
        resource["id"] = identity
    implicated = [source for source in recommendation.source if source.count("/") == 1]
    if implicated:
        resource["implicated"] = [{"reference": source} for source in implicated]
    url = next((one.url for one in recommendation.citations if one.url), "")
    if url:
        resource["reference"] = url
    return checked(resource, "R4")


def _concept(coded: Coded | None, title: str) -> Resource:
    if coded is None:
        return {"text": title}
    coding = {"system": coded.system, "code": coded.code, "display": coded.display}
    return {"coding": [coding], "text": title or coded.display}


def _repeat(data: dict[str, Any]) -> Resource:
    days = data.get("interval_days") or 1
    whole_weeks = days % _WEEK == 0
    repeat: Resource = {
        "frequency": 1,
        "period": days // _WEEK if whole_weeks else days,
        "periodUnit": "wk" if whole_weeks else "d",
    }
    doses = data.get("doses")
    if doses:
        repeat["count"] = int(doses)
        length = {"value": doses * days, "unit": "days", "system": _UCUM, "code": "d"}
        repeat["boundsDuration"] = length
    return repeat


def _often(data: dict[str, Any]) -> str:
    days = data.get("interval_days") or 1
    often = {1: "once a day", _WEEK: "once a week"}.get(days, f"every {days:g} days")
    doses = data.get("doses")
    return f"{often}, {doses:g} doses" if doses else often
