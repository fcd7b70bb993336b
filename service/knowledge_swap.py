"""New packs without a restart: built and tried beside the old ones, exchanged in one step, the old ones given back.

A review that has begun ends with the engine it began with. The new knowledge plays its own vignettes first; if any
fails, the old knowledge stays.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec

from rules.errors import DekacardError

if TYPE_CHECKING:
    from rules.engine import Engine
    from rules.pack_folder import Pack

_MOST_TOLD = 20


class EngineLike(Protocol):
    """What is exchanged: it answers, and can be closed."""

    def close(self) -> None:
        """Give back what it holds."""


class Swap(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a reload: in force, or refused with the reasons."""

    accepted: bool
    knowledge: str
    problems: tuple[str, ...] = ()


class _Held:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.users = 0
        self.retired = False


class EngineShelf:
    """Holds the engine in force; ``using`` lends it, ``reload`` exchanges it."""

    def __init__(
        self, engine: Engine, trials: Callable[[Engine], Sequence[str]] | None = None
    ) -> None:
        self.on_exchange: Callable[[Engine], None] = _nothing_else
        self._held = _Held(engine)
        self._trials = trials or play_own_vignettes
        self._lock = threading.Lock()
        self._reloading = threading.Lock()
        self._code = _code_of_installed(engine)
        self.reloads = 0

    @property
    def engine(self) -> Engine:
        """The engine in force now; calls that may outlast a reload use ``using``."""
        return self._held.engine

    @contextmanager
    def using(self) -> Iterator[Engine]:
        """The engine in force, which stays open until the block ends."""
        with self._lock:
            held = self._held
            held.users += 1
        try:
            yield held.engine
        finally:
            with self._lock:
                held.users -= 1
                last = held.retired and held.users == 0
            if last:
                _give_back(held.engine, keep=self._held.engine)

    def reload(
        self,
        build: Callable[[], Engine],
        in_one_step: Callable[[Callable[[], None]], None] | None = None,
    ) -> Swap:
        """Build, try, exchange. What is in force stays when anything is wrong with the new.

        ``in_one_step`` runs the exchange together with ``on_exchange`` where no review looks on.
        """
        with self._reloading:
            try:
                fresh = build()
            except DekacardError as error:
                return self._refused(str(error))
            except Exception as error:  # noqa: BLE001  the code of a pack may break in any way while it is imported
                return self._refused(f"the packs could not be loaded: {type(error).__name__}")
            if fresh.rulebook.digest == self.engine.rulebook.digest:
                fresh.close()
                return Swap(accepted=True, knowledge=self.engine.rulebook.digest)
            problems = self._problems(fresh)
            if problems:
                _give_back(fresh, keep=self.engine)
                return self._refused(*problems)
            try:
                (in_one_step or _at_once)(partial(self._exchange, fresh))
            except Exception as error:  # noqa: BLE001  nothing was exchanged: see _exchange
                _give_back(fresh, keep=self.engine)
                return self._refused(f"the packs could not be put in force: {type(error).__name__}")
            self.reloads += 1
            return Swap(accepted=True, knowledge=fresh.rulebook.digest)

    def close(self) -> None:
        """Close the engine in force."""
        self._held.engine.close()

    def _refused(self, *problems: str) -> Swap:
        return Swap(accepted=False, knowledge=self.engine.rulebook.digest, problems=problems)

    def _problems(self, fresh: Engine) -> tuple[str, ...]:
        changed = [
            name
            for name, code in _code_of_installed(fresh).items()
            if self._code.get(name, code) != code
        ]
        if changed:
            names = ", ".join(sorted(changed))
            return (f"the installed code of {names} has changed: only a restart can load it.",)
        try:
            return tuple(self._trials(fresh))[:_MOST_TOLD]
        except DekacardError as error:
            return (str(error),)
        except Exception as error:  # noqa: BLE001  knowledge that breaks its own stories is refused, whatever breaks
            return (f"the vignettes could not be played: {type(error).__name__}",)

    def _exchange(self, fresh: Engine) -> None:
        self.on_exchange(fresh)
        with self._lock:
            old, self._held = self._held, _Held(fresh)
            old.retired = True
            idle = old.users == 0
        if idle:
            _give_back(old.engine, keep=fresh)


def _at_once(step: Callable[[], None]) -> None:
    step()


def _nothing_else(_: Engine) -> None:
    pass


def play_own_vignettes(engine: Engine) -> list[str]:
    """What the vignettes of the active packs say against them; empty when every story ends as told."""
    from rules.vignettes import play_story, stories_of

    stories = stories_of(
        engine.rulebook,
        [pack.vignettes for pack in engine.rulebook.packs if pack.vignettes.is_dir()],
    )
    return [str(failure) for story in stories if (failure := play_story(engine, story)) is not None]


def _give_back(engine: Engine, *, keep: Engine) -> None:
    """Close an engine, and forget the modules of those of its packs that nobody uses any more."""
    engine.close()
    used = {pack.digest for pack in keep.rulebook.packs}
    for pack in engine.rulebook.packs:
        if pack.digest not in used:
            prefix = f"dekacard_pack_{pack.head.id.replace('-', '_')}_{pack.digest[:16]}"
            for name in [
                held for held in sys.modules if held == prefix or held.startswith(f"{prefix}.")
            ]:
                del sys.modules[name]


def _code_of_installed(engine: Engine) -> dict[str, str]:
    """Digest of the Python files of each pack that was imported by its installed name."""
    return {
        pack.head.id: _code_digest(pack) for pack in engine.rulebook.packs if _is_installed(pack)
    }


def _is_installed(pack: Pack) -> bool:
    return not any(rule.__module__.startswith("dekacard_pack_") for rule in _functions(pack))


def _functions(pack: Pack) -> list[Callable[..., object]]:
    return [rule.conclude for rule in pack.rules] + [one.derive for one in pack.derivations]


def _code_digest(pack: Pack) -> str:
    total = hashlib.sha256()
    for path in sorted(pack.folder.rglob("*.py")):
        total.update(path.relative_to(pack.folder).as_posix().encode())
        total.update(path.read_bytes())
    return total.hexdigest()
