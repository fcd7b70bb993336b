"""Vitamin D safety: too much a day, too long, too high in blood, or with high calcium."""

from rules.authoring import c, finding, m, none, recommend, rule, when_all


@rule("vitd-ul-exceeded")
@when_all(
    c.dose << finding("vitamin-d-above-upper-level"),
    none(finding("vitamin-d-loading")),
    none(finding("vitamin-d-loading-overrun")),
    none(finding("vitamin-d-high-strength-daily")),
    none(finding("supervised-high-vitamin-d")),
)
def above_the_upper_level(case):
    return recommend(case.dose)


@rule("vitd-loading-overrun")
@when_all(
    c.course << finding("vitamin-d-loading-overrun"),
    none(finding("recent-low-level")),
    none(finding("fat-malabsorption")),
)
def loading_course_not_ended(case):
    return recommend(case.course)


@rule("vitd-high-strength-daily")
@when_all(
    c.course << finding("vitamin-d-high-strength-daily"),
)
def weekly_strength_every_day(case):
    return recommend(case.course)


@rule("infant-vitd-dose")
@when_all(
    c.dose << finding("infant-vitamin-d-excess"),
)
def infant_above_the_limit(case):
    return recommend(case.dose)


@rule("vitd-level-high")
@when_all(
    c.level << finding("vitamin-d-level-high"),
    none(finding("age-group") & (m.group == "infant")),
)
def level_high(case):
    return recommend(case.level)


@rule("vitd-level-toxic")
@when_all(
    c.level << finding("vitamin-d-level") & (m.band == "toxic"),
)
def level_in_the_toxic_range(case):
    return recommend(case.level)


@rule("vitd-hypercalcaemia")
@when_all(
    c.calcium << finding("hypercalcaemia"),
    c.exposure << finding("calcium-raising-exposure"),
)
def high_calcium_with_vitamin_d_or_calcium(case):
    return recommend(case.calcium, case.exposure)
