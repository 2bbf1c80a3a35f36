import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_server.index.exact import FlatIndex


def brute_force(
    items: Embeddings, query: Embeddings, k: int, permitted: np.ndarray
) -> tuple[list[float], list[int]]:
    """Score the permitted rows in double precision; equal float32 scores by the lower row."""
    with np.errstate(over="ignore"):
        scores = (items.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    order = sorted(permitted.tolist(), key=lambda row: (-scores[row], row))[:k]
    return [float(scores[row]) for row in order], order


@given(
    seed=st.integers(0, 10_000),
    items=st.integers(1, 120),
    k=st.integers(1, 150),
    share=st.floats(0, 1),
    ties=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_search_equals_brute_force_over_the_permitted_items(
    seed: int, items: int, k: int, share: float, ties: bool
) -> None:
    generator = np.random.default_rng(seed)
    catalogue = generator.standard_normal((items, 4)).astype(np.float32)
    query = generator.standard_normal(4).astype(np.float32)
    if ties:
        catalogue, query = catalogue.round(), query.round()
    excluded = np.flatnonzero(generator.random(items) < share)
    permitted = np.setdiff1d(np.arange(items), excluded)
    index = FlatIndex(catalogue)
    expected = brute_force(catalogue, query, k, permitted)
    for scores, rows in (
        index.search(query, k, excluded),
        index.search_among(query, k, permitted),
    ):
        assert (scores.tolist(), rows.tolist()) == expected


@pytest.mark.parametrize("count", [0, 10, 1024, 1025, 2990])
def test_long_exclusions_are_exact_on_both_sides_of_the_switch(count: int) -> None:
    """Up to 1,024 excluded items are over-fetched, more are left out inside FAISS."""
    generator = np.random.default_rng(0)
    items = generator.standard_normal((3000, 16)).astype(np.float32)
    query = generator.standard_normal(16).astype(np.float32)
    best_first = np.argsort(-(items @ query))
    excluded, permitted = np.sort(best_first[:count]), np.sort(best_first[count:])
    scores, rows = FlatIndex(items).search(query, 20, excluded)
    assert (scores.tolist(), rows.tolist()) == brute_force(items, query, 20, permitted)


def test_many_queries_searched_at_once_get_the_answers_of_each_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They leave out from none to 1,024 items, and are too many for one matrix."""
    monkeypatch.setattr("gnnrec_server.index.exact.AT_ONCE", 3 * 16 * 92)
    generator = np.random.default_rng(0)
    items = generator.standard_normal((3000, 16)).astype(np.float32).round(1)
    queries = generator.standard_normal((20, 16)).astype(np.float32).round(1)
    excluded = [
        np.sort(np.argsort(-(items @ query))[:count])
        for query, count in zip(queries, [0, 1, 5, 1024, 300] * 4, strict=True)
    ]
    index = FlatIndex(items)
    ranked = index.find_many(queries, 20, excluded)()
    for query, left_out, found in zip(queries, excluded, ranked, strict=True):
        alone = index.search(query, 20, left_out)
        permitted = np.setdiff1d(np.arange(3000), left_out)
        assert (alone[0].tolist(), alone[1].tolist()) == brute_force(items, query, 20, permitted)
        if len(left_out) > 100:  # all that was found at first is left out
            assert found is None
            continue
        assert found is not None
        assert (found[0].tolist(), found[1].tolist()) == brute_force(items, query, 20, permitted)


@pytest.mark.parametrize("count", [0, 1, 30, 4096, 4097, 9000])
def test_a_mask_is_exact_on_both_sides_of_the_switch(count: int) -> None:
    """Up to 4,096 permitted items are scored each, more are searched inside FAISS."""
    generator = np.random.default_rng(1)
    items = generator.standard_normal((9000, 8)).astype(np.float32).round(1)
    query = generator.standard_normal(8).astype(np.float32).round(1)
    permitted = np.zeros(9000, bool)
    permitted[generator.choice(9000, count, replace=False)] = True
    scores, rows = FlatIndex(items).search_where(query, 50, permitted)
    expected = brute_force(items, query, 50, np.flatnonzero(permitted))
    assert (scores.tolist(), rows.tolist()) == expected
