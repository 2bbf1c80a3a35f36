"""How sure a mean over users, or a difference of two, is. V users, C candidates."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LEVEL = 1.959964
"""The 97.5% quantile of the standard normal distribution: an interval of 95% has two such tails."""

PerUser = NDArray[np.float64]
"""(V,): a metric of each user."""


@dataclass(frozen=True)
class Mean:
    """A mean over users with its standard error."""

    value: float
    standard_error: float

    @property
    def low(self) -> float:
        """The lower bound of the 95% normal interval."""
        return self.value - _LEVEL * self.standard_error

    @property
    def high(self) -> float:
        """The upper bound of the 95% normal interval."""
        return self.value + _LEVEL * self.standard_error


def mean_of(values: PerUser, unknown_users: int = 0) -> Mean:
    """Return the mean of a metric, or of differences of one, and its standard error.

    values (V,). `unknown_users` have held-out items and are unknown to training: they count as
    further values of 0. The standard error is the sample's standard deviation over the root of the
    number of users. Of a single user nothing can be said: its standard error is 1, the width of
    what metrics can be.
    """
    users = len(values) + unknown_users
    mean = float(values.sum()) / users
    if users == 1:
        return Mean(mean, 1.0)
    squares = float(np.square(values - mean).sum()) + unknown_users * mean**2
    return Mean(mean, math.sqrt(squares / (users - 1) / users))


def paired_difference(ours: PerUser, theirs: PerUser, unknown_users: int = 0) -> Mean:
    """Return the mean of ours - theirs over the same users, and its standard error.

    ours, theirs (V,). Users unknown to training are missed by both: their difference is 0. That
    users differ in how hard they are adds nothing to the error of a paired difference.
    """
    return mean_of(ours - theirs, unknown_users)


def first_as_good(found: NDArray[np.float64]) -> int:
    """Return the first candidate whose mean is within a standard error of the best one's.

    found (C, V): the metric by candidate and user. With the simplest candidate first this is the
    one-standard-error rule (Breiman et al. 1984, "Classification and Regression Trees", 3.4.3),
    with the standard error of the differences to the best candidate, user by user.
    """
    best = found[np.argmax(found.mean(axis=1))]
    for place, values in enumerate(found):
        lost = best - values
        if lost.mean() <= lost.std() / math.sqrt(len(lost)):
            return place
    raise AssertionError("the best is as good as itself")
