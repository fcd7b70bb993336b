"""Vitamin D status and testing: when a level asks for vitamin D, and when a test adds nothing."""

from rules.authoring import c, fact, finding, m, none, parameter, recommend, rule, when_all


@rule("vitd-deficiency-treat")
@when_all(
    c.level << finding("vitamin-d-level") & (m.band == "deficient"),
    c.age << finding("aged-one-or-over"),
    c.lists << finding("medication-lists-read"),
    c.intake << finding("vitamin-d-intake") & (m.daily < parameter("vitd.intake.adequate")),
    none(finding("vitamin-d-start-blocked")),
    none(finding("vitamin-d-newer-unusable")),
)
def deficient_without_adequate_vitamin_d(case):
    return recommend(case.level, case.intake)


@rule("vitd-insufficiency-consider", infers=["food-advice-useful"])
@when_all(
    c.level << finding("vitamin-d-level") & (m.band == "insufficient"),
    c.age << finding("aged-one-or-over"),
    c.lists << finding("medication-lists-read"),
    c.intake << finding("vitamin-d-intake") & (m.daily < parameter("vitd.intake.reference")),
    none(finding("vitamin-d-dose-unknown")),
    none(finding("unspecified-multivitamin")),
    none(finding("vitamin-d-start-blocked")),
    none(finding("vitamin-d-newer-unusable")),
)
def insufficient_without_the_usual_allowance(case):
    return recommend(case.level, case.intake)


@rule("vitd-retest-due")
@when_all(
    c.due << finding("vitamin-d-repeat-due"),
    c.age << finding("aged-one-or-over"),
    none(finding("25ohd-ordered")),
)
def treated_but_never_rechecked(case):
    return recommend(case.due)


@rule("vitd-retest-too-early")
@when_all(
    c.here << fact("context") & (m.moment == "order"),
    c.order << finding("25ohd-order-drafted"),
    c.early << finding("too-early-to-retest"),
)
def ordered_again_too_early(case):
    return recommend(case.order, case.early)


@rule("vitd-test-not-indicated")
@when_all(
    c.patient << fact("patient")
    & (m.age_years >= parameter("testing.youngest"))
    & (m.age_years <= parameter("testing.oldest")),
    c.here << fact("context") & (m.moment == "order"),
    c.order << finding("25ohd-order-drafted"),
    c.lists << finding("medication-lists-read"),
    c.problems << finding("problems-read"),
    c.levels << finding("vitamin-d-labs-read"),
    c.minerals << finding("minerals-read"),
    c.kidney << finding("kidney-labs-read"),
    none(finding("indication-for-25ohd")),
)
def ordered_without_a_recorded_reason(case):
    return recommend(case.order, case.patient)


@rule("vitd-125-wrong-test")
@when_all(
    c.here << fact("context") & (m.moment == "order"),
    c.order << finding("1-25-ohd-order-drafted"),
    c.problems << finding("problems-read"),
    c.minerals << finding("minerals-read"),
    c.kidney << finding("kidney-labs-read"),
    none(finding("indication-for-1-25-ohd")),
)
def calcitriol_level_ordered_for_status(case):
    return recommend(case.order)


@rule("vitd-empiric-supplement")
@when_all(
    c.group << finding("empiric-group"),
    c.lists << finding("medication-lists-read"),
    c.problems << finding("problems-read"),
    c.levels << finding("vitamin-d-labs-read"),
    none(finding("vitamin-d-source")),
    none(finding("unspecified-multivitamin")),
    none(finding("vitamin-d-latest") & (m.days <= parameter("testing.recent-result"))),
    none(finding("vitamin-d-start-blocked")),
)
def no_vitamin_d_in_a_group_that_needs_none_measured(case):
    return recommend(case.group)


@rule("vitd-d2-to-d3")
@when_all(
    c.d2 << finding("d2-response-low"),
    c.age << finding("aged-one-or-over"),
    none(finding("vitamin-d-start-blocked")),
    none(finding("vitamin-d-newer-unusable")),
)
def level_still_low_on_d2(case):
    return recommend(case.d2)
