"""Single findings in records of a few lines, told in the words of stories: what is found, in full, and what is said to be missing."""

from datetime import UTC, date, datetime, time

import pytest
import yaml

from rules.engine import Engine
from rules.facts import Finding
from rules.rulebook import load_rulebook
from rules.stories import read_stories

BOOK = load_rulebook()
ENGINE = Engine(BOOK, "compiled")
TODAY = date(2026, 11, 22)


@pytest.fixture
def find(tmp_path):
    """All findings under a name in a record that is told in the words of stories."""

    def _find(name: str, patient="70-year-old woman", **told) -> list[Finding]:
        story = {"vignette": "a record", "today": TODAY, "patient": patient, **told}
        file = tmp_path / "story.yaml"
        file.write_text(yaml.safe_dump([{**story, "expect": "nothing"}], sort_keys=False))
        (read,) = read_stories(file, BOOK.vocabulary)
        moment = datetime.combine(TODAY, time(12), UTC)
        answer = ENGINE.assess(
            read.facts, as_of=moment, today=TODAY, asked=tuple(BOOK.finding_fields)
        )
        assert answer.failures == ()
        return [one for one in answer.findings if one.name == name]

    return _find


# What is missing is said ----------------------------------------------------------------------------------------------

NO_START = "start of warfarin is not recorded"
MISSING = [
    ("current-vka", dict(takes=["warfarin 5 mg/d"]), [NO_START]),
    ("listed-vka", dict(takes=["warfarin 5 mg/d"]), [NO_START]),
    ("current-vka", dict(takes=["warfarin 5 mg/d since 2 years ago"]), []),
    ("current-vka", dict(takes=["draft warfarin 5 mg/d"]), []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "told", "missing"), MISSING, ids=str)
def test_what_is_missing_is_said(find, name, told, missing):
    for one in find(name, **told):
        assert list(one.missing) == missing
    assert find(name, **told)
