"""Numbers, strengths, timings and elements of dosages, one at a time and at their edges."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from fhir_adapter.amounts import amount_words, number_of
from fhir_adapter.dosage import OTHER_AMOUNT, OTHER_FREQUENCY, RANGE, read_dosages
from fhir_adapter.lens import Lens
from fhir_adapter.timing import read_timing
from rules.naming import fold
from rules.units import DoseUnit
from rules.vocabulary import Vocabulary

DAY = date(2026, 11, 22)
GTS = "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation"
UG, MG = DoseUnit("mass"), DoseUnit("mass", 1000.0)


@pytest.fixture
def lens(vocabulary):
    return Lens(vocabulary, datetime(2026, 11, 22, 12, tzinfo=UTC), DAY, UTC)


@pytest.mark.parametrize(
    ("text", "counts_units", "expected"),
    [
        ("5", False, 5.0), ("5.5", False, 5.5), ("5,5", False, 5.5), (".5", False, 0.5), ("1/2", False, 0.5),
        ("1 1/2", False, 1.5), ("3/4", False, 0.75), ("1/0", False, None), ("5,000", False, 5000.0), ("5,000.5", False, 5000.5),
        ("0,125", False, 0.125), ("5.000", True, 5000.0), ("5.000", False, None), ("0.125", False, 0.125), ("0.125", True, 0.125),
        ("1.000.000", False, 1_000_000.0), ("1.000,5", False, 1000.5), ("50 000", False, 50_000.0), ("50'000", False, 50_000.0),
        ("999999999999", False, 999_999_999_999.0), ("1000000000000", False, None), (" 7 ", False, 7.0),
    ],
)  # fmt: skip
def test_a_number_as_people_write_it(text, counts_units, expected):
    assert number_of(text, counts_units=counts_units) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100 mcg", [(100.0, "mass", 1.0, "", 1.0)]),
        ("0.1 mg", [(0.1, "mass", 1000.0, "", 1.0)]),
        ("5k iu", [(5000.0, "units", 1.0, "", 1.0)]),
        ("5 k iu", [(5000.0, "units", 1.0, "", 1.0)]),
        ("400 iu/ml", [(400.0, "units", 1.0, "volume", 1.0)]),
        ("2000 iu per 5 ml", [(2000.0, "units", 1.0, "volume", 5.0)]),
        ("400 iu per drop", [(400.0, "units", 1.0, "drops", 1.0)]),
        ("400 iu per 2 drops", [(400.0, "units", 1.0, "drops", 2.0)]),
        ("90 mcg per capsule", [(90.0, "mass", 1.0, "pieces", 1.0)]),
        ("5 mg/g", [(5.0, "mass", 1000.0, "other", 1.0)]),
        ("125 mcg (5,000 iu)", [(125.0, "mass", 1.0, "", 1.0), (5000.0, "units", 1.0, "", 1.0)]),
        ("x100mcgs", []),
        (
            "800 iu, 400 iu/ml",
            [(800.0, "units", 1.0, "", 1.0), (400.0, "units", 1.0, "volume", 1.0)],
        ),
        (
            "10 mcg as 400 iu/ml",
            [(10.0, "mass", 1.0, "", 1.0), (400.0, "units", 1.0, "volume", 1.0)],
        ),
        (
            "10 mcg (400 iu)/2 ml",
            [(10.0, "mass", 1.0, "volume", 2.0), (400.0, "units", 1.0, "volume", 2.0)],
        ),
        (
            "10 mcg/drop (400 iu/ml)",
            [(10.0, "mass", 1.0, "drops", 1.0), (400.0, "units", 1.0, "volume", 1.0)],
        ),
        ("2000 iu per tsp", [(2000.0, "units", 1.0, "volume", 5.0)]),
        ("0.5 mg/kg", [(0.5, "mass", 1000.0, "other", 1.0)]),
        ("400 iu per 1.250 ml", [(400.0, "units", 1.0, "other", 1.0)]),
        ("400 iu per 0 ml", [(400.0, "units", 1.0, "other", 1.0)]),
        ("no amount", []),
    ],
)
def test_strengths_with_what_they_are_per(vocabulary, text, expected):
    found = amount_words(vocabulary).strengths(fold(text))
    assert [(s.value, s.unit.dimension, s.unit.times, s.per, s.per_count) for s in found] == expected  # fmt: skip


@pytest.mark.parametrize(
    ("text", "low", "ranged"),
    [
        ("1000-2000 iu", 1000, True), ("1.000 bis 2.000 iu", 1000, True), ("200 - 2000 iu", 200, True), ("199-2000 iu", 199, False),
        ("2000-1000 iu", 2000, False), ("2000-2000 iu", 2000, False), ("2000 iu", None, False), ("d3 - 2000 iu", None, False),
    ],
)  # fmt: skip
def test_a_range_and_what_is_none(vocabulary, text, low, ranged):
    """From two to a thousand units is no range: the first number is a count, or the end of a name."""
    (only,) = amount_words(vocabulary).strengths(text)
    assert (only.low, only.ranged) == (low, ranged)
    assert only.start == (0 if ranged else text.rindex(" ") - 4)


def test_a_strength_says_where_it_stands(vocabulary):
    (only,) = amount_words(vocabulary).strengths("vitamin k2 100 mcg daily")
    assert (only.start, only.end) == (11, 18)


def repeat(**members):
    return {"repeat": members}


@pytest.mark.parametrize(
    ("timing", "interval", "single"),
    [
        ({}, None, False),
        (repeat(frequency=2, period=1, periodUnit="d"), 0.5, False),
        (repeat(frequency=1, period=2, periodUnit="d"), 2.0, False),
        (repeat(frequency=1, period=1, periodMax=3, periodUnit="d"), 1.0, False),
        (repeat(frequency=0, period=1, periodUnit="d"), 1.0, False),
        (repeat(period=1, periodUnits="wk"), 7.0, False),
        (repeat(period=1, periodUnit="min"), 1 / 1440, False),
        (repeat(frequency=2, period=1, periodUnit="min"), None, False),
        (repeat(period=36525, periodUnit="d"), 36525.0, False),
        (repeat(period=36526, periodUnit="d"), None, False),
        (repeat(period=0, periodUnit="d"), None, False),
        (repeat(period=1, periodUnit="fortnightish"), None, False),
        (repeat(period=1), None, False),
        (repeat(count=1), None, True),
        (repeat(count=1, frequency=1, period=1, periodUnit="d"), None, True),
        (repeat(count=2), None, False),
        (repeat(dayOfWeek=["mon", "mon", "thu"]), 3.5, False),
        (repeat(dayOfWeek=["mon"], frequency=2), 3.5, False),
        (repeat(dayOfWeek=["mon", "thu"], frequency=1, period=1, periodUnit="d"), 3.5, False),
        (repeat(dayOfWeek=["mon", "thu"], frequency=1, period=1, periodUnit="wk"), 3.5, False),
        (repeat(dayOfWeek=["mon", "thu"], frequency=2, period=1, periodUnit="wk"), 3.5, False),
        (repeat(dayOfWeek=["mon", "thu"], frequency=1, period=2, periodUnit="wk"), 7.0, False),
        (repeat(dayOfWeek=["mon", "thu"], period=1, periodUnit="wk"), 3.5, False),
        (repeat(timeOfDay=["08:00", "20:00"], period=1, periodUnit="d"), 0.5, False),
        (repeat(timeOfDay=["08:00", "20:00"], frequency=1, period=1, periodUnit="wk"), 7.0, False),
        (repeat(timeOfDay=["08:00", "20:00"], frequency=3, period=1, periodUnit="d"), 1 / 3, False),
        (repeat(dayOfWeek=["mon"], timeOfDay=["08:00", "20:00"]), 3.5, False),
        (repeat(when=["MORN"], timeOfDay=["08:00", "20:00"]), 0.5, False),
        (repeat(dayOfWeek=["mon"], period=1), None, False),
        (repeat(frequency=1, frequencyMax=3, period=1, periodUnit="d"), 1 / 3, False),
        (repeat(frequency=-1, period=1, periodUnit="d"), 1.0, False),
        (repeat(frequency="2", period="1", periodUnit="d"), 0.5, False),
        (repeat(period=0.25, periodUnit="d"), 0.25, False),
        (repeat(period=-1, periodUnit="d"), None, False),
        (repeat(periodUnit="d"), None, False),
        (repeat(count=1, period=1, periodUnit="nonsense"), None, False),
        (repeat(count=1, countMax=2, period=1, periodUnit="d"), 1.0, False),
        (repeat(dayOfWeek=["mon"], frequency=1, period=1, periodUnit="mo"), 28.0, False),
        (repeat(dayOfWeek=["mon", "thu"], frequency=1, period=2, periodUnit="d"), 2.0, False),
        ({"code": {"text": "Once"}}, None, True),
        ({"code": {"text": "BID"}} | repeat(period=1, periodUnit="wk"), 7.0, False),
        ({"code": {"text": "BID"}} | repeat(period=1, periodUnit="nonsense"), None, False),
        ({"code": {"text": "BID"}} | repeat(count=1), None, True),
        ({"code": {"text": "BID"}} | repeat(boundsDuration={"value": 3, "code": "d"}), 0.5, False),
        ({"code": {"coding": [{"code": "BID"}]}}, 0.5, False),
        *(({"code": {"coding": [{"system": GTS, "code": code}]}}, days, False) for code, days in (("BED", 1), ("WK", 7), ("MO", 28), ("TID", 1 / 3))),
        ({"code": {"text": "with food"}, "event": ["2026-11-01"]}, None, True),
        (repeat(timeOfDay=["08:00", "20:00"], frequency=1, period=1, periodUnit="d"), 0.5, False),
        (repeat(timeOfDay=["08:00", "20:00"], frequency=2, period=1, periodUnit="d"), 0.5, False),
        (repeat(timeOfDay=["08:00"], frequency=1, period=1, periodUnit="d"), 1.0, False),
        (repeat(when=["MORN", "EVE", "NIGHT"]), 1 / 3, False),
        (repeat(dayOfWeek=["mon"], timeOfDay=["08:00", "20:00"], frequency=1, period=1, periodUnit="d"), 3.5, False),
        (repeat(dayOfWeek=["mon"], timeOfDay=["08:00", "20:00"], frequency=2, period=1, periodUnit="d"), 3.5, False),
        (repeat(frequency=0.5, period=1, periodUnit="d"), 2.0, False),
        ({"event": ["2026-11-01"]}, None, True),
        ({"event": ["2026-11-01", "2026-11-08"]}, None, False),
    ],
)  # fmt: skip
def test_a_timing(lens, timing, interval, single):
    read = read_timing(timing, lens)
    assert read.interval_days == pytest.approx(interval)
    assert read.single is single


@pytest.mark.parametrize(
    ("timing", "expected"),
    [
        (repeat(frequencyMax=2, frequency=1, period=1, periodUnit="d"), {"ranged": True}),
        (repeat(period=4, periodMax=6, periodUnit="h"), {"ranged": True}),
        (repeat(period=1, periodUnit="d"), {"ranged": False, "problem": "", "doses": None}),
        (repeat(count=2), {"problem": ""}),
        (repeat(dayOfWeek=["mon"], periodUnit="wk"), {"interval_days": 7.0, "problem": ""}),
        (repeat(period=1), {"problem": "the period of the timing cannot be read"}),
        (repeat(period=0, periodUnit="d"), {"problem": "the period of the timing cannot be read"}),
        (repeat(period=36526, periodUnit="d"), {"problem": "the period of the timing is beyond all use"}),
        (repeat(count=8, period=1, periodUnit="wk"), {"doses": 8}),
        (repeat(count=36525, period=1, periodUnit="wk"), {"doses": 36525}),
        (repeat(count=36526, period=1, periodUnit="wk"), {"doses": None}),
        (repeat(count=0, period=1, periodUnit="wk"), {"doses": None}),
        (repeat(count=2, countMax=3), {"doses": 3, "single": False}),
        (repeat(boundsPeriod={"start": "2026-11-01", "end": "2026-11-07"}), {"start": date(2026, 11, 1), "end": date(2026, 11, 7)}),
        (repeat(boundsPeriod={"start": "2026-11", "end": "2026-12"}), {"start": None, "end": date(2026, 12, 31), "bounded_days": None}),
        (repeat(boundsPeriod={"start": "2026-11-01", "end": "2026-12"}), {"start": date(2026, 11, 1), "bounded_days": None}),
    ],
)  # fmt: skip
def test_what_else_a_timing_says(lens, timing, expected):
    read = read_timing(timing, lens)
    assert {name: getattr(read, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("bounds", "days"),
    [
        ({"boundsDuration": {"value": 2, "code": "wk"}}, 14),
        ({"boundsDuration": {"value": 2, "unit": "weeks"}}, 14),
        ({"boundsQuantity": {"value": 10, "code": "d"}}, 10),
        ({"boundsRange": {"low": {"value": 1, "code": "d"}, "high": {"value": 3, "code": "d"}}}, 3),
        ({"boundsDuration": {"value": 1, "code": "h"}}, None),
        ({"boundsDuration": {"value": 24, "code": "h"}}, 1),
        ({"boundsDuration": {"value": 36525, "code": "d"}}, 36525),
        ({"boundsDuration": {"value": 36526, "code": "d"}}, None),
        ({"boundsPeriod": {"start": "2026-11-01", "end": "2026-11-07"}}, 7),
        ({"boundsPeriod": {"start": "2026-11-07", "end": "2026-11-07"}}, 1),
        ({"boundsPeriod": {"start": "2026-11-08", "end": "2026-11-07"}}, None),
        ({"boundsPeriod": {"start": "2026-11", "end": "2026-11-07"}}, None),
    ],
)
def test_how_long_it_is_bounded(lens, bounds, days):
    assert read_timing(repeat(**bounds), lens).bounded_days == days


def test_a_period_is_not_guessed_without_the_list_of_periods(vocabulary):
    untimed = Vocabulary(msgspec.structs.replace(vocabulary.content, timing=None))
    bare = Lens(untimed, datetime(2026, 11, 22, 12, tzinfo=UTC), DAY, UTC)
    read = read_timing(repeat(period=1, periodUnit="d"), bare)
    assert (read.interval_days, read.problem) == (None, "the period of the timing cannot be read")


def test_a_course_begins_and_ends_on_days_of_the_clients_zone(vocabulary):
    berlin = ZoneInfo("Europe/Berlin")
    there = Lens(vocabulary, datetime(2026, 11, 22, 12, tzinfo=UTC), DAY, berlin)
    late = {"start": "2026-11-01T23:30:00Z", "end": "2026-11-07T23:30:00Z"}
    read = read_timing(repeat(boundsPeriod=late), there)
    assert (read.start, read.end, read.bounded_days) == (date(2026, 11, 2), date(2026, 11, 8), 7)


def dose_of(lens, **element):
    (dose,) = read_dosages({"dosage": [element]}, lens)
    return dose


def quantity(value, **unit):
    return {"doseAndRate": [{"doseQuantity": {"value": value, **unit}}]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (quantity(2), {"pieces": 2}),
        (quantity(0), {"pieces": 0}),
        (quantity(-1), {"problem": "its amount is no number"}),
        (quantity("many"), {"problem": "its amount is no number"}),
        (quantity(5, unit="mL"), {"volume": 5.0}),
        (quantity(2, unit="teaspoon"), {"volume": 10.0}),
        (quantity(3, unit="drops"), {"drops": 3}),
        (quantity(100, code="ug"), {"amounts": ((100, UG),), "relation": "total"}),
        (quantity(1, code="1", unit="mg"), {"amounts": ((1, MG),)}),
        (quantity(1, code="ug", unit="tablet"), {"problem": "code and name of its unit contradict each other"}),
        (quantity(1, code="ug", unit="mg"), {"problem": "code and name of its unit contradict each other", "amounts": ()}),
        (quantity(1, code="mL", unit="teaspoon"), {"problem": "code and name of its unit contradict each other", "volume": None}),
        (quantity(1, code="ug", unit="mcg"), {"problem": "", "amounts": ((1, UG),)}),
        (quantity(1, code="ug", unit="as written"), {"amounts": ((1, UG),)}),
        (quantity(1, code="1", unit="as written"), {"pieces": 1}),
        (quantity(1, unit="furlong"), {"problem": "its unit is not understood"}),
        ({"doseQuantity": {"value": 1}}, {"pieces": 1}),
        ({"doseRange": {"low": {"value": 1}, "high": {"value": 2}}}, {"pieces": 2, "notes": (RANGE,)}),
        ({"doseRange": {"low": {"value": 1}}}, {"pieces": 1, "notes": ()}),
        ({"doseRange": {"low": {"value": 1, "unit": "mg"}, "high": {"value": 2, "unit": "mg"}}}, {"amounts": ((2, MG),), "notes": (RANGE,)}),
        ({"doseSimpleQuantity": {"value": 3}}, {"pieces": 3}),
        ({"quantityQuantity": {"value": 3}}, {"pieces": 3}),
        ({"quantity": {"value": 3}}, {"pieces": 3}),
        ({"quantityRange": {"low": {"value": 1}, "high": {"value": 2}}}, {"pieces": 2, "notes": (RANGE,)}),
        ({"doseRange": {"high": {"value": 2}}}, {"pieces": 2, "notes": (RANGE,)}),
        ({"doseRange": {"low": {"value": 1}, "high": {"value": 2}}, "text": "1-2 tablets daily"}, {"pieces": 2, "notes": (RANGE,)}),
        ({"text": "1-2 tablets daily"}, {"pieces": 2, "notes": (RANGE,)}),
        ({"text": "1 tablet 2-3 times daily"}, {"pieces": 1, "interval_days": 1 / 3, "notes": (RANGE,)}),
        ({**quantity(5, unit="mL"), "text": "1 tablet daily"}, {"volume": 5.0, "pieces": None, "notes": ()}),
        ({**quantity(3, unit="drops"), "text": "2 mL daily"}, {"drops": 3, "volume": None}),
        ({**quantity(1), "text": "100 mcg daily"}, {"pieces": 1, "amounts": ()}),
        ({"text": "2 tablets of 100 mcg daily"}, {"pieces": 2, "amounts": ((100.0, UG),), "relation": "each"}),
        ({"text": "5 drops daily"}, {"drops": 5}),
        ({"text": "biweekly 1 tablet"}, {"ambiguous": True, "interval_days": None, "pieces": 1}),
        ({"text": "biweekly", **quantity(1)}, {"ambiguous": True, "interval_days": None, "pieces": 1}),
        ({"text": "biweekly 1 tablet", "timing": repeat(period=1, periodUnit="wk")}, {"interval_days": 7, "ambiguous": True}),
        ({"text": "2 tablets in the morning and 1 tablet at bedtime", "timing": repeat(period=1, periodUnit="d")}, {"interval_days": 1, "ambiguous": True}),
        ({"text": "biweekly", **quantity(1), "timing": repeat(period=1, periodUnit="wk")}, {"interval_days": 7, "ambiguous": False}),
        ({"timing": repeat(count=1), "text": "1 tablet daily"}, {"single": True, "interval_days": None}),
        ({"text": "5 mg single dose"}, {"single": True}),
        ({"timing": repeat(period=30.2, periodUnit="d"), "text": "every 30 days"}, {"notes": ()}),
        ({"timing": repeat(period=0.5, periodUnit="d"), "text": "1 tablet daily"}, {"interval_days": 0.5, "notes": (OTHER_FREQUENCY,)}),
        ({"timing": repeat(period=1), "text": "1 tablet daily"}, {"problem": "the period of the timing cannot be read", "pieces": None, "interval_days": None}),
        ({**quantity(1, unit="furlong"), "timing": repeat(period=1)}, {"problem": "its unit is not understood"}),
        ({"timing": repeat(boundsPeriod={"start": "2026-11-01", "end": "2026-11-07"}, count=3)}, {"start": date(2026, 11, 1), "end": date(2026, 11, 7), "doses": 3}),
        ({"timing": repeat(boundsDuration={"value": 3, "code": "d"}), "text": "for 5 days"}, {"bounded_days": 3}),
        ({"asNeeded": True}, {"as_needed": True}),
        ({"text": "1 tablet daily prn"}, {"as_needed": True}),
        ({"route": {"coding": [{"system": "http://snomed.info/sct", "code": "26643006"}]}}, {"route": "oral"}),
        ({"route": {"coding": [{"system": "http://snomed.info/sct", "code": "1"}], "text": "by mouth"}}, {"route": "oral"}),
        ({"route": {"coding": [{"system": "http://snomed.info/sct", "code": "1"}]}}, {"route": "other"}),
        ({"patientInstruction": "1 tablet daily"}, {"pieces": 1, "interval_days": 1}),
        ({"text": "2 tablets daily", "patientInstruction": "1 tablet daily"}, {"pieces": 2}),
        ({**quantity(1), "text": "2 tablets daily"}, {"pieces": 1, "notes": (OTHER_AMOUNT,), "interval_days": 1}),
        ({**quantity(1), "text": "1 tablet daily"}, {"pieces": 1, "notes": (), "words": "1 tablet daily"}),
        ({**quantity(0.33), "text": "1/3 tablet daily"}, {"pieces": 0.33, "notes": ()}),
        ({"timing": repeat(period=1, periodUnit="d"), "text": "1 tablet weekly"}, {"interval_days": 1, "notes": (OTHER_FREQUENCY,)}),
        ({"timing": repeat(period=1, periodUnit="wk"), "text": "1 tablet weekly"}, {"interval_days": 7, "notes": ()}),
        ({**quantity(1), "modifierExtension": [{}]}, {"problem": "it carries a modifier that is not understood"}),
        ({"text": "1 tablet daily for 5 days"}, {"bounded_days": 5}),
        ({"timing": repeat(period=1, periodUnit="d", boundsDuration={"value": 3, "code": "d"})}, {"bounded_days": 3}),
        ({"asNeededBoolean": True}, {"as_needed": True}),
        ({"asNeededBoolean": "true"}, {"as_needed": False}),
        ({"asNeededFor": [{"text": "pain"}]}, {"as_needed": True}),
        ({"asNeededCodeableConcept": {"text": "pain"}}, {"as_needed": True}),
        ({"route": {"text": "no such way"}}, {"route": "other"}),
        ({"route": "oral"}, {"route": ""}),  # of another shape than FHIR's: as good as not stated
        ({}, {"route": "", "as_needed": False, "pieces": None}),
    ],
)  # fmt: skip
def test_an_element_of_a_dosage(lens, given, expected):
    dose = dose_of(lens, **given)
    assert {name: getattr(dose, name) for name in expected} == expected


def test_of_doses_as_ordered_and_as_dispensed_the_ordered_one_counts(lens):
    def rate(kind, value):
        return {"type": {"coding": [{"code": kind}]}, "doseQuantity": {"value": value}}

    for order in ([rate("dispensed", 9), rate("calculated", 5), rate("ordered", 1)], [rate("ordered", 1), rate("dispensed", 9)]):  # fmt: skip
        assert dose_of(lens, doseAndRate=order).pieces == 1
    assert dose_of(lens, doseAndRate=[rate("dispensed", 9), rate("calculated", 5)]).pieces == 5


def test_the_kind_of_a_rate_may_stand_in_words(lens):
    rates = [
        {"type": {"text": "Calculated"}, "doseQuantity": {"value": 5}},
        {"type": {"text": "Ordered"}, "doseQuantity": {"value": 1}},
        {"doseQuantity": {"value": 9}},
    ]
    assert dose_of(lens, doseAndRate=rates).pieces == 1
    assert dose_of(lens, doseAndRate=rates[::2]).pieces == 5


def test_instructions_stand_in_statements_and_requests(lens):
    first, second = {"sequence": 1, "text": "1 tablet daily"}, {"sequence": 2}
    for name in ("dosage", "dosageInstruction"):
        assert [dose.sequence for dose in read_dosages({name: [first, second]}, lens)] == [1, 2]
    assert [dose.pieces for dose in read_dosages({"dosage": {"step": [first]}}, lens)] == [1]


def test_steps_of_one_dosage_are_steps_and_a_single_one_is_none(lens):
    step = {"component": [{"doseQuantity": {"value": 1}}]}
    several, one = ({"dosage": {"step": steps}} for steps in ([step, step], [step]))
    assert [dose.sequence for dose in read_dosages(several, lens)] == [0.0, 1.0]
    assert [dose.sequence for dose in read_dosages(one, lens)] == [None]
