import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gnnrec_registry.files.arrays import among, distinct

NUMBERS = st.lists(st.integers(-20, 20))


@given(NUMBERS)
def test_distinct_numbers_are_ascending(numbers: list[int]) -> None:
    assert distinct(np.array(numbers, np.int64)).tolist() == sorted(set(numbers))


@given(NUMBERS, NUMBERS)
def test_numbers_of_any_shape_are_found_among_others_in_any_order(
    asked: list[int], others: list[int]
) -> None:
    found = among(np.array(asked, np.int32).reshape(-1, 1), np.array(others, np.int64))
    assert found.tolist() == [[number in others] for number in asked]
