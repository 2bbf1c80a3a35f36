"""What a search tried: kept as it goes on, and read again by one that is resumed."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeVar

import numpy as np

from gnnrec_registry.files.json import Json
from gnnrec_training.errors import TrainingError
from gnnrec_training.evaluation.intervals import PerUser, mean_of
from gnnrec_training.fitting.checkpoint import Checkpoint, Saved

State = Literal["done", "stopped", "failed", "left out"]
"""done: measured to the end; stopped: not promising, so ended early; failed: with an error; left
out: there was no time for it."""

OnTheWay = list[tuple[int, float]]
"""Epoch and score of each validation on the way."""

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Trial:
    """A model that was tried at some settings."""

    stage: str
    """What it was tried for: graph, models, full or fusion."""
    model: str
    settings: dict[str, Any]
    state: State
    score: float | None = None
    """The validation score: NDCG at the longest of the configured list lengths."""
    error: float | None = None
    """Its standard error over users."""
    seconds: float = 0.0
    on_the_way: OnTheWay = field(default_factory=list)
    why: str = ""
    """The reason for a trial that failed or was left out."""

    def record(self) -> Json:
        """Return it as JSON values."""
        return asdict(self)


class Diary:
    """The trials of a search in their order; those of an interrupted one are not run again."""

    def __init__(self, checkpoint: Checkpoint, clock: Callable[[], float] = time.monotonic) -> None:
        """Go on from the checkpoint if there is one."""
        self.trials: list[Trial] = []
        self._checkpoint, self._clock = checkpoint, clock
        saved = checkpoint.load() or {"trials": [], "per_user": [], "seconds": 0.0}
        self._earlier = [Trial(**entry) for entry in saved["trials"]]
        self._earlier_scores: list[Any] = saved["per_user"]
        self._scores: list[Any] = []
        self._began = clock() - saved["seconds"]
        self.out_of_time = False
        """Whether a trial was planned and did not begin, for want of time."""

    def is_over(self, seconds: float) -> bool:
        """Tell whether the search has had so many seconds.

        What was tried before an interruption is gone through all the same.
        """
        if len(self.trials) < len(self._earlier):
            return False
        over: bool = self._clock() - self._began > seconds
        self.out_of_time |= over
        return over

    def failures(self) -> str:
        """Return why trials failed or were left out, each reason once."""
        return "; ".join(dict.fromkeys(f"{one.model}: {one.why}" for one in self.trials if one.why))

    def best(self) -> str:
        """Return the best trial so far in words."""
        done = [trial for trial in self.trials if trial.score is not None]
        if not done:
            return ""
        best = max(done, key=lambda trial: trial.score or 0.0)
        return f"best {best.score:.4f} by {best.model}"

    def do(
        self,
        stage: str,
        model: str,
        settings: dict[str, Any],
        run: Callable[[], tuple[PerUser, _Made]],
        *,
        again: bool = False,
    ) -> tuple[PerUser | None, _Made | None]:
        """Run a trial and keep its result; return the score of each user and what was made.

        A trial of an interrupted search is not run, and nothing is made, unless `again`. Both are
        None for one that fails.
        """
        earlier = self._earlier_trial(stage, model)
        if earlier is not None and not again:
            self._add(*earlier)
            return earlier[1], None
        started = self._clock()
        try:
            per_user, made = run()
        except TrainingError as error:
            self._add(Trial(stage, model, settings, "failed", why=str(error)), None)
            return None, None
        self._add(self._done(stage, model, settings, per_user, started), per_user)
        return per_user, made

    def do_epochs(
        self,
        stage: str,
        model: str,
        settings: dict[str, Any],
        run: Callable[[], tuple[PerUser | None, OnTheWay]],
        promises: Callable[[int, float], bool],
    ) -> tuple[float | None, PerUser | None]:
        """Run a trial that may end early; return its last score, and that of each user.

        promises: told again what an interrupted search had told. One that ended early has no score
        of its users, one that failed none at all.
        """
        earlier = self._earlier_trial(stage, model)
        if earlier is not None:
            for epoch, score in earlier[0].on_the_way:
                promises(epoch, score)
            self._add(*earlier)
            return earlier[0].score, earlier[1]
        started = self._clock()
        try:
            per_user, on_the_way = run()
        except TrainingError as error:
            self._add(Trial(stage, model, settings, "failed", why=str(error)), None)
            return None, None
        if per_user is None:
            last = on_the_way[-1][1]
            seconds = round(self._clock() - started, 2)
            trial = Trial(stage, model, settings, "stopped", last, None, seconds, on_the_way)
            self._add(trial, None)
            return last, None
        trial = self._done(stage, model, settings, per_user, started)
        self._add(replace(trial, on_the_way=on_the_way), per_user)
        return trial.score, per_user

    def note(self, stage: str, model: str, settings: dict[str, Any], per_user: PerUser) -> None:
        """Keep a result that took no time of its own."""
        self._add(self._done(stage, model, settings, per_user, self._clock()), per_user)

    def leave_out(self, model: str, cost: float, seconds: float) -> None:
        """Note that there is no time for a kind of model."""
        why = f"about {cost:.0f} s for one trial, of {seconds:.0f} s for all"
        self._add(Trial("models", model, {}, "left out", why=why), None)

    def _done(
        self, stage: str, model: str, settings: dict[str, Any], per_user: PerUser, started: float
    ) -> Trial:
        mean = mean_of(per_user)
        seconds = round(self._clock() - started, 2)
        return Trial(stage, model, settings, "done", mean.value, mean.standard_error, seconds)

    def _earlier_trial(self, stage: str, model: str) -> tuple[Trial, PerUser | None] | None:
        place = len(self.trials)
        if place >= len(self._earlier):
            return None
        trial, scores = self._earlier[place], self._earlier_scores[place]
        if (trial.stage, trial.model) != (stage, model):
            self._earlier = self._earlier[:place]  # another search: run what is left of this one
            return None
        return trial, None if scores is None else np.array(scores, np.float64)

    def _add(self, trial: Trial, per_user: PerUser | None) -> None:
        self.trials.append(trial)
        self._scores.append(None if per_user is None else per_user.tolist())
        self._checkpoint.save(self._saved, f"trial {len(self.trials)}")

    def _saved(self) -> Saved:
        return {
            "trials": [asdict(trial) for trial in self.trials],
            "per_user": self._scores,
            "seconds": self._clock() - self._began,
        }
