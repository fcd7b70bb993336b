"""Sentences for people begin with a capital letter, also where a name from the vocabulary begins them."""

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
