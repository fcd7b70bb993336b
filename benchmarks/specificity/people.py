"""Invented people: what they really take, how their INR and calcium really are, and whether that endangers them.

Everything here is latent: nothing knows codes, records or rules. A danger is what a clinician would call one who saw the
whole truth: a displaced INR that nobody watches, a calcium that is really high, a dose that is really far too large.
The mechanism is a plain model with individual sensitivity, so that the same product endangers one person and not the next.
Prevalences and potencies are assumptions of this model, chosen as orders of magnitude; they are no clinical knowledge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

# Fall of the INR per mcg a day in the average person; individual sensitivity multiplies it.
POTENCY = {"mk7": 0.02, "k1": 0.004, "mk4": 0.0004}
DISPLACED = 0.4  # a fall of the INR by which many leave their target range
ADAPTED_AFTER = 56  # days after which a clinic that measures regularly has adapted the dose
SEVERE = 10  # ng/mL of 25(OH)D, below which bones soften
COURSE = 84  # days that a loading course lasts at most
FAR_TOO_MUCH = 10_000  # international units of vitamin D a day


@dataclass(frozen=True)
class Product:
    """What one product really holds a day; ``every`` are the days between two doses."""

    name: str
    d: float = 0
    mk7: float = 0
    k1: float = 0
    mk4: float = 0
    every: int = 1


D400, D1000, D2000 = (Product(f"d3-{n}", d=n) for n in (400, 1000, 2000))
D5000, D10000 = Product("d3-5000", d=5000), Product("d3-10000", d=10_000)
WEEKLY = Product("d2-50000", d=50_000 / 7, every=7)
D3K2 = Product("d3-k2", d=2000, mk7=100)
MK7 = Product("mk7", mk7=100)
MK7_LOW = Product("mk7-45", mk7=45)
K1 = Product("k1", k1=100)
MK4 = Product("mk4", mk4=45_000)
MULTI = Product("multivitamin", d=400, k1=25)
DROPS, DROPS_TENFOLD = Product("infant-drops", d=400), Product("infant-drops-tenfold", d=4000)


@dataclass
class Taking:
    """A product in somebody's hands: since when, and whether it is really swallowed."""

    product: Product
    days: int
    swallowed: bool = True
    daily_by_mistake: bool = False


@dataclass
class Person:
    """The truth about one person; ``dangers`` follow from it by ``judge``."""

    key: int
    age_days: int
    female: bool
    supplements: list[Taking] = field(default_factory=list)
    vka: str = ""
    vka_days: int = 0
    target: float = 2.5
    doac: bool = False
    doac_swallowed: bool = False
    vka_swallowed: bool = True
    supervised: bool = False
    attends: bool = True
    sensitivity: float = 1.0
    inr_wild: float = 0.0
    fat_drug_days: int = 0
    level: float = 25.0
    level_measured: bool = False
    calcium: float = 9.4
    calcium_measured: bool = False
    disease: str = ""
    disease_watched: bool = False
    ordinary: list[str] = field(default_factory=list)
    dangers: set[str] = field(default_factory=set)

    @property
    def d_daily(self) -> float:
        """International units of vitamin D that are really swallowed a day."""
        return sum(
            t.product.d * (t.product.every if t.daily_by_mistake else 1)
            for t in self.supplements
            if t.swallowed
        )

    def displacement(self, taking: Taking) -> float:
        """By how much one product lowers this person's INR."""
        product = taking.product
        return self.sensitivity * (
            POTENCY["mk7"] * product.mk7 + POTENCY["k1"] * product.k1 + POTENCY["mk4"] * product.mk4
        )

    def unsettled(self, taking: Taking) -> bool:
        """Whether this product moves the INR now and nobody compensates it."""
        if not (self.vka and self.vka_swallowed and taking.swallowed) or self.supervised:
            return False
        adapted = taking.days > ADAPTED_AFTER and self.attends
        return self.displacement(taking) >= DISPLACED and not adapted


def judge(person: Person) -> set[str]:
    """The dangers that really exist, from the whole truth."""
    found = set()
    on_vka = bool(person.vka) and person.vka_swallowed
    if any(person.unsettled(taking) for taking in person.supplements):
        found.add("vitamin-k-on-antagonist")
    if on_vka and person.inr_wild >= 5:
        found.add("inr-high")
    if on_vka and person.doac and person.doac_swallowed:
        found.add("two-anticoagulants")
    if on_vka and person.fat_drug_days and not person.supervised:
        found.add("uptake-hindered")
    if person.calcium > 10.6 and person.d_daily > 0:
        found.add("hypercalcaemia")
    if person.level > 150:
        found.add("toxic-level")
    if person.level < SEVERE and person.d_daily < 600 and person.age_days > 400:
        found.add("severe-deficiency")
    if person.d_daily >= FAR_TOO_MUCH and not person.supervised:
        found.add("far-too-much-vitamin-d")
    forgotten = (
        t for t in person.supplements if t.product is WEEKLY and t.swallowed and t.days > COURSE + 7
    )
    if any(forgotten) and not person.supervised:
        found.add("far-too-much-vitamin-d")
    if person.age_days < 365 and person.d_daily > 1500:
        found.add("far-too-much-vitamin-d")
    if person.disease and person.d_daily > 1000 and not person.disease_watched:
        found.add("disease-with-vitamin-d")
    return found


def draw(key: int, seed: int, *, antagonist: float = 0.03, vitamin_k: float = 1.0) -> Person:
    """One person; the same key and seed give the same person.

    ``antagonist`` is the share on a vitamin K antagonist, ``vitamin_k`` multiplies how many take a product with vitamin K.
    """
    dice = Random(f"{seed}/{key}/truth")
    infant = dice.random() < 0.01
    age = dice.randint(20, 360) if infant else int(365.25 * min(98, max(18, dice.gauss(58, 18))))
    person = Person(key, age, dice.random() < 0.55, sensitivity=dice.lognormvariate(0, 0.4))
    if infant:
        product = DROPS_TENFOLD if dice.random() < 0.02 else DROPS
        person.supplements.append(Taking(product, dice.randint(5, person.age_days - 5)))
        person.dangers = judge(person)
        return person
    _drugs(person, dice, antagonist)
    _supplements(person, dice, vitamin_k)
    _laboratory(person, dice)
    person.dangers = judge(person)
    return person


def _drugs(person: Person, dice: Random, antagonist: float) -> None:
    for name, share in (
        ("statin", 0.35),
        ("ace-inhibitor", 0.25),
        ("metformin", 0.1),
        ("thiazide", 0.08),
        ("ppi", 0.2),
    ):
        if dice.random() < share:
            person.ordinary.append(name)
    if dice.random() < antagonist:
        person.vka = dice.choices(("warfarin", "phenprocoumon", "acenocoumarol"), (80, 12, 8))[0]
        person.vka_days = dice.randint(20, 4000)
        person.target = 3.0 if dice.random() < 0.15 else 2.5
        person.supervised = dice.random() < 0.5
        person.attends = dice.random() < 0.9
        if dice.random() < 0.015:
            person.inr_wild = dice.uniform(5, 9)
        person.fat_drug_days = dice.randint(3, 12) if dice.random() < 0.005 else 0
        if dice.random() < 0.02:  # switched: the truth is one drug, now and then both
            person.doac, person.doac_swallowed = True, dice.random() < 0.4
    elif dice.random() < 0.05:
        person.doac = person.doac_swallowed = True


def _supplements(person: Person, dice: Random, vitamin_k: float) -> None:
    shares = [(D1000, 0.14), (D2000, 0.08), (D400, 0.05), (D5000, 0.012), (D10000, 0.002), (MULTI, 0.15),
              (D3K2, 0.03), (MK7, 0.01), (MK7_LOW, 0.006), (K1, 0.003), (MK4, 0.0008), (WEEKLY, 0.012)]  # fmt: skip
    for product, share in shares:
        holds_k = product.mk7 or product.mk4 or product.k1 > MULTI.k1
        if dice.random() >= share * (vitamin_k if holds_k else 1):
            continue
        longest = COURSE if product is WEEKLY and dice.random() < 0.95 else 1500
        days = int(
            2 * (longest / 2) ** dice.random()
        )  # short trials are more frequent than long habits
        taking = Taking(product, days, swallowed=dice.random() < 0.93)
        taking.daily_by_mistake = product is WEEKLY and dice.random() < 0.02
        person.supplements.append(taking)
    if not person.vka and person.d_daily > 4000:
        person.supervised = dice.random() < 0.4


def _laboratory(person: Person, dice: Random) -> None:
    effective = min(person.d_daily, 20_000)
    person.level = max(3.0, dice.lognormvariate(3.22, 0.45) + 0.006 * effective)
    person.level_measured = dice.random() < 0.25
    person.calcium_measured = dice.random() < 0.5
    person.calcium = dice.gauss(9.4, 0.3)
    if dice.random() < 0.004 or effective > 15_000:
        person.calcium = dice.uniform(10.7, 13)
    chance = dice.random()
    person.disease = (
        "sarcoidosis" if chance < 0.002 else "primary-hyperparathyroidism" if chance < 0.006 else ""
    )
    person.disease_watched = bool(person.disease) and dice.random() < 0.6
