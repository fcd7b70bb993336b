"""What the record leaves out where it would matter: unusable results, unknown doses."""

from rules.authoring import c, finding, recommend, rule, when_all


@rule("dq-lab-unusable")
@when_all(
    c.result << finding("unusable-result"),
)
def result_not_usable(case):
    return recommend(case.result)


@rule("dq-supplement-dose-unknown")
@when_all(
    c.question << finding("vitamin-d-question"),
)
def vitamin_d_dose_not_recorded(case):
    return recommend(case.question)
