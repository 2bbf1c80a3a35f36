from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gnnrec_training.errors import TrainingDiverged
from gnnrec_training.evaluation.intervals import PerUser
from gnnrec_training.fitting.checkpoint import Checkpoints, NoCheckpoint
from gnnrec_training.reporter import Silent
from gnnrec_training.search.record import Diary

SCORES = np.array([0.1, 0.3])


def measured(score: PerUser = SCORES) -> tuple[PerUser, str]:
    return score, "a model"


def never() -> tuple[PerUser, str]:
    raise AssertionError("this was tried before the interruption")


def kept(folder: Path, *, resume: bool) -> Checkpoints:
    return Checkpoints(folder, {"config": 1}, Silent(), resume=resume, clock=iter_clock())


def iter_clock() -> Callable[[], float]:
    """Return a clock by which each look is an hour after the one before."""
    hours = iter(range(0, 3_600_000, 3_600))
    return lambda: float(next(hours))


def test_a_trial_is_kept_with_its_score_and_its_standard_error() -> None:
    diary = Diary(NoCheckpoint())
    per_user, made = diary.do("models", "ease", {"penalty": 3}, measured)
    assert per_user is SCORES
    assert made == "a model"
    (trial,) = diary.trials
    assert (trial.model, trial.settings, trial.state) == ("ease", {"penalty": 3}, "done")
    assert trial.score == pytest.approx(0.2)
    assert trial.error == pytest.approx(np.std(SCORES, ddof=1) / np.sqrt(2))
    assert diary.best() == "best 0.2000 by ease"


def test_a_trial_that_fails_is_kept_with_its_reason_and_the_search_goes_on() -> None:
    diary = Diary(NoCheckpoint())

    def diverge() -> tuple[PerUser, str]:
        raise TrainingDiverged("the loss is not finite")

    assert diary.do("models", "als", {}, diverge) == (None, None)
    assert diary.do("models", "ease", {}, measured)[1] == "a model"
    assert [trial.state for trial in diary.trials] == ["failed", "done"]
    assert diary.failures() == "als: the loss is not finite"


def test_a_resumed_search_does_not_try_again_what_was_tried(tmp_path: Path) -> None:
    first = Diary(kept(tmp_path, resume=False).of("search"))
    first.do("models", "ease", {"penalty": 3}, measured)
    first.do_epochs("models", "lightgcn", {}, lambda: (None, [(1, 0.1), (2, 0.2)]), lambda *_: True)
    resumed = Diary(kept(tmp_path, resume=True).of("search"))
    assert not resumed.is_over(0)  # what was tried is gone through whatever the clock says
    per_user, made = resumed.do("models", "ease", {"penalty": 3}, never)
    assert per_user is not None
    assert per_user.tolist() == SCORES.tolist()
    assert made is None
    told: list[tuple[int, float]] = []

    def tell(epoch: int, score: float) -> bool:
        told.append((epoch, score))
        return True

    assert resumed.do_epochs("models", "lightgcn", {}, never, tell) == (0.2, None)  # type: ignore[arg-type]
    assert told == [(1, 0.1), (2, 0.2)]
    assert resumed.trials == first.trials
    resumed.do("models", "spectral", {}, measured)
    assert len(resumed.trials) == 3


def test_a_resumed_search_of_other_kinds_runs_what_differs(tmp_path: Path) -> None:
    first = Diary(kept(tmp_path, resume=False).of("search"))
    first.do("models", "ease", {}, measured)
    resumed = Diary(kept(tmp_path, resume=True).of("search"))
    assert resumed.do("models", "als", {}, measured)[1] == "a model"


def test_the_time_before_an_interruption_counts(tmp_path: Path) -> None:
    clock = iter([0.0, 10.0, 15.0, 40.0, 40.0, 40.0, 40.0])
    first = Diary(kept(tmp_path, resume=False).of("search"), lambda: next(clock))
    first.do("models", "ease", {}, measured)
    later = iter([1000.0, 1000.0, 1005.0])
    resumed = Diary(kept(tmp_path, resume=True).of("search"), lambda: next(later))
    resumed.do("models", "ease", {}, never)
    assert resumed.is_over(40) == resumed.out_of_time


def test_a_kind_that_there_is_no_time_for_is_named() -> None:
    diary = Diary(NoCheckpoint())
    diary.leave_out("als", 300, 60)
    (trial,) = diary.trials
    assert (trial.state, trial.why) == ("left out", "about 300 s for one trial, of 60 s for all")
