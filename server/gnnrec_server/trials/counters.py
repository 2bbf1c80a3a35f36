"""What trials count: each process writes numbers of its own, and any process adds up all.

With several workers the numbers lie in files that all of them map into memory.
"""

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger("gnnrec.server")

RECENT = 4096
"""How many of the most recent requests of a kind are judged."""


class RequestKind(IntEnum):
    """The requests of a trial that are noted one by one, the most recent with their durations.

    Those that the stable version has answered, those that the candidate has, and those that the
    candidate has computed as a shadow.
    """

    STABLE = 0
    CANDIDATE = 1
    SHADOW = 2


class Count(IntEnum):
    """What is counted; the first three are how many requests of each kind there were."""

    STABLE = 0
    CANDIDATE = 1
    SHADOW = 2
    STABLE_ERRORS = 3
    CANDIDATE_ERRORS = 4
    SHADOW_SCORES = 5
    SHADOW_DROPPED = 6
    SHADOW_FAILED = 7
    OVERLAP_SUM = 8
    DRIFT_SUM = 9
    BEGAN_AT = 10


_ROOM = 16
_COLUMNS = 4
_SHAPE = (len(RequestKind), RECENT, _COLUMNS)
_NUMBERS = _ROOM + len(RequestKind) * RECENT * _COLUMNS
_BYTES = 8 * _NUMBERS


class TrialCounter:
    """What one process has counted of one trial; each number is written by one thread only."""

    def __init__(self, numbers: NDArray[np.float64]) -> None:
        """Count into an array of numbers, which may lie in a file."""
        self.counts = numbers[:_ROOM]
        # (kind, place, 4), where the RECENT places of a kind are used in turn: when the request
        # ended (monotonic seconds, one clock for all processes), how long it took, whether it
        # failed, and whether it was too slow.
        self.recent = numbers[_ROOM:].reshape(_SHAPE)

    def add(self, count: Count, amount: float = 1.0) -> None:
        """Add to a number."""
        self.counts[count] += amount

    def enter(
        self, kind: RequestKind, seconds: float | None, failed: bool = False, slow: bool = False
    ) -> None:
        """Note a request of a kind; an entry of a batch has no duration of its own."""
        place = int(self.counts[kind]) % RECENT
        duration = np.nan if seconds is None else seconds
        self.recent[kind, place] = time.monotonic(), duration, failed, slow
        self.counts[kind] += 1


@dataclass(frozen=True)
class RecentRequests:
    """The most recent requests of a kind.

    seconds, slow: of those with a duration, how long each took and whether that was too long;
    failed: of all, whether each failed.
    """

    seconds: NDArray[np.float64]
    slow: NDArray[np.float64]
    failed: NDArray[np.float64]

    def quantile(self, share: float) -> float:
        """Return the duration that a share of them does not exceed; 0 where there are none."""
        return float(np.quantile(self.seconds, share)) if len(self.seconds) else 0.0

    @property
    def error_share(self) -> float:
        """The share that failed."""
        return float(self.failed.mean()) if len(self.failed) else 0.0

    @property
    def slow_share(self) -> float:
        """The share that was too slow."""
        return float(self.slow.mean()) if len(self.slow) else 0.0


class TrialTotals:
    """What all processes have counted of a trial."""

    def __init__(self, counters: Sequence[TrialCounter]) -> None:
        """Add up the counters of the processes."""
        self._counts = np.sum([counter.counts for counter in counters], axis=0)
        self._began_at = min(counter.counts[Count.BEGAN_AT] for counter in counters)
        self._counters = counters

    def __getitem__(self, count: Count | RequestKind) -> int:
        """Return a number."""
        return int(self._counts[count])

    @property
    def began_at(self) -> float:
        """When the first process saw the trial, in Unix seconds."""
        return float(self._began_at)

    @property
    def overlap(self) -> float:
        """The mean share of the answered items that the candidate has among its own."""
        lists = self[Count.SHADOW] - self[Count.SHADOW_SCORES]
        return float(self._counts[Count.OVERLAP_SUM]) / max(1, lists)

    @property
    def drift(self) -> float:
        """By how much scores differ, as a share of the scores, on average."""
        return float(self._counts[Count.DRIFT_SUM]) / max(1, self[Count.SHADOW])

    def recent(self, kind: RequestKind) -> RecentRequests:
        """Return the RECENT most recent requests of a kind, whichever process has noted them."""
        parts = [
            counter.recent[kind, : min(RECENT, int(counter.counts[kind]))]
            for counter in self._counters
        ]
        rows = np.concatenate(parts)
        if len(rows) > RECENT:
            rows = rows[np.argsort(rows[:, 0], kind="stable")[-RECENT:]]
        timed = rows[~np.isnan(rows[:, 1])]
        return RecentRequests(timed[:, 1], timed[:, 3], rows[:, 2].copy())


class TrialCounters:
    """The counters of the trials that a server takes part in.

    With a folder, which the workers of one server share, each process counts into a file of its
    own there, and adds up those of all. What a process that has died counted stays in the sums.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Count in `folder`, or in memory where there is but one process."""
        self._folder = folder
        self._own: dict[str, TrialCounter] = {}

    def open(self, trial: str, began_at: float) -> TrialCounter:
        """Return this process's counter for a trial; `trial` is its name in every process."""
        counter = self._own.get(trial)
        if counter is None:
            counter = self._own[trial] = TrialCounter(self._numbers(trial))
            if not counter.counts[Count.BEGAN_AT]:  # else a process of the same id was here before
                counter.counts[Count.BEGAN_AT] = began_at
        return counter

    def sum(self, trial: str) -> TrialTotals:
        """Return what all processes have counted of a trial that is open."""
        return TrialTotals([self._own[trial], *self._others(trial)])

    def close(self, trial: str) -> None:
        """Forget a trial that has ended, for all: it never comes again."""
        self._own.pop(trial, None)
        if self._folder is not None:
            shutil.rmtree(self._place(trial), ignore_errors=True)

    def _numbers(self, trial: str) -> NDArray[np.float64]:
        if self._folder is None:
            return np.zeros(_NUMBERS)
        path = self._place(trial) / str(os.getpid())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                # A write to a mapped file without room would end the process.
                os.posix_fallocate(file.fileno(), 0, _BYTES)
            return np.memmap(path, np.float64, "r+", shape=(_NUMBERS,))
        except OSError as error:
            _log.warning("a trial is counted by this worker for itself: %s", error)
            return np.zeros(_NUMBERS)

    def _others(self, trial: str) -> list[TrialCounter]:
        if self._folder is None:
            return []
        found = []
        for path in self._place(trial).glob("[0-9]*"):
            if path.name == str(os.getpid()):
                continue
            try:
                numbers = np.memmap(path, np.float64, "r", shape=(_NUMBERS,))
            except (OSError, ValueError):  # gone, or just being made
                continue
            found.append(TrialCounter(numbers))
        return found

    def _place(self, trial: str) -> Path:
        assert self._folder is not None
        return self._folder / hashlib.blake2b(trial.encode(), digest_size=16).hexdigest()
