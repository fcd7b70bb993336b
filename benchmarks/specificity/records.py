"""What a hospital knows of a person: the same truth after coding, free text, masking, staleness and different units.

The texts are what people write, in several languages and spellings; nothing here looks at the lists that read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Any

from benchmarks.specificity.people import Person, Taking

TODAY = date(2026, 11, 22)
ATC, LOINC, SCT = "http://www.whocc.no/atc", "http://loinc.org", "http://snomed.info/sct"
RXNORM, UCUM = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://unitsofmeasure.org"

# Shares of what goes missing or wrong between the truth and the record.
UNLISTED, STALE, NO_DOSE, NO_START, CODED, VAGUE, ODD_STATUS = (
    0.12,
    0.9,
    0.15,
    0.25,
    0.4,
    0.15,
    0.03,
)

TEXTS = {
    "d3-400": ["Vitamin D3 400 IU", "Vit D 10 mcg", "cholecalciferol 400 units"],
    "d3-1000": ["Vitamin D3 1000 IU tablet", "vit. D 1000iu", "Vigantoletten 1.000 I.E.", "cholecalciferol 25 mcg"],
    "d3-2000": ["Vitamin D3 2,000 IU", "Vit D 50 mcg", "Vitamin D 2000 I.E."],
    "d3-5000": ["Vitamin D3 5000 IU softgel", "D3 125 mcg (5,000 IU)"],
    "d3-10000": ["Vitamin D3 10,000 IU", "Vit D3 10000 IE"],
    "d2-50000": ["ergocalciferol 50,000 unit capsule", "Vitamin D2 50000 IU"],
    "d3-k2": ["Vitamin D3 2000 IU + K2 MK-7 100 mcg", "D3/K2 2000 IU/100 mcg capsule", "Vitamin D3 K2 Tropfen (2000 IE, 100 µg MK-7)"],
    "mk7": ["Vitamin K2 MK-7 100 mcg", "menaquinone-7 100 mcg", "Vit K2 (MK7) 100ug", "Vitamin K2 100 mcg"],
    "mk7-45": ["Vitamin K2 MK-7 45 mcg", "K2 MK7 45 mcg"],
    "k1": ["Vitamin K1 100 mcg tablet", "phytomenadione 100 mcg (OTC)", "Vitamin K 100 mcg"],
    "mk4": ["menatetrenone 15 mg", "Vitamin K2 MK-4 15 mg"],
    "multivitamin": ["Multivitamin", "multivitamin tablet for adults", "Multi-Vitamin/Mineral"],
    "infant-drops": ["Vitamin D drops 400 IU", "cholecalciferol 400 IU drops"],
    "infant-drops-tenfold": ["Vitamin D drops", "cholecalciferol drops"],
}  # fmt: skip
VAGUE_TEXTS = {
    "d3-k2": ["D3+K2", "Vitamin D with K2"], "mk7": ["Vitamin K2", "K2 MK-7"], "mk7-45": ["Vitamin K2"],
    "k1": ["Vitamin K supplement"], "mk4": ["Vitamin K2 MK-4"], "multivitamin": ["multivitamin"],
}  # fmt: skip
CODES = {
    "d3-400": (ATC, "A11CC05"), "d3-1000": (ATC, "A11CC05"), "d3-2000": (ATC, "A11CC05"), "d3-5000": (ATC, "A11CC05"),
    "d3-10000": (ATC, "A11CC05"), "multivitamin": (ATC, "A11AA03"), "infant-drops": (ATC, "A11CC05"),
    "infant-drops-tenfold": (ATC, "A11CC05"), "k1": (ATC, "B02BA01"),
}  # fmt: skip
VKA = {
    "warfarin": [((RXNORM, "855332"), "warfarin sodium 5 MG Oral Tablet"), ((ATC, "B01AA03"), "Warfarin"), (None, "Coumadin 5 mg")],
    "phenprocoumon": [((ATC, "B01AA04"), "Marcumar 3 mg"), (None, "Phenprocoumon 3 mg Tabletten")],
    "acenocoumarol": [((ATC, "B01AA07"), "acenocoumarol 1 mg"), (None, "Sintrom 4 mg")],
}  # fmt: skip
DOSE = {
    "mk7": (100, "ug"),
    "mk7-45": (45, "ug"),
    "k1": (100, "ug"),
    "mk4": (45, "mg"),
    "d2-50000": (50_000, "[IU]"),
}
ORDINARY = {
    "statin": "atorvastatin 20 mg", "ace-inhibitor": "lisinopril 10 mg", "metformin": "metformin 500 mg",
    "thiazide": "hydrochlorothiazide 25 mg", "ppi": "omeprazole 20 mg",
}  # fmt: skip
DISEASES = {"sarcoidosis": "31541009", "primary-hyperparathyroidism": "36348003"}


@dataclass
class Chart:
    """The resources of one person, and the dangers of which the chart holds no trace at all."""

    resources: list[dict[str, Any]]
    out_of_reach: set[str]


def chart(person: Person, seed: int) -> Chart:
    """The record of one person; the same person and seed give the same record."""
    dice = Random(f"{seed}/{person.key}/record")
    writer = _Writer(person, dice)
    writer.patient()
    unlisted = [taking for taking in person.supplements if not writer.supplement(taking)]
    writer.drugs()
    writer.results()
    return Chart(writer.resources, _hidden(person, unlisted, inr_known=writer.inr_known))


def _hidden(person: Person, unlisted: list[Taking], *, inr_known: bool) -> set[str]:
    """Dangers that no record shows: their product was never written down, their value never measured."""
    hidden = set()
    listed = [taking for taking in person.supplements if not any(taking is one for one in unlisted)]
    if not any(person.unsettled(taking) for taking in listed):
        hidden.add("vitamin-k-on-antagonist")
    if not inr_known:
        hidden.add("inr-high")
    if not person.level_measured:
        hidden |= {"toxic-level", "severe-deficiency"}
    if not person.calcium_measured:
        hidden.add("hypercalcaemia")
    if any(taking.product.d for taking in unlisted if taking.swallowed):
        hidden |= {"far-too-much-vitamin-d", "disease-with-vitamin-d", "hypercalcaemia"}
    return hidden


class _Writer:
    def __init__(self, person: Person, dice: Random) -> None:
        self.person, self.dice = person, dice
        self.resources: list[dict[str, Any]] = []
        self.mine = f"p{person.key}"
        self.inr_known = False

    def _add(self, kind: str, **content: Any) -> None:
        number = len(self.resources)
        self.resources.append(
            {
                "resourceType": kind,
                "id": f"{self.mine}-{number}",
                "subject": {"reference": f"Patient/{self.mine}"},
                **content,
            }
        )

    def patient(self) -> None:
        birth = TODAY - timedelta(days=self.person.age_days)
        gender = "female" if self.person.female else "male"
        self.resources.append(
            {
                "resourceType": "Patient",
                "id": self.mine,
                "gender": gender,
                "birthDate": birth.isoformat(),
            }
        )

    def supplement(self, taking: Taking) -> bool:
        """Write a supplement down, or not at all; tells which."""
        dice, product = self.dice, taking.product
        if taking.swallowed and dice.random() < UNLISTED and not product.every > 1:
            return False
        if not taking.swallowed and dice.random() > STALE:
            return False
        vague = product.name in VAGUE_TEXTS and dice.random() < VAGUE
        text = dice.choice(VAGUE_TEXTS[product.name] if vague else TEXTS[product.name])
        concept: dict[str, Any] = {"text": text}
        code = CODES.get(product.name)
        if code and dice.random() < CODED:
            concept["coding"] = [{"system": code[0], "code": code[1], "display": text}]
        period = (
            {} if dice.random() < NO_START else {"effectivePeriod": {"start": _ago(taking.days)}}
        )
        status = "unknown" if dice.random() < ODD_STATUS else "active"
        self._add("MedicationStatement", status=status, medicationCodeableConcept=concept, **period,
                  **self._dosage(taking, vague=vague), dateAsserted=_ago(dice.randint(0, min(taking.days, 300))))  # fmt: skip
        return True

    def _dosage(self, taking: Taking, *, vague: bool) -> dict[str, Any]:
        product = taking.product
        if (
            vague
            or product.name == "multivitamin"
            or (self.dice.random() < NO_DOSE and product.every == 1 and self.person.age_days > 365)
        ):
            return {"dosage": [{"text": "1 daily", "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}}]}  # fmt: skip
        if product.name == "d3-k2":
            dose = {"value": 1, "unit": "capsule"}
        else:
            value, unit = DOSE.get(product.name, (product.d, "[IU]"))
            dose = {"value": value, "unit": unit.strip("[]"), "system": UCUM, "code": unit}
        days = 1 if taking.daily_by_mistake else product.every
        repeat = {"frequency": 1, "period": days, "periodUnit": "d"}
        return {"dosage": [{"timing": {"repeat": repeat}, "doseAndRate": [{"doseQuantity": dose}]}]}

    def drugs(self) -> None:
        person, dice = self.person, self.dice
        for name in person.ordinary:
            self._order({"text": ORDINARY[name]}, dice.randint(30, 2000))
        if person.vka:
            code, text = dice.choice(VKA[person.vka])
            concept: dict[str, Any] = {"text": text}
            if code:
                concept["coding"] = [{"system": code[0], "code": code[1]}]
            self._order(concept, person.vka_days)
            self._add(
                "Condition",
                code={"coding": [{"system": SCT, "code": "49436004"}]},
                **_active("Condition"),
            )
        if person.doac:
            self._order(
                {"coding": [{"system": ATC, "code": "B01AF02"}], "text": "apixaban 5 mg"},
                dice.randint(5, 300),
            )
        if person.fat_drug_days:
            self._order({"text": "orlistat 120 mg capsule"}, person.fat_drug_days)
        if person.disease:
            self._add(
                "Condition",
                code={"coding": [{"system": SCT, "code": DISEASES[person.disease]}]},
                **_active("Condition"),
            )

    def _order(self, concept: dict[str, Any], days: int) -> None:
        self._add(
            "MedicationRequest",
            status="active",
            intent="order",
            medicationCodeableConcept=concept,
            authoredOn=_ago(days),
        )

    def results(self) -> None:
        person, dice = self.person, self.dice
        if person.vka:
            self._inrs()
        if person.level_measured:
            molar = dice.random() < 0.4
            value = round(person.level * 2.5) if molar else round(person.level, 1)
            code, unit = (
                ("68438-1", "nmol/L") if molar else ("62292-8", dice.choice(("ng/mL", "ng/ml")))
            )
            self._lab(code, "25-hydroxyvitamin D", value, unit, dice.randint(3, 200), mask=0.02)
        watched = person.disease and person.disease_watched
        if person.calcium_measured or watched or (person.d_daily > 4000 and person.supervised):
            days = dice.randint(2, 28) if watched or person.calcium > 10.6 else dice.randint(2, 200)
            molar = dice.random() < 0.4
            value = round(person.calcium * 0.2495, 2) if molar else round(person.calcium, 1)
            self._lab(
                "2000-8" if molar else "17861-6",
                "calcium",
                value,
                "mmol/L" if molar else "mg/dL",
                days,
            )
            self._lab("1751-7", "albumin", round(dice.gauss(4.2, 0.2), 1), "g/dL", days)
        if watched:
            self._lab("62290-2", "1,25-dihydroxyvitamin D", 48, "pg/mL", dice.randint(2, 28))

    def _inrs(self) -> None:
        """Regular results; weekly ones after a start that the clinic knows of; none at all where a clinic keeps its own book."""
        person, dice = self.person, self.dice
        if dice.random() < 0.05:
            return
        self.inr_known = True
        newest = [t for t in person.supplements if person.displacement(t) > 0.1 and t.swallowed]
        recent = min([*(t.days for t in newest), person.fat_drug_days or 9999])
        days = (
            dice.randint(0, min(6, recent - 3) if recent > 3 else 0)
            if person.supervised and recent < 60
            else dice.randint(1, 27)
        )
        if not person.attends:
            days += 60
        step = 7 if person.supervised and recent < 60 else 26
        for number in range(4):
            ago = days + number * step
            moved = 0 if person.supervised else sum(
                person.displacement(t) for t in newest if t.days > ago + 4 and person.unsettled(t)
            )  # fmt: skip
            value = max(0.9, dice.gauss(person.target, 0.2) - moved)
            if number == 0 and person.inr_wild:
                value, ago = person.inr_wild, min(ago, 2)
            self._lab(
                dice.choice(("6301-6", "34714-6")),
                "INR",
                round(value, 1),
                dice.choice(("{INR}", "", "1")),
                ago,
            )

    def _lab(
        self, code: str, text: str, value: float, unit: str, ago: int, *, mask: float = 0.0
    ) -> None:
        quantity: dict[str, Any] = {"value": value}
        if unit and self.dice.random() >= mask:
            quantity |= {"unit": unit, "system": UCUM, "code": unit}
        self._add("Observation", status="final", code={"coding": [{"system": LOINC, "code": code}], "text": text},
                  effectiveDateTime=f"{_ago(ago)}T08:00:00Z", valueQuantity=quantity)  # fmt: skip


def _active(kind: str) -> dict[str, Any]:
    system = f"http://terminology.hl7.org/CodeSystem/{kind.lower()}-clinical"
    return {"clinicalStatus": {"coding": [{"system": system, "code": "active"}]}}


def _ago(days: int) -> str:
    return (TODAY - timedelta(days=days)).isoformat()
