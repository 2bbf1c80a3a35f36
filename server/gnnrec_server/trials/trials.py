"""Trials: a candidate version beside the stable one that an alias names, both counted."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gnnrec_registry import Candidate, Move
from gnnrec_server.telemetry.trial_metrics import Side, TrialMetrics
from gnnrec_server.trials.counters import (
    RECENT,
    Count,
    RequestKind,
    TrialCounter,
    TrialCounters,
    TrialTotals,
)

# The server was full or stopping, an answer was too large to be sent, the caller went away.
_NOT_OF_THE_VERSION = {
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "UNAUTHENTICATED",
    "CANCELLED",
    "DEADLINE_EXCEEDED",
}

# One in so many may be slow: the p99 is what 99 of 100 do not exceed.
_SLOW_SHARE = 0.01

_SIDES: dict[Side, tuple[RequestKind, Count]] = {
    "stable": (RequestKind.STABLE, Count.STABLE_ERRORS),
    "candidate": (RequestKind.CANDIDATE, Count.CANDIDATE_ERRORS),
}


@dataclass
class Trial:
    """A candidate beside the version that an alias names."""

    name: str
    """Identifies the trial: the same in every process of a server, and unique among trials."""
    move: Move
    candidate: Candidate
    counter: TrialCounter
    """What this process counts into."""
    problem: str = ""
    """Why the candidate answers no request here; empty if it answers some."""

    def side(self, version: str) -> Side | None:
        """Return which side a version is, None for a version that is neither."""
        if version == self.candidate.version:
            return "candidate"
        return "stable" if version == self.move.version else None

    def other(self, version: str) -> str:
        """Return the other one of the two versions."""
        is_candidate = version == self.candidate.version
        return self.move.version if is_candidate else self.candidate.version

    def verdict(self, seen: TrialTotals) -> str:
        """Return which limit of its guard the candidate exceeds, as a sentence; empty for none."""
        guard = self.candidate.guard
        if guard is None or seen[RequestKind.CANDIDATE] < guard.min_requests:
            return ""
        new, old = seen.recent(RequestKind.CANDIDATE), seen.recent(RequestKind.STABLE)
        more = new.error_share - old.error_share
        judged = min(RECENT, seen[RequestKind.CANDIDATE])
        if guard.max_errors is not None and more > guard.max_errors:
            return (
                f"{new.error_share:.1%} of its last {judged} requests failed, "
                f"{old.error_share:.1%} of those of {self.move.version}; {guard.max_errors:.1%} "
                "more are allowed"
            )
        if guard.max_p99_ms is not None and new.slow_share > _SLOW_SHARE:
            return (
                f"its p99 is above {guard.max_p99_ms:g} ms: {new.slow_share:.1%} of its last "
                f"{len(new.slow)} requests take longer, and do not with {self.move.version}"
            )
        return ""


class Trials:
    """The trials that a server takes part in, by alias."""

    def __init__(
        self,
        metrics: TrialMetrics,
        counters: TrialCounters,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin with none; count into `counters`, which may be shared, and into `metrics`."""
        self._metrics = metrics
        self._counters = counters
        self._clock = clock
        self.running: Mapping[str, Trial] = {}

    def follow(self, moves: Mapping[str, Move], problems: Mapping[str, str]) -> None:
        """Take part in the trials of the aliases; counts go on while both versions stay the same.

        problems: by alias, why a candidate answers nobody.
        """
        running = {}
        for alias, move in moves.items():
            if move.candidate is None:
                continue
            name = _name(move, move.candidate)
            counter = self._counters.open(name, self._clock())
            running[alias] = Trial(name, move, move.candidate, counter, problems.get(alias, ""))
        ended = {trial.name for trial in self.running.values()}
        self.running = running
        for name in ended - {trial.name for trial in running.values()}:
            self._counters.close(name)
        self._metrics.show_sides({alias: _versions(trial) for alias, trial in running.items()})
        waiting = {alias: trial for alias, trial in running.items() if trial.problem}
        self._metrics.show_waiting({alias: _versions(trial) for alias, trial in waiting.items()})

    def is_running(self, trial: Trial) -> bool:
        """Tell whether a trial goes on; another of the same alias and versions is another one."""
        now = self.running.get(trial.move.alias)
        return now is not None and now.name == trial.name

    def seen(self, trial: Trial) -> TrialTotals:
        """Return what all processes of this server have seen of a running trial."""
        return self._counters.sum(trial.name)

    def count(
        self, trial: Trial, version: str, code: str, seconds: float | None, *, slow: bool = False
    ) -> None:
        """Count a request that a version has answered, or failed to; see trials.fault.

        slow: whether it is known to have taken too long through the version's fault.
        """
        side = trial.side(version)
        if side is None:
            return
        kind, errors = _SIDES[side]
        failed = code != "OK"
        trial.counter.enter(kind, seconds, failed, slow)
        if failed:
            trial.counter.add(errors)
        self._metrics.count_request((trial.move.alias, version, side), failed, seconds)


def may_be_of_the_version(code: str) -> bool:
    """Tell whether what ended with a code may say something of the version that was asked."""
    return code not in _NOT_OF_THE_VERSION


def _name(move: Move, candidate: Candidate) -> str:
    return "\n".join([move.alias, move.version, candidate.version, str(candidate.since)])


def _versions(trial: Trial) -> tuple[str, str]:
    return trial.move.version, trial.candidate.version
