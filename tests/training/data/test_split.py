import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gnnrec_training.config import SplitConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.data.split import split
from tests.training.boards import random_interactions

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
        assert held == int(count * test_share)
        assert np.count_nonzero(validation.user_rows == user) == int(
            (count - held) * validation_share
        )


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
