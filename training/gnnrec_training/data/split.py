"""Which interactions are withheld from training: given, random, each user's latest, or the latest.

E is the number of interactions.
"""

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.files.arrays import distinct
from gnnrec_training.config import SplitConfig
from gnnrec_training.data.dataset import Interactions, Rows
from gnnrec_training.data.sorting import order_by

InteractionMask = NDArray[np.bool_]
"""(E,): selects some of the interactions."""

Parts = tuple[Interactions, Interactions, Interactions]
"""Train, validation and test."""

_FEWEST_USERS = 100
"""A validation part later than one moment asks at least so many users, or is each user's latest."""


def split(
    interactions: Interactions,
    config: SplitConfig,
    given_test: InteractionMask | None,
    generator: np.random.Generator,
    in_table: Rows | None = None,
) -> Parts:
    """Return the train, validation and test parts, each in the order of the data.

    in_table: the users that a table has, who are known whether or not they have interactions.

    Every user keeps at least one interaction for training, unless `given_test`, the test part of
    method "given", has all of them, or all are later than the moment that method "time" divides by.
    """
    users = interactions.user_rows
    if config.method == "time":
        assert interactions.times is not None  # the configuration demands a time column
        everything = np.ones(len(users), bool)
        test = _latest_share(interactions.times, everything, config.test)
        validation = _before_test(interactions, test, config.validation, generator, in_table)
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
            everything = np.ones(len(users), bool)
            test = _share_of_each(users, everything, config.test, generator)
        validation = _share_of_each(users, ~test, config.validation, generator)
    train = ~test & ~validation
    return interactions.take(train), interactions.take(validation), interactions.take(test)


def is_by_moment(parts: Parts) -> bool:
    """Tell whether all of the validation part is later than all of the training part."""
    train, validation, _ = parts
    if len(train) == 0 or len(validation) == 0:
        return True
    assert train.times is not None
    assert validation.times is not None
    return bool(train.times.max() < validation.times.min())


def foreseen(pairs: Interactions, parts: Parts, config: SplitConfig) -> InteractionMask:
    """Tell which other pairs (E,) are no earlier than what a split by time keeps from training.

    A model must not see them before it is measured. Where each user's latest interactions are held
    out that is judged by the first of the user's, where all from a moment on are by the first of
    all; the methods "given" and "random" do not look at times.
    """
    _, validation, test = parts
    later = np.zeros(len(pairs), bool)
    if config.method not in ("leave_last_out", "time") or len(pairs) == 0:
        return later
    assert pairs.times is not None  # the configuration demands a time column
    users = int(max(part.user_rows.max(initial=0) for part in (pairs, validation, test))) + 1
    by_moment = config.method == "time"
    for part, at_once in ((validation, by_moment and is_by_moment(parts)), (test, by_moment)):
        if len(part) == 0:
            continue
        assert part.times is not None
        first = np.full(users, np.inf)
        np.minimum.at(first, part.user_rows, part.times)
        if at_once:
            first[:] = first.min()
        later |= pairs.times >= first[pairs.user_rows]
    return later


def _before_test(
    interactions: Interactions,
    test: InteractionMask,
    share: float,
    generator: np.random.Generator,
    in_table: Rows | None,
) -> InteractionMask:
    """Return a share of what is before the test part: the latest of all, or of each user.

    Where people come once and not again, few of those who are active after a moment were there
    before it, and nothing can be chosen by them. Then it is the latest share of each user's, if
    that asks enough of them.
    """
    users, times = interactions.user_rows, interactions.times
    assert times is not None
    latest = _latest_share(times, ~test, share)
    is_known = np.bincount(users[~test & ~latest], minlength=int(users.max(initial=0)) + 1) > 0
    if in_table is not None:
        is_known[in_table[in_table < len(is_known)]] = True
    asked = np.count_nonzero(is_known[distinct(users[latest])])
    if share == 0 or asked >= _FEWEST_USERS:
        return latest
    of_each = _share_of_each(users, ~test, share, generator, -times)
    return of_each if len(distinct(users[of_each])) >= _FEWEST_USERS else latest


def _share_of_each(
    users: Rows,
    among: InteractionMask,
    share: float,
    generator: np.random.Generator,
    key: NDArray[np.float64] | None = None,
) -> InteractionMask:
    """Return a share of each user's interactions in `among`, but never all of a user's.

    They are those with the smallest keys (E,), or drawn at random if there are none. A share that
    is no whole number is rounded down or up at random, so that the mean is the share however few
    interactions users have.
    """
    chosen = np.zeros(len(users), bool)
    positions = np.flatnonzero(among)
    if share > 0 and len(positions):
        users = users[positions]
        drawn = generator.random(len(users)) if key is None else key[positions]
        rank = _rank_within_user(users, drawn)
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
