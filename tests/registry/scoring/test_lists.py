"""Item lists: what they add, and that the best items with them are exactly the best."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring import lists as scoring
from gnnrec_registry.scoring.lists import depth, with_lists
from gnnrec_registry.scoring.ranking import (
    NO_ROW,
    Doubles,
    Rows,
    Scores,
    exact_scores,
    max_norm,
    rank_all,
    top_k,
)
from tests import item_lists, made
from tests.item_lists import random_lists


def scores_of(vector: Embeddings, items: Embeddings, rows: Rows, added: Doubles) -> Scores:
    scores: Scores = exact_scores(vector[None], items, rows[None], added[None])[0]
    return scores


def best_of(scores: Scores, permitted: list[int], k: int) -> list[int]:
    return sorted(permitted, key=lambda row: (-scores[row], row))[:k]


def histories(generator: np.random.Generator, count: int, items: int) -> list[Rows]:
    sizes = generator.integers(0, items + 1, count)
    return [np.sort(generator.choice(items, size, replace=False)) for size in sizes]


@given(seed=st.integers(0, 10_000), density=st.sampled_from([0.02, 0.3, 1.0]))
@settings(max_examples=60, deadline=None)
def test_what_is_added_equals_the_definition_to_the_last_bit(seed: int, density: float) -> None:
    generator = np.random.default_rng(seed)
    lists = random_lists(60, density, seed)
    for history in histories(generator, 4, 60):
        rows, sums = lists.added(history)
        expected = item_lists.added(lists, history)
        assert rows.tolist() == sorted(expected)
        assert sums.tolist() == [expected[row] for row in rows.tolist()]
        assert lists.entries(history) == sum(map(int, np.diff(lists.indptr)[history]))


def test_many_entries_are_added_up_in_parts_between_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lists, history, pauses = random_lists(50, 0.5, 0), np.arange(50), list[int]()
    whole = lists.added(history)
    monkeypatch.setattr(scoring, "_AT_A_TIME", 10)
    parts = lists.added(history, lambda: pauses.append(1))
    np.testing.assert_array_equal(whole, parts)
    assert len(pauses) > 10


@given(
    seed=st.integers(0, 10_000),
    k=st.sampled_from([1, 3, 10, 60, 200]),
    density=st.sampled_from([0.0, 0.01, 0.2, 0.7]),
    ties=st.booleans(),
    deeper=st.integers(0, 64),
)
@settings(max_examples=200, deadline=None)
def test_the_best_with_lists_equal_brute_force(
    seed: int, k: int, density: float, ties: bool, deeper: int
) -> None:
    """With ties, equal embeddings, left out items, and a bar that leaves most additions out."""
    generator = np.random.default_rng(seed)
    items = made.embeddings(150, 3, seed)
    if ties:
        items = items.round()[generator.integers(0, 20, 150)]
    lists = random_lists(150, density, seed, whole=ties)
    vector = made.embeddings(1, 3, seed + 1)[0].round()
    (history,) = histories(generator, 1, 150)
    permitted = np.flatnonzero(generator.random(150) < 0.8)
    dense = exact_scores(vector[None], items, permitted[None])[0]
    asked = k + deeper
    order = np.lexsort((permitted, -dense))[:asked]

    def score(some: Rows, added: Doubles) -> Scores:
        scored.extend(some.tolist())
        return scores_of(vector, items, some, added)

    scored: list[int] = []

    def permits(some: Rows) -> NDArray[np.bool_]:
        return np.isin(some, permitted)

    found = dense[order], permitted[order]
    scores, best = with_lists(score, k, found, asked, lists.added(history[:20]), permits)
    expected = item_lists.scores(vector, items, lists, history[:20])
    assert best.tolist() == best_of(expected, permitted.tolist(), k)
    assert scores.tolist() == expected[best].tolist()
    assert set(scored) <= {*permitted.tolist()}


def test_what_cannot_reach_the_bar_is_not_scored() -> None:
    """Of 10,000 items that something is added to, 70 are worth a look."""
    items = made.embeddings(20_000, 8)
    vector = made.embeddings(1, 8, 1)[0]
    sums = np.full(10_000, 1e-3)
    sums[:70] = 1.0
    asked = depth(10, 20_000)
    dense = exact_scores(vector[None], items, np.arange(20_000)[None])[0]
    best = np.argsort(-dense, kind="stable")[:asked]
    scored: list[int] = []

    def score(rows: Rows, added: Doubles) -> Scores:
        scored.extend(rows.tolist())
        return scores_of(vector, items, rows, added)

    added = np.arange(10_000), sums
    with_lists(score, 10, (dense[best], best), asked, added, lambda rows: np.ones(len(rows), bool))
    assert len(scored) < 200


@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 90),
    ties=st.booleans(),
    scale=st.sampled_from([1e-38, 1e-4, 1.0, 1e3, 1e38]),
)
@settings(max_examples=200, deadline=None)
def test_candidates_found_with_additions_are_settled_exactly(
    seed: int, k: int, ties: bool, scale: float
) -> None:
    """The finder rounds to float32 at every step; the answer has the bits of the definition."""
    generator = np.random.default_rng(seed)
    items, queries = made.embeddings(80, 3, seed), made.embeddings(4, 3, seed + 1)
    if ties:
        items = items.round()[generator.integers(0, 9, 80)]
        queries = queries.round()
    lists = random_lists(80, 0.1, seed, whole=ties, scale=scale)
    had = histories(generator, 4, 80)
    added = lists.additions(had)
    left_out = histories(generator, 4, 20)
    with np.errstate(all="ignore"):
        approximate = queries @ items.T + added.dense(0, 80).astype(np.float32)
    for line, rows in zip(approximate, left_out, strict=True):
        line[rows] = -np.inf

    def find(which: Rows, count: int) -> tuple[Scores, Rows]:
        order = np.argsort(-approximate[which], axis=1)[:, :count]
        found = np.take_along_axis(approximate[which], order, 1)
        return found, np.where(found == -np.inf, NO_ROW, order)

    longest = max_norm(items)
    scores, rows = top_k(
        find, queries, items, longest, k, lambda query: left_out[query], added=added
    )
    all_scores, all_rows = rank_all(queries, items, longest, k, left_out, added=added)
    np.testing.assert_array_equal(all_rows, rows)
    np.testing.assert_array_equal(all_scores, scores)
    for query in range(4):
        expected = item_lists.scores(queries[query], items, lists, had[query])
        permitted = [row for row in range(80) if row not in left_out[query]]
        best = best_of(expected, permitted, k)
        assert rows[query, : len(best)].tolist() == best
        assert (rows[query, len(best) :] == NO_ROW).all()
        assert scores[query, : len(best)].tolist() == expected[best].tolist()
