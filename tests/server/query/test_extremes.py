"""Exact indexes at the ends of what float32 can hold, and where nearly all scores are equal."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import Rows
from gnnrec_server.index.approximate import ApproximateIndex
from gnnrec_server.index.codes import QuantizedIndex
from gnnrec_server.index.exact import FlatIndex, Found
from gnnrec_server.index.scan import Scan
from tests.scales import SCALES, scaled
from tests.server.index.test_exact import brute_force

COUNT = 9001
NOTHING = np.empty(0, np.int64)

Build = Callable[[Embeddings, Embeddings], FlatIndex]


def flat(items: Embeddings, queries: Embeddings) -> FlatIndex:
    return FlatIndex(items[:1201])


def quantized(items: Embeddings, queries: Embeddings) -> FlatIndex:
    made = QuantizedIndex(items)
    made.tune(queries)
    return made


KINDS: Sequence[Build] = (flat, quantized)


def check(index: FlatIndex, items: Embeddings, queries: Embeddings, k: int, left_out: Rows) -> None:
    """Compare each search method with brute force, and its scores with `scores`."""
    items = items[: len(index)]
    left_out = left_out[left_out < len(items)]
    permitted = np.setdiff1d(np.arange(len(items)), left_out)
    mask = np.ones(len(items), bool)
    mask[left_out] = False
    excluded = [left_out] * len(queries)
    glances: list[Found | None] = index.find_many(queries, k, excluded)()
    whole = index.search_many(queries, k, excluded) if len(left_out) < 1024 else glances
    for query, glance, every in zip(queries, glances, whole, strict=True):
        expected = brute_force(items, query, k, permitted)
        ways = [
            index.search(query, k, left_out),
            index.search_where(query, k, mask),
            index.search_among(query, k, permitted),
            glance,
            every,
        ]
        for found in ways:
            if found is not None:
                assert (found[0].tolist(), found[1].tolist()) == expected
        assert index.scores(query, np.array(expected[1], np.int64)).tolist() == expected[0]


@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 10_000),
    of_items=st.sampled_from(SCALES),
    of_queries=st.sampled_from(SCALES),
    width=st.sampled_from([1, 3, 64]),
    k=st.sampled_from([1, 20, 250]),
    left_out=st.sampled_from([0, 1, 300, 2000, COUNT - 10]),
)
@settings(max_examples=25, deadline=None)
def test_answers_equal_brute_force_at_any_scale(
    kind: Build, seed: int, of_items: float, of_queries: float, width: int, k: int, left_out: int
) -> None:
    items = scaled(seed, (COUNT, width), of_items)
    queries = scaled(seed + 1, (2, width), of_queries)
    excluded = np.random.default_rng(seed).choice(COUNT, left_out, replace=False)
    check(kind(items, queries), items, queries, k, np.sort(excluded))


@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 10_000),
    distinct=st.sampled_from([1, 2, 40, 4000]),
    steps=st.sampled_from([1.0, 0.25]),
    k=st.sampled_from([1, 20, 250]),
    left_out=st.sampled_from([0, 30, 900, 2000]),
)
@settings(max_examples=25, deadline=None)
def test_answers_equal_brute_force_among_many_equal_scores(
    kind: Build, seed: int, distinct: int, steps: float, k: int, left_out: int
) -> None:
    """Items that are the same, embeddings of few values, and queries of zeros of either sign."""
    generator = np.random.default_rng(seed)
    kinds = (generator.standard_normal((distinct, 8)) / steps).round().astype(np.float32) * steps
    items = kinds[generator.integers(0, distinct, COUNT)]
    queries = (generator.standard_normal((4, 8)) / steps).round().astype(np.float32) * steps
    queries[0], queries[1] = 0.0, -0.0
    excluded = np.sort(generator.choice(COUNT, left_out, replace=False))
    check(kind(items, queries), items, queries.astype(np.float32), k, excluded)


@pytest.mark.parametrize("kind", KINDS)
def test_a_query_as_long_as_any_meets_items_as_long_as_any(kind: Build) -> None:
    """What overflows in float32 does not in double precision, or is infinite in both."""
    items = scaled(3, (COUNT, 8), 1e30)
    items[::7] *= np.float32(1e-30)
    queries = scaled(4, (3, 8), 1e15)
    queries[1] *= np.float32(1e-12)
    with np.errstate(over="ignore"):
        check(kind(items, queries), items, queries, 300, np.arange(5, 50))


@pytest.mark.parametrize("scale", [1.0, 1e-13, 1e-18, 1e-22, 1e-30, 1e-36])
@pytest.mark.parametrize("candidates", [20, 22, 60])
def test_a_scan_is_sure_of_right_answers_only(scale: float, candidates: int) -> None:
    """Where a query is so short that its squares vanish, the bound must not vanish with them."""
    items, queries = scaled(5, (COUNT, 16), 1e-9), scaled(6, (60, 16), scale)
    best = Scan(items).best(queries, 20, candidates, [NOTHING] * len(queries))
    for line in np.flatnonzero(best.certain).tolist():
        expected = brute_force(items, queries[line], 20, np.arange(COUNT))
        assert (best.scores[line].tolist(), best.rows[line].tolist()) == expected
    if candidates == 60:
        assert bool(best.certain.any()) == (scale > 1e-20)


def test_all_items_can_be_asked_for_where_all_are_equal() -> None:
    items, query = np.ones((COUNT, 4), np.float32), np.zeros(4, np.float32)
    for index in (FlatIndex(items), QuantizedIndex(items)):
        for k in (COUNT - 1, COUNT, COUNT + 5):
            _, rows = index.search(query, k, np.array([3]))
            assert rows.tolist() == [row for row in range(COUNT) if row != 3][:k]


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_an_approximate_index_knows_when_it_has_nothing_to_choose_by(kind: str) -> None:
    """Zero, or an item that stands in the catalogue a thousand times."""
    items = scaled(7, (5000, 8), 1.0)
    items[1000:2000] = items[1000]
    index = ApproximateIndex(items, kind)  # type: ignore[arg-type]
    index.tune(items[:20], 0.9)
    queries = np.stack([np.zeros(8, np.float32), 100 * items[1000]])
    assert index.find_many(queries[:1], 5, [NOTHING])() == [None]
    for query in queries:
        scores, rows = index.search(query, 5, np.array([1]))
        permitted = np.setdiff1d(np.arange(5000), [1])
        assert (scores.tolist(), rows.tolist()) == brute_force(items, query, 5, permitted)
