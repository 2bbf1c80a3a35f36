from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnnrec_training.data.sorting import order_by

FLOATS = st.floats(allow_nan=False, width=64)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5), FLOATS | st.just(-0.0))))
def test_the_order_is_that_of_lexsort(rows: list[tuple[int, int, float]]) -> None:
    users = np.array([row[0] for row in rows], np.int32)
    items = np.array([row[1] for row in rows], np.int64)
    times = np.array([row[2] for row in rows], np.float64)
    ways: list[tuple[Any, ...]] = [(users,), (users, times), (items, users), (users, items, times)]
    for way in ways:
        assert order_by(*way).tolist() == np.lexsort(way[::-1]).tolist()


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
def test_large_arrays_are_ordered_alike(dtype: type) -> None:
    """They take another way through torch than small ones."""
    generator = np.random.default_rng(0)
    first, second = (100 * generator.standard_normal((2, 200_000))).astype(dtype)
    assert np.array_equal(order_by(first, second), np.lexsort((second, first)))
