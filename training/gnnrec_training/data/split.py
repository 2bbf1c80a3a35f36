"""Which interactions are kept from training: given, at random, or each user's last ones."""

import numpy as np
from numpy.typing import NDArray

from gnnrec_training.config import SplitConfig
from gnnrec_training.data.dataset import Interactions, Rows
from gnnrec_training.data.sorting import order_by

Mask = NDArray[np.bool_]


def split(
    interactions: Interactions,
    config: SplitConfig,
    given_test: Mask | None,
    generator: np.random.Generator,
) -> tuple[Interactions, Interactions, Interactions]:
    """Return train, validation and test, each in the order of the data.

    A user always keeps at least one interaction for training. `given_test` marks the test part
    for the method "given".
    """
    users = interactions.user_rows
    if config.method == "leave_last_out":
        assert interactions.times is not None  # the configuration demands a time column
        # of several at the same moment the last row is the latest
        latest_first = slice(None, None, -1)
        rank = _rank_within_user(users[latest_first], -interactions.times[latest_first])
        rank = rank[latest_first]
        spare = _count_per_row(users) - 1
        test = rank < np.minimum(config.last, spare)
        validation = ~test & (rank < np.minimum(2 * config.last, spare))
    else:
        if given_test is not None:
            test = given_test
        else:
            test = _random_share(users, np.ones(len(users), bool), config.test, generator)
        validation = _random_share(users, ~test, config.validation, generator)
    train = ~test & ~validation
    return interactions.take(train), interactions.take(validation), interactions.take(test)


def _random_share(users: Rows, among: Mask, share: float, generator: np.random.Generator) -> Mask:
    """Mark a random share, rounded down, of each user's interactions `among`, never all of them."""
    chosen = np.zeros(len(users), bool)
    positions = np.flatnonzero(among)
    if share > 0 and len(positions):
        users = users[positions]
        rank = _rank_within_user(users, generator.random(len(users)))
        chosen[positions] = rank < np.floor(_count_per_row(users) * share)
    return chosen


def _rank_within_user(users: Rows, key: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the position of each interaction among its user's, by `key` ascending, then order."""
    order = order_by(users, key)
    counts = np.bincount(users)
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(users), np.int64)
    rank[order] = np.arange(len(users)) - np.repeat(starts, counts)
    return rank


def _count_per_row(users: Rows) -> NDArray[np.int64]:
    """Return, for each interaction, how many its user has."""
    return np.bincount(users)[users]
