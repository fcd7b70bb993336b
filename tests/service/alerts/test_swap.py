"""Knowledge is exchanged while reviews go on: tried first, in one step, the old given back, nothing left behind."""

import shutil
import sys
import threading
import types

import pytest

from rules.errors import KnowledgeError
from service.knowledge_swap import EngineShelf


class FakePack:
    """A pack as far as the exchange looks at it."""

    def __init__(self, folder, digest, name="st-elsewhere"):
        self.head = types.SimpleNamespace(id=name)
        self.folder, self.digest, self.rules, self.derivations = folder, digest, (), ()


class Lent:
    """An engine that knows whether it was closed while somebody used it."""

    def __init__(self, *packs, digest="one"):
        self.rulebook = types.SimpleNamespace(packs=packs, digest=digest)
        self.closed = 0

    def assess(self):
        assert not self.closed, "an engine was used after it was given back"
        return self.rulebook.digest

    def close(self):
        self.closed += 1


def test_the_new_engine_answers_and_the_old_one_is_given_back_once():
    old, new = Lent(), Lent(digest="two")
    shelf = EngineShelf(old, trials=lambda _: [])
    assert shelf.reload(lambda: new).accepted
    assert shelf.engine is new
    assert (old.closed, new.closed) == (1, 0)


def test_what_fails_its_own_vignettes_is_refused_and_the_old_one_stays():
    old, new = Lent(), Lent(digest="two")
    shelf = EngineShelf(
        old, trials=lambda engine: ["a story ended otherwise"] if engine is new else []
    )
    told = shelf.reload(lambda: new)
    assert not told.accepted
    assert told.problems == ("a story ended otherwise",)
    assert shelf.engine is old
    assert (old.closed, new.closed) == (0, 1)


def test_what_cannot_be_built_or_breaks_in_trial_is_refused():
    old = Lent()

    def refuse():
        raise KnowledgeError("has no citation", where="cards.yaml:7")

    def break_down(_):
        raise ZeroDivisionError

    assert EngineShelf(old, trials=lambda _: []).reload(refuse).problems == (
        "cards.yaml:7: has no citation",
    )
    assert (
        "ZeroDivisionError"
        in EngineShelf(old, trials=break_down).reload(lambda: Lent(digest="two")).problems[0]
    )
    assert old.closed == 0


def test_the_same_knowledge_is_not_exchanged():
    old, same = Lent(), Lent()
    shelf = EngineShelf(old, trials=lambda _: ["never asked"])
    assert shelf.reload(lambda: same).accepted
    assert (shelf.engine, shelf.reloads, same.closed) == (old, 0, 1)


def test_a_review_ends_with_the_engine_it_began_with():
    old, new = Lent(), Lent(digest="two")
    shelf = EngineShelf(old, trials=lambda _: [])
    with shelf.using() as engine:
        shelf.reload(lambda: new)
        assert engine.assess() == "one"
        with shelf.using() as later:
            assert later.assess() == "two"
        assert not old.closed
    assert old.closed == 1


def test_reviews_never_meet_a_closed_engine_while_knowledge_changes():
    made = [Lent(digest="0")]
    shelf = EngineShelf(made[0], trials=lambda _: [])
    stop, wrong = threading.Event(), []

    def review():
        while not stop.is_set():
            with shelf.using() as engine:
                try:
                    engine.assess()
                except AssertionError as error:
                    wrong.append(error)

    threads = [threading.Thread(target=review) for _ in range(4)]
    for one in threads:
        one.start()
    for number in range(1, 200):
        made.append(Lent(digest=str(number)))
        assert shelf.reload(lambda: made[-1]).accepted
    stop.set()
    for one in threads:
        one.join()
    assert not wrong
    assert [one.closed for one in made] == [1] * 199 + [0]


def test_changed_installed_code_needs_a_restart_and_says_so(tmp_path):
    (tmp_path / "rules.py").write_text("a = 1\n")
    shelf = EngineShelf(Lent(FakePack(tmp_path, "d1", "core")), trials=lambda _: [])
    (tmp_path / "rules.py").write_text("a = 2\n")
    told = shelf.reload(lambda: Lent(FakePack(tmp_path, "d2", "core"), digest="two"))
    assert not told.accepted
    assert "restart" in told.problems[0]


def test_modules_of_packs_that_nobody_uses_are_forgotten(tmp_path):
    for digest in ("a" * 64, "b" * 64):
        for name in ("", ".rules"):
            sys.modules[f"dekacard_pack_st_elsewhere_{digest[:16]}{name}"] = types.ModuleType("x")
    shelf = EngineShelf(Lent(FakePack(tmp_path, "a" * 64)), trials=lambda _: [])
    shelf.reload(lambda: Lent(FakePack(tmp_path, "b" * 64), digest="two"))
    ours = ("dekacard_pack_st_elsewhere_" + "a" * 16, "dekacard_pack_st_elsewhere_" + "b" * 16)
    left = {name for name in sys.modules if name.startswith(ours)}
    assert left == {f"dekacard_pack_st_elsewhere_{'b' * 16}{end}" for end in ("", ".rules")}
    for name in left:
        del sys.modules[name]


@pytest.mark.parametrize("matcher", ["compiled", "durable"])
def test_real_packs_are_exchanged_after_their_vignettes_were_played(tmp_path, matcher):
    """A hospital changes words of a copy of the packs: tried, accepted, in force; broken stories are refused."""
    from rules.engine import Engine
    from rules.pack_folder import open_pack
    from rules.rulebook import Rulebook, load_rulebook

    for pack in load_rulebook(["core", "vitamin-k-antagonists"]).packs:
        shutil.copytree(
            pack.folder, tmp_path / pack.folder.name, ignore=shutil.ignore_patterns("__pycache__")
        )

    def build():
        return Engine(
            Rulebook([open_pack(tmp_path / name) for name in ("core", "vitamin_k_antagonists")]),
            matcher,
        )

    shelf = EngineShelf(build())
    before = shelf.engine.rulebook.digest
    (tmp_path / "core" / "note.txt").write_text("a new version")
    told = shelf.reload(build)
    if told.problems:
        pytest.fail(f"the bundled stories do not hold: {told.problems[0]}")
    assert shelf.engine.rulebook.digest == told.knowledge != before
    story = next((tmp_path / "vitamin_k_antagonists" / "vignettes").glob("*.yaml"))
    words = story.read_text()
    assert "expect: nothing" in words
    story.write_text(words.replace("expect: nothing", "expect: [vka-inr-high]", 1))
    refused = shelf.reload(build)
    assert not refused.accepted
    assert shelf.engine.rulebook.digest == told.knowledge
    shelf.close()
