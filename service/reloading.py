"""Packs of a running worker exchanged on request: by signal, by the interface, once at a time, without a dropped call."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from service.bootstrap import build_engine

if TYPE_CHECKING:
    from service.knowledge_swap import Swap
    from service.parts import Parts

_log = logging.getLogger("dekacard.packs")


class Reloader:
    """Reloads the packs of one worker; ``pass_on`` lets the other workers of the service do the same."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_early = False
        self._running: set[asyncio.Task[Swap]] = set()
        self.pass_on: Callable[[], None] = _alone

    def begin(self) -> None:
        """Take requests from now on; call it in the loop that answers."""
        self._loop = asyncio.get_running_loop()
        if self._asked_early:
            self._start()

    async def end(self) -> None:
        """Wait for a reload that has begun."""
        self._loop = None
        await asyncio.gather(*self._running, return_exceptions=True)

    def ask(self) -> None:
        """Ask for a reload without waiting for it; may be called by a signal handler or from any thread."""
        if self._loop is None:
            self._asked_early = True
        else:
            self._loop.call_soon_threadsafe(self._start)

    async def reload(self) -> Swap:
        """Read the packs again, try them on their own vignettes, and exchange them between two reviews.

        Returns what came of it; what is in force stays when the new packs are refused. Never raises for a pack.
        """
        parts, loop = self._parts, asyncio.get_running_loop()
        before = parts.engine.rulebook.digest

        def between_reviews(step: Callable[[], None]) -> None:
            # A review never waits inside: whatever runs in the loop sees the old packs whole, or the new ones
            done: Future[None] = Future()
            loop.call_soon_threadsafe(_run, step, done)
            done.result()

        def work() -> Swap:
            return parts.shelf.reload(lambda: build_engine(parts.settings), between_reviews)

        swap = await asyncio.to_thread(work)
        if not swap.accepted:
            _log.error("new packs refused, the old ones stay: %s", " | ".join(swap.problems))
        elif swap.knowledge == before:
            _log.info("the packs have not changed")
        else:
            _log.info("new packs in force: %s", swap.knowledge)
            parts.keep_packs()
            _let_the_old_go()
        return swap

    async def reload_everywhere(self) -> Swap:
        """Reload here; what is good here is asked of the other workers as well."""
        swap = await self.reload()
        if swap.accepted:
            self.pass_on()
        return swap

    def _start(self) -> None:
        self._asked_early = False
        task = asyncio.ensure_future(self.reload())
        self._running.add(task)
        task.add_done_callback(self._running.discard)


def _alone() -> None:
    pass


def _run(step: Callable[[], None], done: Future[None]) -> None:
    try:
        step()
    except BaseException as error:  # noqa: BLE001  whoever waits for it in the other thread shall have it
        done.set_exception(error)
    else:
        done.set_result(None)


def _let_the_old_go() -> None:
    """What was kept out of the collector's rounds at the start may be the old packs."""
    frozen = gc.get_freeze_count() > 0
    gc.unfreeze()
    gc.collect()
    if frozen:
        gc.freeze()
