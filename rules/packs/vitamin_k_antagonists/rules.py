"""When to speak about vitamin K together with warfarin or another vitamin K antagonist (VKA)."""

from rules.authoring import c, finding, m, none, parameter, recommend, rule, when_all


@rule("vka-mk7-new")
@when_all(
    c.vka << finding("listed-vka"),
    c.vitamin_k << finding("vitamin-k-with-vka") & (m.form == "mk7") & (m.new == True),  # noqa: E712
)
def new_mk7_beside_an_antagonist(case):
    return recommend(case.vitamin_k, case.vka)


@rule("vka-k-ongoing-unmonitored")
@when_all(
    c.vka << finding("current-vka") & (m.proposed == False),  # noqa: E712
    c.vitamin_k << finding("vitamin-k-with-vka")
    & (m.form != "mk4")
    & (m.taken == True)  # noqa: E712
    & (m.days > parameter("pair.new")),
    c.doubt << finding("vitamin-k-not-steady") & (m.about == c.vitamin_k.about),
    none(finding("vitamin-k-monitored") & (m.about == c.vitamin_k.about)),
)
def vitamin_k_ongoing_but_unmonitored(case):
    return recommend(case.vitamin_k, case.vka, case.doubt)


@rule("vka-mk4")
@when_all(
    c.vka << finding("listed-vka"),
    c.vitamin_k << finding("mk4-with-vka"),
)
def mk4_beside_an_antagonist(case):
    return recommend(case.vitamin_k, case.vka)


@rule("vka-k1-supplement-new")
@when_all(
    c.vka << finding("listed-vka"),
    c.vitamin_k << finding("new-vitamin-k1-source"),
)
def new_vitamin_k1_beside_an_antagonist(case):
    return recommend(case.vitamin_k, case.vka)


@rule("vka-k-exposure-changed")
@when_all(
    c.vka << finding("current-vka") & (m.proposed == False),  # noqa: E712
    c.change << finding("vitamin-k-change")
    & (m.days <= parameter("pair.new"))
    & (m.checked == False),  # noqa: E712
)
def vitamin_k_stopped_or_changed(case):
    return recommend(case.change, case.vka)


@rule("inr-recheck-overdue-after-k-change")
@when_all(
    c.vka << finding("current-vka"),
    c.change << finding("vitamin-k-change-unchecked"),
)
def inr_overdue_after_a_change(case):
    return recommend(case.change, case.vka)


@rule("vka-k-stable-consistent")
@when_all(
    c.vka << finding("current-vka"),
    c.steady << finding("vitamin-k-steady"),
    none(finding("mk4-pharmacological") & (m.about == c.steady.about)),
)
def stable_on_unchanged_vitamin_k(case):
    return recommend(case.steady, case.vka)


@rule("vka-subtherapeutic-inr-with-k")
@when_all(
    c.vka << finding("current-vka"),
    c.low << finding("low-inr-on-vitamin-k"),
)
def low_inr_while_vitamin_k_is_taken(case):
    return recommend(case.low, case.vka)


@rule("vka-inr-high-no-otc-k")
@when_all(
    c.vka << finding("recent-vka"),
    c.inr << finding("high-inr"),
)
def high_inr_is_no_case_for_supplements(case):
    return recommend(case.inr, case.vka)


@rule("vka-inr-unstable-review-k")
@when_all(
    c.vka << finding("current-vka"),
    c.inr << finding("inr-unstable"),
)
def unstable_inr_without_a_vitamin_k_product(case):
    return recommend(case.inr, case.vka)


@rule("vka-natto")
@when_all(
    c.vka << finding("current-vka"),
    c.natto << finding("natto-eaten"),
)
def natto_beside_an_antagonist(case):
    return recommend(case.natto, case.vka)


@rule("vka-fat-malabsorption-drug")
@when_all(
    c.vka << finding("current-vka"),
    c.drug << finding("new-fat-malabsorption-drug"),
    none(finding("vitamin-k-monitored") & (m.about == c.drug.about)),
)
def drug_that_hinders_vitamin_k_uptake(case):
    return recommend(case.drug, case.vka)


@rule("vka-doac-overlap")
@when_all(
    c.vka << finding("current-vka"),
    c.doac << finding("anticoagulants-overlap"),
)
def two_kinds_of_anticoagulant(case):
    return recommend(case.doac, case.vka)


@rule("vka-high-dose-vitd-check-label")
@when_all(
    c.vka << finding("current-vka"),
    c.vitamin_d << finding("high-dose-vitamin-d-with-vka"),
)
def high_dose_vitamin_d_may_hide_vitamin_k2(case):
    return recommend(case.vitamin_d, case.vka)
