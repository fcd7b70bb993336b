"""How far a run is: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, Final, TextIO

_EVERY_SECONDS: Final = 10.0


class Progress:
    """Shows one step after the other."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._name, self._unit = "", ""
        self._total = self._done = self._skipped = self._patients = 0
        self._began = self._told = 0.0

    def begin(self, name: str, total: int, unit: str) -> None:
        """A step with so much to do begins."""
        self._name, self._unit, self._total = name, unit, total
        self._done = self._skipped = self._patients = 0
        self._began = self._told = time.monotonic()
        if self._quiet or not self._stream.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(file=self._stream),
        )
        self._bar.start()
        self._task = self._bar.add_task(name, total=total, rate="")

    def skip(self, amount: int) -> None:
        """This much was done by an earlier run."""
        self._skipped += amount
        self._advance(amount)

    def step(self, amount: int, *, patients: int = 0) -> None:
        """So much more is done."""
        self._patients += patients
        self._advance(amount)

    def end(self) -> None:
        """The step is over."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        else:
            self._say()

    def _advance(self, amount: int) -> None:
        self._done += amount
        if self._bar is not None:
            self._bar.update(self._task, advance=amount, rate=self._rate())
        elif time.monotonic() - self._told >= _EVERY_SECONDS and self._done < self._total:
            self._say()

    def _say(self) -> None:
        if self._quiet:
            return
        self._told = time.monotonic()
        seconds = self._told - self._began
        new = self._done - self._skipped
        left = (self._total - self._done) * seconds / new if new else 0.0
        share = 100 * self._done // self._total if self._total else 100
        ending = f", about {left:.0f} s left" if self._done < self._total and new else ""
        self._stream.write(f"{self._name}: {share} %  {self._rate()}{ending}\n")
        self._stream.flush()

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-6)
        if self._unit == "bytes":
            return f"{(self._done - self._skipped) / 1e6 / seconds:,.0f} MB/s"
        if self._unit == "shards":
            return f"{self._patients / seconds:,.0f} patients/s"
        return f"{self._done:,} of {self._total:,} {self._unit}"
