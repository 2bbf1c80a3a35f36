"""Progress: bars on a terminal; where there is none, plain lines, also while a step lasts."""

import threading
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
# Lines while a step lasts, and bars that are drawn anew: no more often.
_EVERY_S = 30.0
_DRAWN_S = 0.05


class Progress:
    """A training's reporter, and that of any command: a bar for each step of over two seconds.

    Without a terminal it is a line when such a step is over, and every half minute while it lasts,
    with its rate and what remains; with `starts` also one when any step begins.
    """

    def __init__(self, *, starts: bool = False, every_s: float = _EVERY_S) -> None:
        """Write to stderr, so that stdout is left to the answer; in a notebook to stdout."""
        self._starts = starts
        self._every_s = every_s
        self._done = self._drawn_at = 0.0
        self._goal: float | None = None
        self._first: tuple[float, float] | None = None
        """What was done already when it was told first, and when: a resumed training's epochs."""
        self._over = threading.Event()
        # a notebook shows what is on stderr as if it were an error
        self._console = Console(stderr=not Console().is_jupyter, force_jupyter=False)
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
        self._done, self._drawn_at, self._goal, self._first = 0.0, 0.0, total, None
        if self._starts and not self._console.is_terminal:
            print(f"{step} ...", file=self._console.file, flush=True)
        self._task = self._bars.add_task(step, total=None if total == 1 else total, note="")

    def advance(self, done: float, note: str = "") -> None:
        """Show how much of the step is done."""
        self._note = note
        if self._task is not None and self._is_time(done):
            self._bars.update(self._task, completed=done, total=self._total, note=note)

    def count(self, done: float, total: float | None, note: str = "") -> None:
        """Show how much is done of a total that is known only now, about, or not at all."""
        self._note, self._total = note, done  # what is done in the end is all there was
        self._goal = total
        if self._task is not None and self._is_time(done):
            self._bars.update(self._task, completed=done, total=total, note=note)

    def tell(self, line: str) -> None:
        """Print a line that stays, above the bars."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _is_time(self, done: float) -> bool:
        """Note what is done, and tell whether to draw it: not thousands of times a second."""
        now = time.monotonic()
        self._done = done
        self._first = self._first or (done, now)
        if done != self._goal and now - self._drawn_at < _DRAWN_S:
            return False
        self._drawn_at = now
        return True

    def _tell_of_long_steps(self) -> None:
        """Print how far the step is, again and again, until all is over."""
        while not self._over.wait(self._every_s):
            now = time.monotonic()
            if self._task is None or now - self._started < self._every_s / 2:
                continue
            parts = [f"{self._step} {now - self._started:.0f} s"]
            done, goal = self._done, self._goal
            before, since = self._first or (0.0, now)
            rate = (done - before) / max(now - since, 1e-6)
            if goal is not None and goal != 1 and done <= goal:
                parts.append(f"{done:,.1f} of {goal:,.0f}")
            if rate > 0 and goal != 1:
                parts.append(_rate(rate))
            if rate > 0 and goal is not None:
                parts.append(f"about {_span(max(goal - done, 0) / rate)} left")
            print(
                ", ".join([*parts, *filter(None, [self._note])]),
                file=self._console.file,
                flush=True,
            )

    def _finish(self) -> None:
        if self._task is None:
            return
        seconds = time.monotonic() - self._started
        self._bars.update(self._task, completed=self._total, total=self._total)
        self._bars.stop_task(self._task)
        if seconds >= _LONG_S and not self._console.is_terminal:
            print(f"{self._step} {seconds:.1f} s {self._note}".rstrip(), file=self._console.file)

    def __enter__(self) -> Self:
        self._bars.start()
        if not self._console.is_terminal:
            threading.Thread(target=self._tell_of_long_steps, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
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
        return Text(_rate(speed))


def _rate(speed: float) -> str:
    if speed >= 100:
        return f"{speed:,.0f}/s"
    return f"{speed:,.1f}/s" if speed >= 1 else f"{1 / speed:,.1f} s each"


def _span(seconds: float) -> str:
    """Return a time to come as one would say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
