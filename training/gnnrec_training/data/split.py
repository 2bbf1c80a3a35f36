"""Which interactions are withheld from training: given, random, each user's latest, or the latest.

E is the number of interactions.
"""

import numpy as np
from numpy.typing import NDArray

from gnnrec_training.config import SplitConfig
from gnnrec_training.data.dataset import Interactions, Rows
from gnnrec_training.data.sorting import order_by

InteractionMask = NDArray[np.bool_]
"""(E,): selects some of the interactions."""

Parts = tuple[Interactions, Interactions, Interactions]
"""Train, validation and test."""


def split(
    interactions: Interactions,
    config: SplitConfig,
    given_test: InteractionMask | None,
    generator: np.random.Generator,
) -> Parts:
    """Return the train, validation and test parts, each in the order of the data.

    Every user keeps at least one interaction for training, unless `given_test`, the test part of
    method "given", has all of them, or all are later than the moment that method "time" divides by.
    """
    users = interactions.user_rows
    if config.method == "time":
        assert interactions.times is not None  # the configuration demands a time column
        everything = np.ones(len(users), bool)
        test = _latest_share(interactions.times, everything, config.test)
        validation = _latest_share(interactions.times, ~test, config.validation)
    elif config.method == "leave_last_out":
        assert interactions.times is not None  # the configuration demands a time column
        # of several interactions at the same time the one in the last row is the latest
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


def foreseen(pairs: Interactions, parts: Parts, config: SplitConfig) -> InteractionMask:
    """Tell which other pairs (E,) are no earlier than what a split by time keeps from training.

    A model must not see them before it is measured. With leave_last_out that is judged by each
    user's first interaction that is held out, with time by the first of all; the other methods do
    not look at times.
    """
    _, validation, test = parts
    later = np.zeros(len(pairs), bool)
    if config.method not in ("leave_last_out", "time") or len(pairs) == 0:
        return later
    assert pairs.times is not None  # the configuration demands a time column
    users = int(max(part.user_rows.max(initial=0) for part in (pairs, validation, test))) + 1
    first = np.full(users, np.inf)
    for part in (validation, test):
        if len(part) == 0:
            continue
        assert part.times is not None
        np.minimum.at(first, part.user_rows, part.times)
    if config.method == "time":
        first[:] = first.min()
    return pairs.times >= first[pairs.user_rows]


def _random_share(
    users: Rows, among: InteractionMask, share: float, generator: np.random.Generator
) -> InteractionMask:
    """Return a random share of each user's interactions in `among`, but never all of a user's.

    A share that is no whole number is rounded down or up at random, so that the mean is the share
    however few interactions users have.
    """
    chosen = np.zeros(len(users), bool)
    positions = np.flatnonzero(among)
    if share > 0 and len(positions):
        users = users[positions]
        rank = _rank_within_user(users, generator.random(len(users)))
        counts = np.bincount(users)
        wanted = np.floor(counts * share + generator.random(len(counts)))
        chosen[positions] = rank < np.minimum(wanted, counts - 1)[users]
    return chosen


def _latest_share(
    times: NDArray[np.float64], among: InteractionMask, share: float
) -> InteractionMask:
    """Return the latest share of the interactions in `among`, from one moment on, but never all.

    Those at that moment are all chosen, unless no earlier one is left.
    """
    ascending = np.sort(times[among])
    count = round(share * len(ascending))
    if count == 0:
        return np.zeros(len(times), bool)
    moment = ascending[-count]
    late: InteractionMask = times >= moment if moment > ascending[0] else times > moment
    return late & among


def _rank_within_user(users: Rows, key: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the position (E,) of each interaction among its user's, from 0, by ascending `key`.

    Equal keys keep their order. users, key (E,).
    """
    order = order_by(users, key)
    counts = np.bincount(users)
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(users), np.int64)
    rank[order] = np.arange(len(users)) - np.repeat(starts, counts)
    return rank


def _count_per_row(users: Rows) -> NDArray[np.int64]:
    """Return for each interaction (E,) how many interactions its user has."""
    return np.bincount(users)[users]
