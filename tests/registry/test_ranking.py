import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from registry.arrays import Embeddings
from registry.ranking import NO_ROW, Rows, Scores, exact_scores, max_norm, top_k


def brute_force(queries: Embeddings, items: Embeddings, k: int) -> tuple[Scores, Rows]:
    """Rank everything in double precision, equal float32 scores by the lower row."""
    scores = (queries.astype(np.float64) @ items.astype(np.float64).T).astype(np.float32)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, rows, 1), rows


def find_in(queries: Embeddings, items: Embeddings, noise: float = 0.0) -> object:
    """Return a finder by float32 scores, as rough as a matrix library may be."""
    generator = np.random.default_rng(0)
    scores = queries @ items.T
    scores = scores * (1 + noise * generator.uniform(-1, 1, scores.shape).astype(np.float32))

    def find(which: NDArray[np.intp], count: int) -> tuple[Scores, Rows]:
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
