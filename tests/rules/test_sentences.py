"""Sentences for people begin with a capital letter, also where a name from the vocabulary begins them."""

import pytest

from rules.condition_words import ConditionWords
from rules.facts import Finding
from rules.rulebook import load_rulebook
from rules.wording import Wording


def test_each_sentence_begins_with_a_capital_letter():
    words = Wording(load_rulebook(["core"]))
    found = {"k": Finding(name="relevant-vitamin-k", about="vitamin-k2-mk7", values={}, because=())}
    name = words.title("vitamin-k2-mk7")
    assert name[0].islower(), "names of substances are written small"
    said = words.sentence("{k} is new. {k} can lower the INR: {k} at 2. {k}", found)
    great = name[0].upper() + name[1:]
    assert said == f"{great} is new. {great} can lower the INR: {name} at 2. {great}"
    assert words.fill("{k} is new. {k}.", found) == f"{name} is new. {name}."


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ('c.k << finding("taken") & (m.dose >= 7)', "there is a finding “Taken”, dose is at least 7 mcg a day"),
        ('c.k << finding("taken") & (m.dose > parameter("tiny.limit"))',
         "there is a finding “Taken”, dose is above no number any more (`tiny.limit`)"),
        ('c.k << finding("taken") & (m.dose > parameter("tiny.repeat"))',
         "there is a finding “Taken”, dose is above 365 d (`tiny.repeat`)"),
        ('c.k << finding("taken") & (m.dose > parameter("tiny.band"))',
         "there is a finding “Taken”, dose is above the number of the band profile (`tiny.band`)"),
        ('c.k << finding("taken"), c.o << finding("taken") & (m.dose > c.k.dose)',
         "there is a finding “Taken”, dose is above the dose of “Taken”"),
        ('c.k << finding("taken"), c.o << finding("advice") & (m.about == c.k.about)',
         "there is a finding “Advice”, about the same subject as “Taken”"),
        ('c.k << finding("taken"), none(finding("advice"))', "there is no finding “Advice”"),
    ],
)  # fmt: skip
def test_each_condition_is_said_in_words(tiny_pack, condition, said):
    file = tiny_pack / "rules.py"
    more = f"""

@rule("tiny-said")
@when_all({condition})
def said(case):
    return recommend(case.k)
"""
    text = file.read_text(encoding="utf-8").replace("recommend, rule", "none, recommend, rule")
    file.write_text(text + more, encoding="utf-8")
    book = load_rulebook(["tiny"], [tiny_pack])
    assert ConditionWords(book).say(book.rules["tiny-said"])[-1] == said
