"""A pytest plugin: plays ``vignettes/*.yaml`` of a pack, so that a hospital's own repository needs no test code.

``pytest -p rules.pytest_vignettes`` (or the installed plugin) collects every vignette file that lies in a folder
``vignettes`` beside a ``pack.toml``; each story is one test, played with all bundled packs and that pack.
``--dekacard-engine compiled`` plays without durable_rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rules.engine import Engine, MatcherName
    from rules.stories import Story
    from rules.vignettes import Failure


class StoryEndedOtherwise(Exception):
    """A story did not end as told."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(str(failure))


class StoryItem(pytest.Item):
    """One story as one test."""

    def __init__(self, *, story: Story, engine: Engine, **passed: Any) -> None:
        super().__init__(**passed)
        self.story, self.engine = story, engine

    def runtest(self) -> None:
        """Play the story."""
        from rules.vignettes import play_story

        failure = play_story(self.engine, self.story)
        if failure is not None:
            raise StoryEndedOtherwise(failure)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], **_: Any) -> str:  # type: ignore[override]
        """The differences as sentences; anything else as it is."""
        if isinstance(excinfo.value, StoryEndedOtherwise):
            return str(excinfo.value.failure)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """File, line and title of the story."""
        line = int(self.story.where.rpartition(":")[2])
        return self.path, line - 1, self.story.title


class StoryFile(pytest.File):
    """A vignette file."""

    def collect(self) -> Iterator[StoryItem]:
        """One item per story."""
        from rules.vignettes import stories_of

        engine = _engine(self.path.parent.parent, self.config.getoption("--dekacard-engine"))
        for number, story in enumerate(stories_of(engine.rulebook, self.path), start=1):
            name = f"{number}: {story.title}"
            yield StoryItem.from_parent(self, name=name, story=story, engine=engine)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--dekacard-engine``."""
    parser.addoption(
        "--dekacard-engine",
        choices=("durable", "compiled"),
        default="durable",
        help="who matches the rules",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> StoryFile | None:
    """Collect vignette files of packs; every other file is left to others."""
    if file_path.suffix != ".yaml" or file_path.parent.name != "vignettes":
        return None
    if not (file_path.parent.parent / "pack.toml").is_file():
        return None
    return StoryFile.from_parent(parent, path=file_path)


@cache
def _engine(folder: Path, matcher: MatcherName) -> Engine:
    from rules.engine import Engine
    from rules.pack_folder import read_head
    from rules.rulebook import BUNDLED, find_packs, load_rulebook

    bundled = [name for name, (place, _) in find_packs().items() if place.parent == BUNDLED]
    own = read_head(folder).id
    names = [*bundled, *([] if own in bundled else [own])]
    return Engine(load_rulebook(names, [] if own in bundled else [folder]), matcher=matcher)
