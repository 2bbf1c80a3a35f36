"""Progress on a terminal; plain lines, one a step, where there is none."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)


class Progress:
    """A training's reporter: one bar a step."""

    def __init__(self) -> None:
        """Write to stderr, so that stdout is left to the answer."""
        self._console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("{task.description:<22}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._step, self._total, self._note, self._started = "", 0.0, "", 0.0

    def start(self, step: str, total: float) -> None:
        """Begin a step of so much work; the one before is finished."""
        self._finish()
        self._step, self._total, self._note, self._started = step, total, "", time.monotonic()
        self._task = self._bars.add_task(step, total=total, note="")

    def advance(self, done: float, note: str = "") -> None:
        """Show how much of the step is done."""
        self._note = note
        if self._task is not None:
            self._bars.update(self._task, completed=done, note=note)

    def _finish(self) -> None:
        if self._task is None:
            return
        self._bars.update(self._task, completed=self._total)
        if not self._console.is_terminal:
            seconds = time.monotonic() - self._started
            print(f"{self._step} {seconds:.1f} s {self._note}".rstrip(), file=sys.stderr)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._finish()
        self._bars.stop()
