import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.arrays import Embeddings
from server.index import FlatIndex


def brute_force(
    items: Embeddings, query: Embeddings, k: int, permitted: np.ndarray
) -> tuple[list[float], list[int]]:
    """Score the permitted rows in double precision; equal float32 scores by the lower row."""
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
