"""Vitamin D with diseases and drugs: who needs a calcium first, or more often."""

from rules.authoring import c, finding, m, none, parameter, recommend, rule, when_all


@rule("vitd-granulomatous")
@when_all(
    c.disease << finding("granulomatous-disease"),
    c.drug << finding("vitamin-d-in-any-form"),
    none(finding("granulomatous-checked")),
)
def vitamin_d_in_granulomatous_disease(case):
    return recommend(case.disease, case.drug)


@rule("vitd-primary-hyperparathyroidism")
@when_all(
    c.disease << finding("primary-hyperparathyroidism"),
    c.dose << finding("phpt-vitamin-d"),
    none(finding("calcium-measured") & (m.days <= parameter("phpt.calcium-within"))),
)
def vitamin_d_in_primary_hyperparathyroidism(case):
    return recommend(case.dose, case.disease)


@rule("vitd-thiazide")
@when_all(
    c.load << finding("thiazide-load"),
    c.minerals << finding("minerals-read"),
    none(finding("calcium-measured") & (m.days <= parameter("thiazide.calcium-within"))),
    none(finding("hypercalcaemia")),
)
def thiazide_with_vitamin_d_unmonitored(case):
    return recommend(case.load)


@rule("digoxin-vitd-calcium")
@when_all(
    c.risk << finding("digitalis-risk"),
)
def digitalis_with_high_or_unknown_calcium(case):
    return recommend(case.risk)


@rule("vitd-active-analogue-overlap")
@when_all(
    c.overlap << finding("active-vitamin-d-overlap"),
)
def active_vitamin_d_twice(case):
    return recommend(case.overlap)


@rule("ckd-mbd-monitoring")
@when_all(
    c.due << finding("ckd-monitoring-due"),
)
def kidney_disease_unmonitored(case):
    return recommend(case.due)


@rule("vitd-drug-accelerated-loss")
@when_all(
    c.drug << finding("vitamin-d-loss-drug"),
    c.lists << finding("medication-lists-read"),
    c.levels << finding("vitamin-d-labs-read"),
    c.intake << finding("vitamin-d-intake") & (m.daily < parameter("vitd.intake.reference")),
    none(finding("vitamin-d-dose-unknown")),
    none(finding("unspecified-multivitamin")),
    none(finding("vitamin-d-latest") & (m.days <= parameter("testing.recent-result"))),
    none(finding("vitamin-d-start-blocked")),
)
def drug_lowers_vitamin_d_unnoticed(case):
    return recommend(case.drug, case.intake)


@rule("vitd-malabsorption-response")
@when_all(
    c.response << finding("malabsorption-response"),
)
def vitamin_d_poorly_absorbed(case):
    return recommend(case.response)


@rule("vitd-nephrolithiasis")
@when_all(
    c.load << finding("stone-load"),
    c.minerals << finding("minerals-read"),
    none(finding("urine-calcium-known")),
    none(finding("hypercalcaemia")),
)
def stones_with_vitamin_d_or_calcium(case):
    return recommend(case.load)
