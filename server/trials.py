"""What servers see of a candidate beside the version that an alias names: both sides, counted."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from registry import Candidate, Move

# Codes that say nothing of the version: the server was full or stopping, or the caller went away.
_NOT_OF_THE_VERSION = {"RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNAUTHENTICATED", "CANCELLED"}

# How many of the last requests of a side are judged.
_RECENT = 4096


class Latencies:
    """The last durations of something, in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def add(self, seconds: float) -> None:
        """Add one."""
        with self._lock:
            self._recent.append(seconds)

    def quantile(self, share: float) -> float:
        """Return the duration that a share of them does not exceed; 0 where there are none."""
        with self._lock:
            recent = list(self._recent)
        return float(np.quantile(recent, share)) if recent else 0.0


@dataclass
class Side:
    """What one of the two versions has answered since the trial began here."""

    version: str
    requests: int = 0
    errors: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    recent_errors: deque[bool] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def count(self, failed: bool, seconds: float | None) -> None:
        """Count a request; one of a batch has no duration of its own."""
        self.requests += 1
        self.errors += failed
        self.recent_errors.append(failed)
        if seconds is not None:
            self.latencies.add(seconds)

    @property
    def error_share(self) -> float:
        """The share of the last requests that failed."""
        return sum(self.recent_errors) / max(1, len(self.recent_errors))


@dataclass
class Shadowed:
    """What the candidate has computed, unseen, since the trial began here."""

    compared: int = 0
    dropped: int = 0
    """Not computed, because more came than could be."""
    failed: int = 0
    overlap_sum: float = 0.0
    drift_sum: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def overlap(self) -> float:
        """The mean share of the answered items that the candidate has among its own."""
        return self.overlap_sum / max(1, self.compared)

    @property
    def score_drift(self) -> float:
        """By how much the scores of such items differ, as a share of the scores, on average."""
        return self.drift_sum / max(1, self.compared)


@dataclass
class Trial:
    """A candidate beside the version that an alias names."""

    move: Move
    candidate: Candidate
    stable_side: Side
    candidate_side: Side
    began_at: float
    shadowed: Shadowed = field(default_factory=Shadowed)
    problem: str = ""
    """Why the candidate answers nobody; empty if it does."""

    def side(self, version: str) -> Side | None:
        """Return the side of a version, None for a third one."""
        for side in (self.stable_side, self.candidate_side):
            if side.version == version:
                return side
        return None

    def verdict(self) -> str:
        """Say in what the candidate passes its guard's limits; empty if it does not."""
        guard, new, old = self.candidate.guard, self.candidate_side, self.stable_side
        if guard is None or len(new.recent_errors) < guard.min_requests:
            return ""
        more = new.error_share - old.error_share
        if guard.max_errors is not None and more > guard.max_errors:
            return (
                f"{new.error_share:.1%} of its last {len(new.recent_errors)} requests failed, "
                f"{old.error_share:.1%} of those of {old.version}; {guard.max_errors:.1%} more are "
                "allowed"
            )
        p99_ms = 1000 * new.latencies.quantile(0.99)
        if guard.max_p99_ms is not None and p99_ms > guard.max_p99_ms:
            return f"its p99 is {p99_ms:.1f} ms, above {guard.max_p99_ms:g} ms"
        return ""


class Trials:
    """The trials that a server takes part in, by alias."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """Begin with none."""
        self._clock = clock
        self.running: Mapping[str, Trial] = {}

    def follow(self, moves: Mapping[str, Move], problems: Mapping[str, str]) -> None:
        """Take part in the trials that aliases carry; counts go on while the two sides stay.

        problems: by alias, why a candidate answers nobody.
        """
        running = {}
        for alias, move in moves.items():
            if move.candidate is None:
                continue
            versions = move.version, move.candidate.version
            trial = self.running.get(alias)
            if trial is None or versions != (
                trial.stable_side.version, trial.candidate_side.version,
            ):  # fmt: skip
                old, new = map(Side, versions)
                trial = Trial(move, move.candidate, old, new, self._clock())
            trial.move, trial.candidate = move, move.candidate
            trial.problem = problems.get(alias, "")
            running[alias] = trial
        self.running = running

    def count(self, alias: str, version: str, code: str, seconds: float | None) -> None:
        """Count a request that a version has answered, or failed to, under an alias."""
        trial = self.running.get(alias)
        side = None if trial is None else trial.side(version)
        if side is not None and code not in _NOT_OF_THE_VERSION:
            side.count(code != "OK", seconds)
