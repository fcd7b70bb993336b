"""A number that is moved by the smallest step changes the end of some story: no threshold goes untested."""

import pytest

from rules.engine import Engine
from rules.rulebook import BUNDLED, Rulebook, load_rulebook
from rules.vignettes import play_story, stories_of

NAMES = ["core", "vitamin-k-antagonists"]
BASE = load_rulebook(NAMES)
STORIES = stories_of(BASE, BUNDLED / "vitamin_k_antagonists")
# Numbers of suggestions and of silence after an answer decide no recommendation; loading courses are told in the
# stories of the vitamin D packs; half of a relevant MK-4 dose always exceeds the smallest change of MK-4.
ELSEWHERE = ("order.", "prescribe.", "suppression.", "loading.", "high-strength.", "change.min-mk4")


def _numbers() -> list[str]:
    return [
        name
        for name, parameter in BASE.parameters.items()
        if not name.startswith(ELSEWHERE)
        and isinstance(next(iter(parameter.values.values())).value, int | float)
    ]


def _moved(name: str, step: float) -> Rulebook:
    book = load_rulebook(NAMES)
    held = book.parameters[name]
    values = {
        day: value.model_copy(update={"value": value.value + step})
        for day, value in held.values.items()
    }
    book.parameters[name] = held.model_copy(update={"values": values})
    return book


@pytest.mark.parametrize("name", _numbers())
@pytest.mark.parametrize("direction", [1, -1], ids=["up", "down"])
def test_the_smallest_step_of_a_number_is_noticed(name, direction):
    value = next(iter(BASE.parameters[name].values.values())).value
    step = direction * (1 if isinstance(value, int) and value > 1 else 0.01)
    engine = Engine(_moved(name, step), matcher="compiled")
    assert any(play_story(engine, story) is not None for story in STORIES)


def test_unmoved_numbers_change_nothing():
    engine = Engine(BASE, matcher="compiled")
    assert all(play_story(engine, story) is None for story in STORIES)
