"""Invented patients for the record: assessments of the shapes that the rules make."""

import uuid
from datetime import UTC, date, datetime, timedelta

import msgspec

from rules.assessment import (
    Assessment,
    Gap,
    Provenance,
    Recommendation,
    RuleFailure,
    Superseded,
    Suppressed,
)
from rules.facts import Context, FactSet, Finding, LabResult, MedicationUse, Patient
from service.alerts.keyring import card_uuid
from service.alerts.values import Call, IssuedCard

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
RULE = "vka-k-ongoing-unmonitored"
ABOUT = "vitamin-k2-mk7"
RULES = (RULE, "vka-inr-high", "vitamin-d-above")


class Reviewed(msgspec.Struct, frozen=True):
    """What a review hands to the record."""

    assessment: Assessment
    facts: FactSet
    gaps: tuple[Gap, ...] = ()
    gap_cards: tuple[Gap, ...] = ()
    withdrawn: tuple[str, ...] = ()


def mk7(daily=45.0, *, taking="yes", record="MedicationStatement/k"):
    return MedicationUse(
        record=record, source=(record,), ingredient=ABOUT, classes=("vitamin-k", "k2", "mk7"), daily=daily,
        amount=daily, unit="ug", interval_days=1.0, dose_known=True, taking=taking, start=date(2026, 10, 20),
    )  # fmt: skip


def warfarin():
    return MedicationUse(
        record="MedicationStatement/w", source=("MedicationStatement/w",), ingredient="warfarin", classes=("vka",),
        start=date(2024, 3, 1),
    )  # fmt: skip


def inr(value=2.4, *, status="final", ref="Observation/inr"):
    return LabResult(
        measure="inr",
        value=value,
        taken=date(2026, 11, 1),
        status=status,
        source=(ref,),
        reported=str(value),
    )


def recommendation(
    *,
    rule=RULE,
    about=ABOUT,
    indicator="warning",
    because=None,
    summary="Ongoing vitamin K2 with warfarin.",
):
    because = (mk7(), warfarin()) if because is None else because
    found = Finding(
        name="relevant-vitamin-k", about=about, values={"days_together": 33}, because=because
    )
    return Recommendation(
        rule=rule, version="2026.11.1", pack="vitamin_k_antagonists", topic_code="VKAKUNMON", title="Vitamin K with a VKA",
        status="draft", about=about, indicator=indicator, certainty="moderate", summary=summary, why="Because.",
        because=(found,), chain=(found,), fingerprint=f"{rule}-{indicator}",
    )  # fmt: skip


def reviewed(
    *recommendations, moment="view", unread=None, gaps=(), gap_cards=(), withdrawn=(), suppressed=(), superseded=(), failures=(),
    labs=(), uses=None, hook="patient-view", as_of=NOON,
):  # fmt: skip
    facts = FactSet(
        patient=Patient(id="p1", source=("Patient/p1",)),
        context=Context(hook=hook, moment=moment, unread=unread or {}),
        uses=(mk7(), warfarin()) if uses is None else uses,
        labs=tuple(labs),
    )
    assessment = Assessment(
        recommendations=tuple(recommendations),
        superseded=tuple(Superseded(rule=r, about=a, by=by) for r, a, by in superseded),
        suppressed=tuple(Suppressed(rule=r, about=a, reason="answered before") for r, a in suppressed),
        findings=(),
        failures=tuple(RuleFailure(rule=rule, version="1", error="KeyError") for rule in failures),
        provenance=Provenance(
            as_of=as_of, today=as_of.date(), profile="nam-2011", verbosity="standard", packs={"core": "2026.11.1+ab"},
            engine="compiled", software="0.1.0",
        ),
    )  # fmt: skip
    return Reviewed(assessment, facts, tuple(gaps), tuple(gap_cards), tuple(withdrawn))


def call(
    number=0,
    *,
    tenant="st-elsewhere",
    patient="p1",
    minutes=0,
    hook="patient-view",
    instance=None,
    **more,
):
    at = NOON + timedelta(minutes=minutes)
    name = uuid.uuid5(uuid.NAMESPACE_URL, f"{tenant} {patient} {number} {minutes} {hook}")
    return Call(
        id=name.hex, tenant=tenant, patient=patient, received=at, hook=hook, service=f"vitamin-dk-{hook}",
        hook_instance=instance or str(name), user=more.pop("user", "Practitioner/1"), **more,
    )  # fmt: skip


def cards_for(keyring, made, review):
    """A card for each recommendation, as the service issues them."""
    return tuple(
        IssuedCard(
            uuid=card_uuid(
                keyring.recommendation_key(made.tenant, made.patient, one.rule, one.about),
                made.hook_instance,
                made.service,
            ),
            body={"summary": one.summary, "indicator": one.indicator},
            indicator=one.indicator,
            subjects=((one.rule, one.about),),
        )
        for one in review.assessment.recommendations
    )
