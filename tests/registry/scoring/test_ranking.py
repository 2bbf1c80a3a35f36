import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gnnrec_registry.files.arrays import Embeddings, distinct
from gnnrec_registry.scoring.ranking import (
    NO_ROW,
    Rows,
    Scores,
    exact_scores,
    max_norm,
    rank_all,
    top_k,
)
from tests.scales import SCALES, scaled


def brute_force(queries: Embeddings, items: Embeddings, k: int) -> tuple[Scores, Rows]:
    """Rank everything in double precision, equal float32 scores by the lower row."""
    with np.errstate(over="ignore"):
        scores = (queries.astype(np.float64) @ items.astype(np.float64).T).astype(np.float32)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, rows, 1), rows


def find_in(
    queries: Embeddings, items: Embeddings, noise: float = 0.0, asked: list[int] | None = None
) -> object:
    """Return a `find` function with float32 scores, rounded as a matrix library may round them.

    The counts of its calls are appended to `asked`.
    """
    asked = [] if asked is None else asked
    generator = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        scores = queries @ items.T
    scores = scores * (1 + noise * generator.uniform(-1, 1, scores.shape).astype(np.float32))

    def find(which: NDArray[np.intp], count: int) -> tuple[Scores, Rows]:
        asked.append(count)
        order = np.argsort(-scores[which], axis=1)[:, :count]
        return np.take_along_axis(scores[which], order, 1), order

    return find


@given(
    seed=st.integers(0, 10_000),
    items=st.integers(1, 80),
    distinct=st.integers(1, 80),
    k=st.integers(1, 90),
)
@settings(max_examples=200, deadline=None)
def test_top_k_equals_brute_force_even_among_ties(
    seed: int, items: int, distinct: int, k: int
) -> None:
    """Many items share an embedding, so ties cross every boundary."""
    generator = np.random.default_rng(seed)
    kinds = generator.integers(-2, 3, (distinct, 3)).astype(np.float32)
    catalogue = kinds[generator.integers(0, distinct, items)]
    queries = generator.integers(-2, 3, (4, 3)).astype(np.float32)
    find = find_in(queries, catalogue)
    scores, rows = top_k(find, queries, catalogue, max_norm(catalogue), k)  # type: ignore[arg-type]
    expected_scores, expected_rows = brute_force(queries, catalogue, k)
    there = min(k, items)
    np.testing.assert_array_equal(rows[:, :there], expected_rows)
    np.testing.assert_array_equal(scores[:, :there], expected_scores)
    assert (rows[:, there:] == NO_ROW).all()


def test_rounding_of_the_finder_never_shows() -> None:
    generator = np.random.default_rng(1)
    items = generator.standard_normal((5000, 64)).astype(np.float32)
    items[2500:] = items[:2500]  # exact ties, half a catalogue apart
    queries = generator.standard_normal((20, 64)).astype(np.float32)
    find = find_in(queries, items, noise=1e-7)
    scores, rows = top_k(find, queries, items, max_norm(items), 21)  # type: ignore[arg-type]
    expected_scores, expected_rows = brute_force(queries, items, 21)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)


def test_a_missing_row_scores_minus_infinity() -> None:
    ones = np.ones((1, 2), np.float32)
    assert exact_scores(ones, ones, np.array([[0, NO_ROW]])).tolist() == [[2, -np.inf]]


@given(
    seed=st.integers(0, 10_000),
    of_items=st.sampled_from(SCALES),
    of_queries=st.sampled_from(SCALES),
    width=st.sampled_from([1, 3, 64]),
    k=st.sampled_from([1, 7, 50, 400]),
    alike=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_top_k_equals_brute_force_at_any_scale(
    seed: int, of_items: float, of_queries: float, width: int, k: int, alike: bool
) -> None:
    """Below 1e-38 float32 loses precision, and beyond 3e38 it overflows, also in `find`."""
    items = scaled(seed, (3000, width), of_items)
    queries = scaled(seed + 1, (4, width), of_queries)
    if alike:
        items = items[np.random.default_rng(seed).integers(0, 20, 3000)]
    find = find_in(queries, items)
    scores, rows = top_k(find, queries, items, max_norm(items), k)  # type: ignore[arg-type]
    expected_scores, expected_rows = brute_force(queries, items, k)
    there = min(k, len(items))
    np.testing.assert_array_equal(rows[:, :there], expected_rows)
    np.testing.assert_array_equal(scores[:, :there], expected_scores)


def test_scores_in_steps_of_the_smallest_float_are_in_order() -> None:
    """Each of the 64 products in `find` is off by half the smallest float32."""
    items = scaled(4, (3000, 64), 1e-22)
    queries = scaled(5, (20, 64), 1e-22)
    find = find_in(queries, items)
    scores, rows = top_k(find, queries, items, max_norm(items), 50)  # type: ignore[arg-type]
    expected_scores, expected_rows = brute_force(queries, items, 50)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)
    assert 0 < scores.max() < 1e-42


def test_a_score_beyond_a_float_is_infinite_and_the_lower_row_comes_first() -> None:
    items = np.array([[1, 0], [-3e38, 0], [3e38, 0], [3e38, 1]], np.float32)
    queries = np.array([[1e15, 0]], np.float32)
    find = find_in(queries, items)
    scores, rows = top_k(find, queries, items, max_norm(items), 4)  # type: ignore[arg-type]
    assert rows.tolist() == [[2, 3, 0, 1]]
    assert scores.tolist() == [[np.inf, np.inf, np.float32(1e15), -np.inf]]


def test_zeros_of_either_sign_are_equal() -> None:
    items = np.array([[-0.0], [0.0], [-0.0], [1e-20], [0.0]], np.float32)
    queries = np.array([[-0.0], [1e-20], [-1e-20]], np.float32)
    find = find_in(queries, items)
    _, rows = top_k(find, queries, items, max_norm(items), 5)  # type: ignore[arg-type]
    assert rows.tolist() == [[0, 1, 2, 3, 4], [3, 0, 1, 2, 4], [0, 1, 2, 4, 3]]


def test_equal_items_have_equal_scores_wherever_they_stand() -> None:
    """Where terms cancel, the result depends on the order of the additions."""
    generator = np.random.default_rng(2)
    half = generator.standard_normal(64).astype(np.float32)
    items = np.tile(np.concatenate([half, half]), (517, 1))
    query = np.concatenate([half, -half])[generator.permutation(128)][None]
    scores = exact_scores(query, items, np.arange(517)[None])
    assert len(np.unique(scores)) == 1
    _, rows = rank_all(query, items, max_norm(items), 5, [np.array([0, 2])])
    assert rows.tolist() == [[1, 3, 4, 5, 6]]


@pytest.mark.parametrize("query", [0.0, 1e-40, 1.0])
def test_a_catalogue_of_equal_scores_takes_one_pass_and_little_memory(query: float) -> None:
    """If all items tie, more candidates cannot settle the top k."""
    items = np.ones((200_000, 16), np.float32)
    queries = np.full((1, 16), query, np.float32)
    excluded = np.array([0, 1, 5, 199_999])
    longest, asked = max_norm(items), list[int]()

    def find(which: NDArray[np.intp], count: int) -> tuple[Scores, Rows]:
        asked.append(count)
        return np.full((1, count), 16 * query, np.float32), np.arange(10, 10 + count)[None]

    tracemalloc.start()
    _, rows = top_k(find, queries, items, longest, 5, lambda _: excluded)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows.tolist() == [[2, 3, 4, 6, 7]]
    assert len(asked) == 1
    assert peak < items.nbytes


def test_more_candidates_settle_what_a_few_do_not() -> None:
    """Scores that are close but distinct do not need a pass over all items."""
    generator = np.random.default_rng(3)
    items = generator.standard_normal((5000, 64)).astype(np.float32)
    items[:, 0] = 15_000  # so the error bound is larger than the distance of many scores
    queries = generator.standard_normal((3, 64)).astype(np.float32)
    asked: list[int] = []
    find = find_in(queries, items, asked=asked)

    def refuse() -> None:
        assert len(asked) == 1, "every item is scored"

    longest = max_norm(items)
    _, rows = top_k(find, queries, items, longest, 20, pause=refuse)  # type: ignore[arg-type]
    np.testing.assert_array_equal(rows, brute_force(queries, items, 20)[1])
    assert len(asked) == 2


def test_a_pass_over_all_items_can_be_ended() -> None:
    items = np.ones((100_000, 16), np.float32)
    pauses = []

    def pause() -> None:
        pauses.append(1)
        if len(pauses) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        rank_all(items[:1], items, max_norm(items), 5, [np.empty(0, np.int64)], pause)


@given(st.lists(st.integers(-5, 5)))
def test_distinct_numbers_are_those_of_a_set_in_order(numbers: list[int]) -> None:
    found = distinct(np.array(numbers, np.int64))
    assert found.tolist() == sorted(set(numbers))
