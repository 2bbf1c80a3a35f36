import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnnrec_training.config import SplitConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.data.split import foreseen, is_by_moment, split
from tests.training.boards import interactions, random_interactions

PAIRS = st.tuples(st.integers(1, 15), st.integers(1, 15), st.integers(0, 100), st.integers(0, 9))


def keys(part: Interactions) -> set[tuple[int, int]]:
    return set(zip(part.user_rows.tolist(), part.item_rows.tolist(), strict=True))


@given(PAIRS, st.floats(0, 0.99), st.floats(0, 0.99))
def test_a_random_split_parts_every_users_interactions(
    shape: tuple[int, int, int, int], test_share: float, validation_share: float
) -> None:
    """The parts are disjoint and complete, and every user keeps an interaction for training."""
    everything = random_interactions(*shape)
    config = SplitConfig(test=test_share, validation=validation_share)
    train, validation, test = split(everything, config, None, np.random.default_rng(0))
    assert len(train) + len(validation) + len(test) == len(everything)
    assert keys(train) | keys(validation) | keys(test) == keys(everything)
    assert set(train.user_rows) == set(everything.user_rows)
    for user, count in enumerate(np.bincount(everything.user_rows)):
        held = np.count_nonzero(test.user_rows == user)
        assert held in rounded(count * test_share, count)
        validated = np.count_nonzero(validation.user_rows == user)
        assert validated in rounded((count - held) * validation_share, count - held)


def rounded(share: float, count: int) -> set[int]:
    """Return what a share may be rounded to, of so many interactions: never all."""
    return {min(whole, count - 1) for whole in (math.floor(share), math.ceil(share))}


@pytest.mark.parametrize("count", [3, 5, 11])
def test_the_share_is_right_on_average_however_few_interactions_users_have(count: int) -> None:
    users = 4000
    everything = interactions([(user, item) for user in range(users) for item in range(count)])
    config = SplitConfig(test=0.2, validation=0.1)
    _, validation, test = split(everything, config, None, np.random.default_rng(0))
    # a sum of users * at most one coin each: five standard deviations at most from its mean
    for part, share in ((test, 0.2), (validation, 0.08)):
        assert abs(len(part) - share * count * users) < 5 * 0.5 * math.sqrt(users)
    assert len(set(validation.user_rows)) > 0.1 * users


def test_the_same_seed_splits_alike() -> None:
    everything = random_interactions(9, 9, 60, 0)
    first, second, other = (
        split(everything, SplitConfig(test=0.5), None, np.random.default_rng(seed))[2]
        for seed in (1, 1, 2)
    )
    assert keys(first) == keys(second) != keys(other)


def test_leave_last_out_takes_each_users_latest() -> None:
    """User 0 has four interactions, by time 3, 0, 2, 1; user 1 has one; user 2 has two."""
    everything = Interactions(
        np.array([0, 0, 0, 0, 1, 2, 2], np.int32),
        np.array([0, 1, 2, 3, 0, 0, 1], np.int32),
        np.ones(7, np.float32),
        np.array([20, 40, 30, 10, 5, 1, 2], np.float64),
    )
    config = SplitConfig(method="leave_last_out")
    train, validation, test = split(everything, config, None, np.random.default_rng(0))
    assert keys(test) == {(0, 1), (2, 1)}
    assert keys(validation) == {(0, 2)}
    assert keys(train) == {(0, 0), (0, 3), (1, 0), (2, 0)}


def test_a_given_test_part_is_left_as_it_is() -> None:
    everything = random_interactions(5, 5, 20, 0)
    given_test = np.arange(len(everything)) >= len(everything) - 4
    config = SplitConfig(method="given", validation=0)
    train, validation, test = split(everything, config, given_test, np.random.default_rng(0))
    assert keys(test) == keys(everything.take(given_test))
    assert len(validation) == 0
    assert len(train) == len(everything) - 4


def timed(times: list[float]) -> Interactions:
    """Return an interaction for each time, each of another user."""
    rows = np.arange(len(times), dtype=np.int32)
    return Interactions(rows, rows, np.ones(len(rows), np.float32), np.array(times, np.float64))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.floats(0, 0.99), st.floats(0, 0.99))
def test_a_split_by_time_has_one_moment_for_all(
    times: list[int], test_share: float, validation_share: float
) -> None:
    """Each part is later than the one before, whoever the users are, and training has something."""
    everything = timed(list(map(float, times)))
    config = SplitConfig(method="time", test=test_share, validation=validation_share)
    parts = split(everything, config, None, np.random.default_rng(0))
    assert sum(map(len, parts)) == len(everything)
    assert len(parts[0]) > 0
    moments = [part.times for part in parts if part.times is not None and len(part)]
    for earlier, later in itertools.pairwise(moments):
        assert earlier.max() < later.min()


def test_a_split_by_time_takes_the_latest_shares() -> None:
    """Of ten interactions the latest two, then a quarter of the eight before."""
    config = SplitConfig(method="time", test=0.2, validation=0.25)
    everything = timed([3, 9, 1, 7, 5, 0, 8, 2, 6, 4])
    train, validation, test = split(everything, config, None, np.random.default_rng(0))
    assert sorted_times(test) == [8, 9]
    assert sorted_times(validation) == [6, 7]
    assert sorted_times(train) == [0, 1, 2, 3, 4, 5]


def test_interactions_of_one_moment_are_on_its_later_side() -> None:
    """Unless they are the first of all, when training would have nothing."""
    config = SplitConfig(method="time", test=0.2, validation=0)
    train, _, test = split(timed([1, 2, 3, 3, 3]), config, None, np.random.default_rng(0))
    assert (sorted_times(train), sorted_times(test)) == ([1, 2], [3, 3, 3])
    train, _, test = split(timed([1, 1, 1, 1, 3]), config, None, np.random.default_rng(0))
    assert (sorted_times(train), sorted_times(test)) == ([1, 1, 1, 1], [3])
    train, _, test = split(timed([1, 1, 1]), config, None, np.random.default_rng(0))
    assert (len(train), len(test)) == (3, 0)


def times(part: Interactions) -> np.ndarray:
    assert part.times is not None
    return part.times


def sorted_times(part: Interactions) -> list[float]:
    return sorted(times(part).tolist())


def visits(users: int, days: int) -> Interactions:
    """Return ten interactions each of users who come on one day in turn, so that few come again."""
    rows = np.repeat(np.arange(users, dtype=np.int32), 10)
    days_on = np.repeat(np.arange(users) * days / users, 10)
    items = np.tile(np.arange(10, dtype=np.int32), users)
    return Interactions(rows, items, np.ones(len(rows), np.float32), days_on + items / 1e4)


def test_validation_is_the_latest_of_each_where_hardly_anyone_comes_again() -> None:
    parts = split(
        visits(400, 30), SplitConfig(method="time", test=0.2), None, np.random.default_rng(0)
    )
    train, validation, test = parts
    assert not is_by_moment(parts)
    assert len(np.unique(validation.user_rows)) == 320
    assert np.intersect1d(validation.user_rows, test.user_rows).size == 0
    for user in range(320):
        before, after = (times(part)[part.user_rows == user] for part in (train, validation))
        assert len(after) == 1
        assert before.max() < after.min()


def test_what_is_foreseen_is_judged_by_the_parts_that_there_are() -> None:
    """Of such a validation part by each user's first interaction there, of the test by all."""
    everything = visits(400, 30)
    config = SplitConfig(method="time", test=0.2)
    parts = split(everything, config, None, np.random.default_rng(0))
    later = foreseen(everything, parts, config)
    train, validation, test = parts
    assert later.sum() == len(validation) + len(test)
    assert not later[np.isin(times(everything), times(train))].any()


def test_users_of_a_table_are_known_without_interactions() -> None:
    config, generator = SplitConfig(method="time", test=0.2), np.random.default_rng(0)
    everyone = np.arange(400, dtype=np.int32)
    assert not is_by_moment(split(visits(1600, 30), config, None, generator, everyone))
    everyone = np.arange(1600, dtype=np.int32)
    assert is_by_moment(split(visits(1600, 30), config, None, generator, everyone))


def test_validation_is_by_one_moment_where_many_come_again() -> None:
    generator = np.random.default_rng(0)
    rows = np.tile(np.arange(200, dtype=np.int32), 20)
    moments = generator.random(len(rows))
    again = Interactions(rows, rows, np.ones(len(rows), np.float32), moments)
    assert is_by_moment(split(again, SplitConfig(method="time"), None, generator))
