"""Settings proposed by Optuna for one kind of model, and the results told to it."""

import warnings
from typing import Any

from gnnrec_training.config import Family
from gnnrec_training.config.defaults import Figures, Values
from gnnrec_training.search.space import first, settings

_BEFORE_MEDIAN = 3
"""So many trials run to the end before the others are compared with their median."""


class Proposals:
    """A study of Optuna: the defaults first, then what promises most. Equal seeds, equal proposals.

    The model of proposals is a tree-structured Parzen estimator over all results so far.
    """

    def __init__(self, family: Family, figures: Figures, seed: int) -> None:
        """Begin without any result."""
        import optuna  # half a second that other trainings are spared

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=8, multivariate=True, group=True
            )
        pruner = optuna.pruners.MedianPruner(n_startup_trials=_BEFORE_MEDIAN)
        self._study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        self._study.enqueue_trial(first(family, figures), skip_if_exists=True)
        self._family, self._figures = family, figures
        self._asked: Any = None

    def ask(self) -> Values:
        """Return the next settings, the keys of a section."""
        self._asked = self._study.ask()
        return settings(self._family, self._asked, self._figures)

    def promises(self, epoch: int, score: float) -> bool:
        """Take a score on the way; tell whether the trial is worth going on with."""
        self._asked.report(score, epoch)
        return not self._asked.should_prune()

    def tell(self, score: float | None) -> None:
        """Take the result of what was asked last; None for one that failed."""
        if score is None:
            from optuna.trial import TrialState

            self._study.tell(self._asked, state=TrialState.FAIL)
        else:
            self._study.tell(self._asked, score)
