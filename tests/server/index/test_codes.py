"""The exact index over codes: its answers are those of brute force, whatever the embeddings."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import Rows
from gnnrec_server.index.codes import QuantizedIndex, extra_bytes, flat_index
from gnnrec_server.index.exact import FlatIndex, Found
from gnnrec_server.index.scan import BLOCK, Scan
from tests.server.index.test_exact import brute_force

COUNT = 9001  # ends within a block
NOTHING = np.empty(0, np.int64)


def normal(seed: int, *shape: int) -> Embeddings:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def drawn(seed: int, count: int) -> Rows:
    return np.sort(np.random.default_rng(seed).choice(COUNT, count, replace=False))


def quantized(items: Embeddings, queries: Embeddings) -> QuantizedIndex:
    made = QuantizedIndex(items)
    made.tune(queries)
    return made


def same(
    index: FlatIndex, queries: Embeddings, k: int, excluded: Sequence[Rows], items: Embeddings
) -> int:
    """Compare with brute force what is found together and alone; count what together is sure."""
    together: list[Found | None] = index.find_many(queries, k, excluded)()
    for query, left_out, found in zip(queries, excluded, together, strict=True):
        expected = brute_force(items, query, k, np.setdiff1d(np.arange(len(items)), left_out))
        for some in (found, index.search(query, k, left_out)):
            if some is not None:
                assert (some[0].tolist(), some[1].tolist()) == expected
    return sum(found is not None for found in together)


@given(
    seed=st.integers(0, 10_000),
    k=st.sampled_from([1, 20, 60, 250]),
    width=st.sampled_from([3, 16, 64]),
    spread=st.sampled_from([0.0, 1.0, 4.0]),
    ties=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_answers_equal_brute_force_for_dimensions_of_any_size_and_equal_scores(
    seed: int, k: int, width: int, spread: float, ties: bool
) -> None:
    sizes = np.exp(spread * normal(seed, width))
    items, queries = normal(seed + 1, COUNT, width) * sizes, normal(seed + 2, 6, width)
    if ties:
        items, queries = items.round(), queries.round()
    excluded = [drawn(seed, size) for size in (0, 1, 30, 900, 2000, COUNT - 10)]
    same(quantized(items, queries), queries, k, excluded, items)


def test_usual_embeddings_need_no_second_look() -> None:
    items, queries = normal(0, COUNT, 64), normal(1, 40, 64)
    index = flat_index(queries, items)
    assert isinstance(index, QuantizedIndex)
    assert (index.kind, index.recall, index.exact) == ("flat", 1.0, index)
    assert index.nbytes == COUNT * 64 * 5
    excluded = [drawn(number, 50 * number) for number in range(40)]
    assert same(index, queries, 20, excluded, items) >= 36


@pytest.mark.parametrize("share", [0.1, 0.6, 0.999])
def test_filters_are_exact(share: float) -> None:
    items, query = normal(9, COUNT, 16), normal(10, 16)
    permitted = np.random.default_rng(11).random(COUNT) < share
    scores, rows = quantized(items, query[None, :]).search_where(query, 20, permitted)
    expected = brute_force(items, query, 20, np.flatnonzero(permitted))
    assert (scores.tolist(), rows.tolist()) == expected


def test_what_codes_cannot_tell_apart_is_not_called_certain() -> None:
    items = 1 + 1e-4 * normal(2, COUNT, 16)
    queries = normal(3, 4, 16)
    best = Scan(items).best(queries, 20, 60, [NOTHING] * 4)
    assert not best.certain.any()
    assert type(flat_index(queries, items)) is FlatIndex
    same(QuantizedIndex(items), queries, 20, [NOTHING] * 4, items)


@pytest.mark.parametrize("permitted", [0, 1, 10, 100])
def test_few_permitted_items_may_stand_in_the_last_block(permitted: int) -> None:
    """The last block of codes is filled up with numbers that are no items."""
    items, queries = normal(14, COUNT, 16), normal(15, 2, 16)
    assert COUNT % BLOCK
    excluded = [np.arange(COUNT - permitted)] * 2
    same(quantized(items, queries), queries, 60, excluded, items)


def test_nothing_is_certain_where_fewer_than_the_candidates_are_permitted() -> None:
    items, queries = normal(4, COUNT, 16), normal(5, 2, 16)
    excluded = [drawn(6, COUNT - 30), NOTHING]
    assert Scan(items).best(queries, 20, 56, excluded).certain.tolist() == [False, True]


@pytest.mark.parametrize("query", [np.zeros(16, np.float32), np.full(16, 1e-30, np.float32)])
def test_a_query_of_hardly_any_length_is_answered_in_order(query: Embeddings) -> None:
    items = normal(7, COUNT, 16)
    items[:, 3] = 0
    items[:, 4] *= np.float32(1e-44)
    same(quantized(items, items[:50]), query[None, :], 20, [NOTHING], items)


def test_small_catalogues_and_those_without_users_are_searched_plainly() -> None:
    items = normal(8, COUNT, 16)
    assert type(flat_index(items[:10], items[:8191])) is FlatIndex
    assert type(flat_index(items[:0], items)) is FlatIndex
    assert extra_bytes(8191, 16) == 0
    assert extra_bytes(8192, 16) == 8192 * 16


def test_a_second_look_finds_what_codes_cannot_tell() -> None:
    """A second look is as short as the first, and so runs in the thread for short work."""
    items = 1 + 1e-2 * normal(2, COUNT, 16)
    queries = normal(3, 4, 16)
    index = QuantizedIndex(items)
    excluded = [NOTHING] * 4
    assert index.find_many(queries, 20, excluded)() == [None] * 4
    again = index.find_again(queries, 20, excluded)()
    assert None not in again
    for query, found in zip(queries, again, strict=True):
        assert found is not None
        expected = brute_force(items, query, 20, np.arange(COUNT))
        assert (found[0].tolist(), found[1].tolist()) == expected
    assert FlatIndex(items).find_again(queries, 20, excluded)() == [None] * 4
