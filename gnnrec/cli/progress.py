"""Progress on a terminal; where there is none, a plain line for each step that took long."""

import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)
from rich.table import Column, Table
from rich.text import Text

_LONG_S = 2.0


class Progress:
    """A training's reporter, and that of any command: a bar for each step of over two seconds."""

    def __init__(self) -> None:
        """Write to stderr, so that stdout is left to the answer."""
        self._console = Console(stderr=True)
        note = Column(no_wrap=True, overflow="ellipsis")
        self._bars = _LongSteps(
            TextColumn("{task.description:<20}"),
            BarColumn(bar_width=None),
            _Share(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}", table_column=note),
            console=self._console,
            disable=not self._console.is_terminal,
            expand=True,
            get_time=time.monotonic,
        )
        self._task: TaskID | None = None
        self._step, self._note, self._started = "", "", 0.0
        self._total: float | None = None

    def start(self, step: str, total: float) -> None:
        """Begin a step of so much work; the one before is finished.

        A step of which nothing is told, with a total of 1, has a bar that only says it is alive.
        """
        self._finish()
        self._step, self._total, self._note, self._started = step, total, "", time.monotonic()
        self._task = self._bars.add_task(step, total=None if total == 1 else total, note="")

    def advance(self, done: float, note: str = "") -> None:
        """Show how much of the step is done."""
        self._note = note
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=self._total, note=note)

    def count(self, done: float, total: float | None, note: str = "") -> None:
        """Show how much is done of a total that is known only now, about, or not at all."""
        self._note, self._total = note, done  # what is done in the end is all there was
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total, note=note)

    def tell(self, line: str) -> None:
        """Print a line that stays, above the bars."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _finish(self) -> None:
        if self._task is None:
            return
        seconds = time.monotonic() - self._started
        self._bars.update(self._task, completed=self._total, total=self._total)
        self._bars.stop_task(self._task)
        if seconds >= _LONG_S and not self._console.is_terminal:
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


class _LongSteps(Bars):
    """Shows a step once it has taken long: what is over in a moment would only flicker."""

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Return the bars of the long steps."""
        return super().make_tasks_table([task for task in tasks if (task.elapsed or 0) >= _LONG_S])


class _Share(ProgressColumn):
    """The percentage done, where it is known."""

    def render(self, task: Task) -> Text:
        """Return it, or nothing."""
        return Text("" if task.total is None else f"{task.percentage:>3.0f}%")


class _Rate(ProgressColumn):
    """How much is done in a second, or how many seconds one takes."""

    def render(self, task: Task) -> Text:
        """Return the rate, or nothing before it is known."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        if task.total is not None and task.total <= 1:
            return Text(f"{speed:.0%}/s")
        if speed >= 100:
            return Text(f"{speed:,.0f}/s")
        return Text(f"{speed:,.1f}/s" if speed >= 1 else f"{1 / speed:,.1f} s each")
