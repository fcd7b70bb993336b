"""Vitamin D and K2 for those who asked for teaching; silent on any vitamin K antagonist."""

from rules.authoring import c, finding, m, none, parameter, recommend, rule, when_all


@rule("doac-vitamin-k-no-interaction")
@when_all(
    c.doac << finding("current-doac"),
    c.vitamin_k << finding("any-vitamin-k"),
    none(finding("listed-vka")),
)
def direct_anticoagulant_with_vitamin_k(case):
    return recommend(case.doac, case.vitamin_k)


@rule("dk-pairing-common-range")
@when_all(
    c.d << finding("vitamin-d-intake")
    & (m.complete == True)  # noqa: E712 - a test of the engine, not of Python
    & (m.daily >= parameter("pairing.d-from"))
    & (m.daily <= parameter("pairing.d-to")),
    c.k << finding("vitamin-k-intake")
    & (m.complete == True)  # noqa: E712 - a test of the engine, not of Python
    & (m.k2 >= parameter("pairing.k2-from"))
    & (m.k2 <= parameter("pairing.k2-to")),
    none(finding("unspecified-multivitamin")),
    none(finding("listed-vka")),
)
def pairing_in_the_common_range(case):
    return recommend(case.d, case.k)


@rule("dk-high-d-without-k2", infers=["food-advice-useful"])
@when_all(
    c.d << finding("long-high-vitamin-d"),
    c.k2 << finding("no-vitamin-k2-listed"),
    none(finding("vitamin-d-loading")),
    none(finding("listed-vka")),
)
def high_vitamin_d_without_k2(case):
    return recommend(case.d)


@rule("dk-k2-form")
@when_all(
    c.k << finding("mk4-supplement"),
    none(finding("listed-vka")),
)
def mk4_as_the_source_of_k2(case):
    return recommend(case.k)


@rule("dk-diet-sources")
@when_all(
    c.advice << finding("food-advice-useful"),
    none(finding("listed-vka")),
)
def food_sources(case):
    return recommend(case.advice)
