"""Whether a failed or slow request is the version's fault: the other version is asked the same.

Callers make mistakes, some ask for very much, many come at once, and all may choose for whom they
ask. So no failure and no duration says of itself that a version is worse.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor

from gnnrec_registry.scoring.ranking import NO_ROW
from gnnrec_server.query.plan import place, plan, search
from gnnrec_server.query.queries import ScoreQuery, TopKQuery
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.trials.exchange import Asked
from gnnrec_server.trials.shadow import Uncounted
from gnnrec_server.trials.trials import Trial, Trials, may_be_of_the_version
from gnnrec_server.version.snapshot import Snapshot

Read = Callable[[], TopKQuery | ScoreQuery]

# What comes on top of so many, and what is larger, is not computed again.
_DEPTH = 1024
_LARGEST_BYTES = 64 * 1024


class FaultFinder:
    """Counts the requests of trials; those that failed or took long once they are looked into.

    A failure counts if the other version answers the same request. A request took long if it took
    longer than its guard permits and, computed alone, does so again and the other version does not.
    """

    def __init__(
        self,
        recommender: Recommender,
        trials: Trials,
        executor: Executor,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Compute in the one thread of `executor`."""
        self._recommender = recommender
        self._trials = trials
        self._executor = executor
        self._clock = clock
        self.waiting = 0
        """How many are still to be looked into."""

    def count(
        self, trial: Trial, asked: Asked, version: str, code: str, seconds: float | None
    ) -> None:
        """Count a finished TopK or Score, or an entry of a batch, now or soon; never waits."""
        if trial.side(version) is None:
            return
        limit_s = _limit_s(trial, version)
        may_be_slow = limit_s is not None and seconds is not None and seconds > limit_s
        if code == "OK" and not may_be_slow:
            self._trials.count(trial, version, code, seconds)
        elif code == "OK" or may_be_of_the_version(code):
            self._look_into(trial, asked, version, code, seconds)
        elif code == "DEADLINE_EXCEEDED" and limit_s is not None:
            # A version that is too slow for everyone would not be seen otherwise. How soon it
            # must answer its guard says, and not the deadlines of callers.
            self._look_into(trial, asked, version, code, seconds)

    def _look_into(
        self, trial: Trial, asked: Asked, version: str, code: str, seconds: float | None
    ) -> None:
        if self.waiting >= _DEPTH or asked.size_bytes > _LARGEST_BYTES:
            if code == "OK":
                self._trials.count(trial, version, code, seconds)
            return
        read = asked.copied()
        work = self._is_slow if code in ("OK", "DEADLINE_EXCEEDED") else self._has_failed
        self.waiting += 1
        loop = asyncio.get_running_loop()
        found = loop.run_in_executor(self._executor, work, trial, version, read)

        def count(found: asyncio.Future[bool]) -> None:
            self.waiting -= 1
            if found.cancelled():
                return
            is_to_blame = found.result()
            if (code == "OK" or is_to_blame) and self._trials.is_running(trial):
                slow = is_to_blame and code in ("OK", "DEADLINE_EXCEEDED")
                self._trials.count(trial, version, code, seconds, slow=slow)

        found.add_done_callback(count)

    def _has_failed(self, trial: Trial, version: str, read: Read) -> bool:
        """Tell whether the other version answers what this one has failed to answer."""
        return self._compute_s(trial.other(version), read) is not None

    def _is_slow(self, trial: Trial, version: str, read: Read) -> bool:
        """Tell whether a version takes longer than its guard permits, and the other does not."""
        limit_s = _limit_s(trial, version)
        other_s = self._compute_s(trial.other(version), read)
        if limit_s is None or other_s is None or other_s > limit_s:
            return False
        # Twice, as anything may come in between once.
        return all((self._compute_s(version, read) or 0.0) > limit_s for _ in range(2))

    def _compute_s(self, version: str, read: Read) -> float | None:
        """Return how long a version takes to compute a request, None if it does not answer it."""
        resident = self._recommender.serving.residents.get(version)
        if resident is None:
            return None
        try:
            query = read()
            began = self._clock()
            _compute(resident.snapshot, query)
            return self._clock() - began
        except Exception:  # whatever it is, it is no answer
            return None


def _limit_s(trial: Trial, version: str) -> float | None:
    """Return how long a version may take; None for any time."""
    guard = trial.candidate.guard
    if guard is None or guard.max_p99_ms is None or version != trial.candidate.version:
        return None
    return guard.max_p99_ms / 1000


def _compute(snapshot: Snapshot, query: TopKQuery | ScoreQuery) -> None:
    """Compute what a query asks for, and throw it away."""
    if isinstance(query, TopKQuery):
        search(plan(snapshot, query, Uncounted()))
        return
    variant = snapshot.variant(query.target.variant)
    placed = place(snapshot, variant, query.subject, Uncounted(), include_seen=True)
    rows = snapshot.item_ids.rows(query.item_ids)
    variant.scores(placed.vector, rows[rows != NO_ROW], placed.history)
