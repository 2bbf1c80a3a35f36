"""A candidate that computes, unseen, what the version beside it has answered."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from registry.ranking import NO_ROW, Scores
from server.plans import plan, search
from server.queries import TopKQuery
from server.recommender import Recommender
from server.trial_metrics import ShadowResult, TrialMetrics
from server.trials import Trial

_log = logging.getLogger("gnnrec.server")

# So many may wait; what comes on top is dropped, so that a slow candidate holds nothing up.
_DEPTH = 256


class Shadow:
    """One thread that answers again and compares."""

    def __init__(
        self,
        recommender: Recommender,
        metrics: TrialMetrics,
        parse: Callable[[Any], TopKQuery],
        initializer: Callable[[], None],
        depth: int = _DEPTH,
    ) -> None:
        """`parse` makes a query of a request; the thread begins with `initializer`."""
        self._recommender = recommender
        self._metrics = metrics
        self._parse = parse
        self._pool = ThreadPoolExecutor(1, "shadow", initializer=initializer)
        self._places = threading.Semaphore(depth)

    def offer(self, trial: Trial, request: Any, answer: Any) -> None:
        """Have a TopK request answered by the trial's candidate too, or drop it; never waits."""
        if not hasattr(request, "k"):
            return  # Score: there is no list to compare
        if not self._places.acquire(blocking=False):
            trial.shadowed.dropped += 1
            self._count(trial, "dropped")
            return
        future = self._pool.submit(self._compute, trial, request, answer)
        future.add_done_callback(lambda _: self._places.release())

    def close(self) -> None:
        """Finish what is being computed, and no more."""
        self._pool.shutdown(cancel_futures=True)

    def _compute(self, trial: Trial, request: Any, answer: Any) -> None:
        resident = self._recommender.serving.residents.get(trial.candidate.version)
        if resident is None:
            return  # the trial has just ended
        began = time.perf_counter()
        try:
            made = plan(resident.snapshot, self._parse(request), _Uncounted())
            _, rows = search(made)
        except Exception as error:  # the candidate's failures are what is looked for
            trial.shadowed.failed += 1
            self._count(trial, "failed")
            if trial.shadowed.failed == 1:
                _log.warning("the shadow %s fails: %s", trial.candidate.version, error)
            return
        seconds = time.perf_counter() - began
        snapshot = made.snapshot
        own = set(snapshot.item_ids.texts(rows))
        overlap = sum(item in own for item in answer.item_ids) / max(1, len(answer.item_ids))
        found = snapshot.item_ids.rows(answer.item_ids)
        known = found != NO_ROW
        theirs = np.array(answer.scores, np.float32)[known]
        drift = _drift(theirs, made.variant.index.scores(made.vector, found[known]))
        shadowed = trial.shadowed
        shadowed.compared += 1
        shadowed.overlap_sum += overlap if answer.item_ids else 1.0
        shadowed.drift_sum += drift
        shadowed.latencies.add(seconds)
        self._count(trial, "compared")
        labels = trial.move.alias, trial.candidate.version
        self._metrics.observe_shadow(labels, overlap if answer.item_ids else 1.0, drift, seconds)

    def _count(self, trial: Trial, result: ShadowResult) -> None:
        self._metrics.count_shadow((trial.move.alias, trial.candidate.version), result)


class _Uncounted:
    """Newcomers are counted once, by what answers them."""

    def count_newcomer(self, kind: str, variant: str, unknown: Mapping[str, int]) -> None:
        """Count nothing."""


def _drift(old: Scores, new: Scores) -> float:
    """Return the mean distance of scores as a share of the old ones' mean size; 0 of nothing."""
    size = float(np.abs(old).mean()) if len(old) else 0.0
    return float(np.abs(new - old).mean()) / size if size else 0.0
