"""A candidate that computes, unseen, what the version beside it has answered."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gnnrec_registry.scoring.ranking import NO_ROW, Scores
from gnnrec_server.process.threads import OneThread
from gnnrec_server.query.plan import place, plan, search
from gnnrec_server.query.queries import ScoreQuery, TopKQuery
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.telemetry.trial_metrics import ShadowResult, TrialMetrics
from gnnrec_server.trials.counters import Count, RequestKind
from gnnrec_server.trials.exchange import Answered, Asked
from gnnrec_server.trials.trials import Trial
from gnnrec_server.version.snapshot import Snapshot

_log = logging.getLogger("gnnrec.server")

# So many may wait; what comes on top is dropped, so that a slow candidate holds nothing up.
_DEPTH = 256


class Shadow:
    """One thread that answers again and compares."""

    def __init__(
        self,
        recommender: Recommender,
        metrics: TrialMetrics,
        initializer: Callable[[], None],
        depth: int = _DEPTH,
    ) -> None:
        """Let at most `depth` wait for the thread, which begins with `initializer`."""
        self._recommender = recommender
        self._metrics = metrics
        self._pool = OneThread("shadow", initializer)
        self._places = threading.Semaphore(depth)

    def offer(self, trial: Trial, asked: Asked, answer: Answered) -> None:
        """Have a TopK or Score answered by the trial's candidate too, or drop it; never waits."""
        if not self._places.acquire(blocking=False):
            trial.counter.add(Count.SHADOW_DROPPED)
            self._count(trial, "dropped")
            return
        future = self._pool.submit(self._compute, trial, asked, answer)
        future.add_done_callback(lambda _: self._places.release())

    def close(self) -> None:
        """Finish what is being computed, and no more."""
        self._pool.shutdown(cancel_futures=True)

    def _compute(self, trial: Trial, asked: Asked, answer: Answered) -> None:
        resident = self._recommender.serving.residents.get(trial.candidate.version)
        if resident is None:
            return  # the trial has just ended
        try:
            query = asked.query()
            if isinstance(query, ScoreQuery):
                found = _score(resident.snapshot, query, answer)
            else:
                found = _list(resident.snapshot, query, answer)
        except Exception as error:  # the candidate's failures are what is looked for
            trial.counter.add(Count.SHADOW_FAILED)
            self._count(trial, "failed")
            if trial.counter.counts[Count.SHADOW_FAILED] == 1:
                _log.warning(
                    "alias %s: the shadow %s cannot answer what %s has answered: %s; later "
                    "failures are counted, and not logged",
                    trial.move.alias, trial.candidate.version, trial.move.version, error,
                )  # fmt: skip
            return
        counter = trial.counter
        counter.add(Count.DRIFT_SUM, found.drift)
        if found.overlap is None:
            counter.add(Count.SHADOW_SCORES)
        else:
            counter.add(Count.OVERLAP_SUM, found.overlap)
        counter.enter(RequestKind.SHADOW, found.seconds)
        labels = trial.move.alias, trial.candidate.version
        self._metrics.observe_shadow(labels, found.overlap, found.drift, found.seconds)
        self._count(trial, "compared")

    def _count(self, trial: Trial, result: ShadowResult) -> None:
        self._metrics.count_shadow((trial.move.alias, trial.candidate.version), result)


@dataclass(frozen=True)
class _Compared:
    """What a candidate has computed, beside what was answered."""

    seconds: float
    drift: float
    overlap: float | None
    """None for a Score, whose items the caller has chosen."""


def _list(snapshot: Snapshot, query: TopKQuery, answer: Answered) -> _Compared:
    """Compute the k best items, and the scores of those that were answered."""
    began = time.perf_counter()
    made = plan(snapshot, query, Uncounted())
    _, rows = search(made)
    seconds = time.perf_counter() - began
    own = set(snapshot.item_ids.texts(rows))
    answered = answer.item_ids
    overlap = sum(item in own for item in answered) / len(answered) if answered else 1.0
    found = snapshot.item_ids.rows(answered)
    known = found != NO_ROW
    scores = made.variant.scores(made.vector, found[known], made.history)
    return _Compared(seconds, _drift(np.array(answer.scores, np.float32)[known], scores), overlap)


def _score(snapshot: Snapshot, query: ScoreQuery, answer: Answered) -> _Compared:
    """Compute the scores that were asked for; those of items that both know are compared."""
    began = time.perf_counter()
    variant = snapshot.variant(query.target.variant)
    placed = place(snapshot, variant, query.subject, Uncounted(), include_seen=True)
    rows = snapshot.item_ids.rows(query.item_ids)
    known = (rows != NO_ROW) & np.array(answer.known, bool)
    scores = variant.scores(placed.vector, rows[known], placed.history)
    seconds = time.perf_counter() - began
    return _Compared(seconds, _drift(np.array(answer.scores, np.float32)[known], scores), None)


class Uncounted:
    """Newcomers are counted once, by what answers them."""

    def count_newcomer(self, kind: str, variant: str, unknown: Mapping[str, int]) -> None:
        """Count nothing."""


def _drift(old: Scores, new: Scores) -> float:
    """Return the mean distance of scores as a share of the old ones' mean size; 0 of nothing."""
    size = float(np.abs(old).mean()) if len(old) else 0.0
    return float(np.abs(new - old).mean()) / size if size else 0.0
