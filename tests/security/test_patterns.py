"""No pattern takes for ever: text that is made to be searched in vain costs time in proportion to its length."""

import time
from datetime import UTC, datetime

import pytest

from fhir_adapter.reader import read
from rules.facts import Context
from rules.rulebook import load_rulebook

VOCABULARY = load_rulebook(["core"]).vocabulary
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
TIMES = 8
SHORT = (
    250,
    8_000,
)  # words are read up to 2,000 characters: one length before that, one far beyond
# pieces that nearly match again and again: names, amounts, rhythms, blanks, brackets
PIECES = [
    "vitamin ", "vit k2 mk", "1,", "1 ", "1.0.", "0", " ", "\u00a0", "mcg per ", "every ", "a", "(", "- ", "1/", "twice 1 ",
    "take 1 to ", "warfar", "x mg/ml ", "\u200b", "K 2 - ", "10,000 ", "e1", "as needed for ",
]  # fmt: skip


def seconds(words, part):
    """Processor seconds of reading a record with these words, the least of three.

    What was read is remembered by its words: each time they end in others.
    """
    spent = []
    for number in range(3):
        told = f"{words} {len(words)}x{number}"
        statement = {
            "resourceType": "MedicationStatement", "id": "s", "status": "active", "subject": {"reference": "Patient/p"},
            "medicationCodeableConcept": {"text": "vitamin k2 capsules" if part == "dose" else told},
            "dosage": [{"text": told if part == "dose" else "one daily"}],
        }  # fmt: skip
        patient = {"resourceType": "Patient", "id": "p"}
        begun = time.process_time()
        read(
            [patient, statement], patient_id="p", vocabulary=VOCABULARY, as_of=NOON, zone=UTC, context=Context()
        )  # fmt: skip
        spent.append(time.process_time() - begun)
    return min(spent)


@pytest.mark.parametrize("size", SHORT)
@pytest.mark.parametrize("part", ["name", "dose"])
@pytest.mark.parametrize("piece", PIECES)
def test_reading_a_text_costs_time_in_proportion_to_its_length(piece, part, size):
    seconds("warm up", part)
    short = (piece * size)[:size]
    long = (piece * size * TIMES)[: size * TIMES]
    few = max(seconds(short, part), 0.002)
    # a pattern that looks back from every place would cost 64 times as much
    assert seconds(long, part) < few * TIMES * 3
