"""The approximate indexes: the recall they reach, and the lists and filters they keep exactly."""

import logging

import numpy as np
import pytest

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_server.index.approximate import ApproximateIndex, IndexPlan, build
from gnnrec_server.index.exact import FlatIndex

COUNT = 6000


def around(centres: Embeddings, count: int, seed: int) -> Embeddings:
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal((count, centres.shape[1]), np.float32)
    made: Embeddings = centres[generator.integers(0, len(centres), count)] + 0.3 * noise
    return made


CENTRES = 2 * np.random.default_rng(0).standard_normal((60, 16)).astype(np.float32)
ITEMS, USERS = around(CENTRES, COUNT, 1), around(CENTRES, 300, 2)


@pytest.fixture(scope="module", params=["ivf", "hnsw"])
def index(request: pytest.FixtureRequest) -> ApproximateIndex:
    made = build(IndexPlan(request.param, 0.95), USERS, ITEMS, "here")
    assert isinstance(made, ApproximateIndex)
    assert made.kind == request.param
    return made


def test_it_finds_as_many_of_the_best_as_it_says(index: ApproximateIndex) -> None:
    flat, hits = FlatIndex(ITEMS), 0
    nothing = np.empty(0, np.int64)
    queries = around(CENTRES, 100, 3)
    for query in queries:
        best = flat.search(query, 100, nothing)[1]
        hits += len(np.intersect1d(best, index.search(query, 100, nothing)[1]))
    assert 0.95 <= index.recall <= 1
    assert hits / 10_000 > 0.9


def test_scores_and_order_are_exact_and_what_is_left_out_stays_out(
    index: ApproximateIndex,
) -> None:
    generator = np.random.default_rng(4)
    excluded = [
        np.sort(generator.choice(COUNT, size, replace=False)) for size in (0, 1, 50, 900) * 4
    ]
    together = index.find_many(USERS[:16], 20, excluded)
    for query, left_out, found in zip(USERS[:16], excluded, together(), strict=True):
        assert found is not None
        scores, rows = found
        assert len(rows) == 20
        assert not set(rows) & set(left_out)
        assert scores.tolist() == index.scores(query, rows).tolist()
        assert np.lexsort((rows, -scores)).tolist() == list(range(20))
        alone = index.search(query, 20, left_out)
        assert (alone[0].tolist(), alone[1].tolist()) == (scores.tolist(), rows.tolist())


def test_there_are_k_items_whenever_k_are_permitted(index: ApproximateIndex) -> None:
    query = USERS[0]
    for k in (COUNT - 1, COUNT, COUNT + 5):
        assert len(index.search(query, k, np.array([3]))[1]) == min(k, COUNT - 1)
    best_first = FlatIndex(ITEMS).search(query, COUNT, np.empty(0, np.int64))[1]
    excluded = np.sort(best_first[:1000])  # all that lies near
    rows = index.search(query, 20, excluded)[1]
    assert len(rows) == 20
    assert not set(rows) & set(excluded)


def test_filters_are_exact(index: ApproximateIndex) -> None:
    permitted = np.random.default_rng(5).random(COUNT) < 0.9
    flat = FlatIndex(ITEMS).search_where(USERS[0], 50, permitted)
    mine = index.search_where(USERS[0], 50, permitted)
    assert mine[1].tolist() == flat[1].tolist()


def test_a_recall_that_is_not_reached_ends_in_an_exact_index(
    caplog: pytest.LogCaptureFixture,
) -> None:
    items = np.random.default_rng(6).standard_normal((3000, 32)).astype(np.float32)
    users = np.random.default_rng(7).standard_normal((50, 32)).astype(np.float32)
    made = build(IndexPlan("ivf", 1.0), users, items, "variant 'a'")
    assert (made.kind, made.recall) == ("flat", 1.0)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "all items are looked at instead" in record.getMessage()


def test_few_items_are_looked_at_whole_and_an_index_asked_for_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert build(IndexPlan("hnsw"), USERS, ITEMS[:999], "here").kind == "flat"
    assert "999 items are too few for index hnsw" in caplog.text
    assert IndexPlan("auto").chosen(200_000) == "flat"
    assert IndexPlan("auto").chosen(200_001) == "ivf"
