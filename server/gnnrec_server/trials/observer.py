"""Tells running trials of every finished request: which side answered it, how, how fast."""

from gnnrec_server.errors import ServingError
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.trials.exchange import Asked, Exchange
from gnnrec_server.trials.fault import FaultFinder
from gnnrec_server.trials.shadow import Shadow
from gnnrec_server.trials.trials import Trials


class Observer:
    """Knows which version answered each request, and tells the trials that it is part of."""

    def __init__(
        self, recommender: Recommender, trials: Trials, shadow: Shadow, faults: FaultFinder
    ) -> None:
        """Have `faults` count requests, and `shadow` compute again what the stable sides answer."""
        self._recommender = recommender
        self._trials = trials
        self._shadow = shadow
        self._faults = faults

    @property
    def is_needed(self) -> bool:
        """Whether a trial is running, which wants to see what ends."""
        return bool(self._trials.running)

    def see(self, exchange: Exchange) -> None:
        """Count a query for its trial, if it has one; where it names a version it is of no side."""
        asked, answer = exchange.asked, exchange.answer
        trial = self._trials.running.get(asked.alias or self._recommender.serving.alias)
        if asked.version or trial is None:
            return
        version = self.version_for(asked) if answer is None else answer.version
        self._faults.count(trial, asked, version, exchange.code, exchange.seconds)
        if trial.candidate.shadow and answer is not None and version == trial.move.version:
            self._shadow.offer(trial, asked, answer)

    def version_for(self, asked: Asked) -> str:
        """Return the version that has failed to answer, empty where none was asked for rightly."""
        try:
            return self._recommender.serving.choose(*asked.target_and_subject()).version
        except ServingError:
            return ""
