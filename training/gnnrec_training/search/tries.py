"""The trials of one kind of model: how many there is time for, and which of them is kept."""

from dataclasses import dataclass

import numpy as np

from gnnrec_registry import VariantExport
from gnnrec_training.config.defaults import Values
from gnnrec_training.evaluation.intervals import PerUser, first_as_good
from gnnrec_training.reporter import Reporter
from gnnrec_training.search.record import Diary


@dataclass
class Tried:
    """A trial that came to its end."""

    settings: Values
    per_user: PerUser
    model: VariantExport | None = None


class Tries:
    """What is kept of the trials of a kind of model: the defaults, tried first, and the best."""

    def __init__(self) -> None:
        """Begin without any."""
        self._kept: list[Tried] = []

    def add(self, tried: Tried) -> None:
        """Take in a trial."""
        best = max(self._kept, key=lambda kept: float(kept.per_user.mean()), default=None)
        if best is None or tried.per_user.mean() > best.per_user.mean():
            self._kept[1:] = [tried]

    @property
    def chosen(self) -> Tried | None:
        """The defaults, unless the best are better by more than the noise; None without trials."""
        if not self._kept:
            return None
        return self._kept[first_as_good(np.array([tried.per_user for tried in self._kept]))]


class Turns:
    """So many trials, as long as there is time; the first of them even if there is none."""

    def __init__(self, diary: Diary, reporter: Reporter, count: int, until: float) -> None:
        """Begin none but the first after `until` seconds of the search."""
        self._first = True
        self._diary, self._reporter, self._left, self._until = diary, reporter, count, until

    def __iter__(self) -> "Turns":
        return self

    def __next__(self) -> None:
        if self._left == 0 or (not self._first and self._diary.is_over(self._until)):
            raise StopIteration
        self._left -= 1
        self._first = False
        self._reporter.advance(len(self._diary.trials), self._diary.best())
