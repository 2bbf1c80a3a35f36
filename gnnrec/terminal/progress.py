"""Progress of long steps: bars on a terminal, plain lines elsewhere."""

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
# The intervals between lines about a running step, and between updates of a bar.
_EVERY_S = 30.0
_DRAWN_S = 0.05


class Progress:
    """Reports the steps of a training or a command: a bar for each step of over two seconds.

    Without a terminal it prints a line when such a step ends, and every half minute while it runs,
    with its rate and the time left; with `starts` also a line when any step begins.
    """

    def __init__(self, *, starts: bool = False, every_s: float = _EVERY_S) -> None:
        """Write to stderr, for stdout holds the command's result; in a notebook to stdout."""
        self._starts = starts
        self._every_s = every_s
        self._done = self._drawn_at = 0.0
        self._goal: float | None = None
        self._first: tuple[float, float] | None = None
        """The amount and time of the first report of a step, from which the rate is computed:
        a resumed training begins with epochs that were done before."""
        self._over = threading.Event()
        # a notebook shows stderr as errors
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
        """Begin a step with `total` units of work; the step before it is finished.

        A total of 1 means unknown: the bar then only shows that the step is running.
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
        """Show how much is done; `total` may change from call to call, or be None if unknown."""
        self._note, self._total = note, done  # at the end of the step, what is done is the total
        self._goal = total
        if self._task is not None and self._is_time(done):
            self._bars.update(self._task, completed=done, total=total, note=note)

    def tell(self, line: str) -> None:
        """Print a line that stays, above the bars."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _is_time(self, done: float) -> bool:
        """Note what is done; return whether to draw it, which happens at most 20 times a second."""
        now = time.monotonic()
        self._done = done
        self._first = self._first or (done, now)
        if done != self._goal and now - self._drawn_at < _DRAWN_S:
            return False
        self._drawn_at = now
        return True

    def _print_running_step(self) -> None:
        """Print the state of the running step at each interval, until the end of all steps."""
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
            threading.Thread(target=self._print_running_step, daemon=True).start()
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
    """Bars that show a step only after two seconds: short steps would flicker."""

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Return the bars of the long steps."""
        return super().make_tasks_table([task for task in tasks if (task.elapsed or 0) >= _LONG_S])


class _Share(ProgressColumn):
    """The percentage done, where it is known."""

    def render(self, task: Task) -> Text:
        """Return the percentage, or nothing."""
        return Text("" if task.total is None else f"{task.percentage:>3.0f}%")


class _Rate(ProgressColumn):
    """The units of work done in a second, or the seconds for each."""

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
    """Return a remaining time in seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
