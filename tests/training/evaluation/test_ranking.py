import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnrec_training.data.dataset import Interactions
from gnnrec_training.evaluation.ranking import evaluate, heldout, rank
from gnnrec_training.graph.sparse import by_user
from tests import item_lists, made
from tests.item_lists import random_lists
from tests.training.boards import interactions, random_interactions


def by_hand(
    users: np.ndarray, items: np.ndarray, seen: Interactions, test: Interactions, k: int
) -> dict[str, float]:
    """The definition, word by word, in plain Python."""
    had = set(zip(seen.user_rows.tolist(), seen.item_rows.tolist(), strict=True))
    wanted: dict[int, set[int]] = {}
    for u, i in zip(test.user_rows.tolist(), test.item_rows.tolist(), strict=True):
        wanted.setdefault(u, set()).add(i)
    sums = dict.fromkeys(("recall", "ndcg", "precision", "hit_rate", "mrr"), 0.0)
    shown: set[int] = set()
    for u, goal in wanted.items():
        if u >= len(users):
            continue
        scores = users[u].astype(float) @ items.T.astype(float)
        order = sorted(
            (i for i in range(len(items)) if (u, i) not in had),
            key=lambda i: (-np.float32(scores[i]), i),
        )[:k]
        shown |= set(order)
        ranks = [rank for rank, i in enumerate(order, start=1) if i in goal]
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(goal)) + 1))
        sums["recall"] += len(ranks) / len(goal)
        sums["ndcg"] += sum(1 / math.log2(rank + 1) for rank in ranks) / ideal
        sums["precision"] += len(ranks) / k
        sums["hit_rate"] += bool(ranks)
        sums["mrr"] += 1 / ranks[0] if ranks else 0
    metrics = {f"{name}@{k}": value / len(wanted) for name, value in sums.items()}
    return metrics | {f"coverage@{k}": len(shown) / len(items)}


@given(seed=st.integers(0, 10_000), k=st.integers(1, 12), ties=st.booleans())
@settings(max_examples=60, deadline=None)
def test_metrics_equal_the_definition(seed: int, k: int, ties: bool) -> None:
    """Unknown users and items in the test part, ties, short lists and all."""
    generator = np.random.default_rng(seed)
    users, items = int(generator.integers(1, 12)), int(generator.integers(1, 15))
    everything = random_interactions(users + 2, items + 2, 60, seed)
    known = (everything.user_rows < users) & (everything.item_rows < items)
    is_test = ~known | (generator.random(len(everything)) < 0.3)
    train, test = everything.take(~is_test), everything.take(is_test)
    embeddings = [
        (generator.integers(-1, 2, shape) if ties else generator.standard_normal(shape)).astype(
            np.float32
        )
        for shape in ((users, 3), (items, 3))
    ]
    user_embeddings, item_embeddings = embeddings
    result = evaluate(
        user_embeddings, item_embeddings, by_user(train, users), heldout(test, users, items), (k,)
    )
    expected = by_hand(user_embeddings, item_embeddings, train, test, k)
    assert result.metrics == pytest.approx(expected, abs=1e-12)
    for name, values in result.per_user.items():
        assert ((values >= 0) & (values <= 1)).all(), name


@given(seed=st.integers(0, 10_000), k=st.integers(1, 12), ties=st.booleans())
@settings(max_examples=60, deadline=None)
def test_ranks_with_item_lists_equal_brute_force(seed: int, k: int, ties: bool) -> None:
    """Histories that are empty, that overlap what is left out, and whose lists overlap."""
    generator = np.random.default_rng(seed)
    users, items = int(generator.integers(1, 12)), int(generator.integers(1, 90))
    embeddings = [made.embeddings(count, 3, seed + count) for count in (users, items)]
    if ties:
        embeddings = [half.round() for half in embeddings]
    user_embeddings, item_embeddings = embeddings
    lists = random_lists(items, generator.choice([0.0, 0.05, 0.5]), seed, whole=ties)
    seen = by_user(random_interactions(users, items, 2 * users, seed), users)
    liked = random_interactions(users, items, 3 * users, seed + 1)
    history = by_user(liked.take(liked.user_rows % 3 > 0), users)
    which = np.arange(users)[::-1]
    scores, rows = rank(
        user_embeddings[which], item_embeddings, which, seen, k, lists=lists, history=history
    )
    for line, user in enumerate(which):
        expected = item_lists.scores(
            user_embeddings[user], item_embeddings, lists, history.rows(which[line : line + 1])[0]
        )
        had = set(seen.rows(which[line : line + 1])[0].tolist())
        best = sorted(set(range(items)) - had, key=lambda row: (-expected[row], row))[:k]
        assert rows[line, : len(best)].tolist() == best
        assert scores[line, : len(best)].tolist() == expected[best].tolist()


def test_metrics_with_item_lists_are_those_of_their_ranking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users, items = made.embeddings(50, 8), made.embeddings(50, 8, 1)
    lists = random_lists(50, 0.1)
    seen = by_user(random_interactions(50, 50, 200, 0), 50)
    test = heldout(random_interactions(50, 50, 100, 1), 50, 50)
    _, rows = rank(users, items, np.arange(50), seen, 10, lists=lists, history=seen)
    whole = evaluate(users, items, seen, test, (10,), lists=lists, history=seen)
    monkeypatch.setattr("gnnrec_training.evaluation.ranking._SCORES_BYTES", 40 * 50 * 7)
    parts = evaluate(users, items, seen, test, (10,), lists=lists, history=seen)
    assert parts.metrics == whole.metrics
    shown = np.bincount(rows[whole.users].ravel(), minlength=50)
    assert whole.shown.tolist() == shown.tolist()
    without = evaluate(users, items, seen, test, (10,))
    assert without.metrics != whole.metrics


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    users, items = generator.standard_normal((2, 50, 8)).astype(np.float32)
    test = random_interactions(50, 50, 100, 1)
    nothing_seen = by_user(interactions([]), 50)
    whole = evaluate(users, items, nothing_seen, heldout(test, 50, 50), (5, 10))
    monkeypatch.setattr("gnnrec_training.evaluation.ranking._SCORES_BYTES", 4 * 50 * 7)
    parts = evaluate(users, items, nothing_seen, heldout(test, 50, 50), (5, 10))
    assert parts.metrics == whole.metrics


@pytest.mark.parametrize("items", [64, 1000, 6400])
def test_the_best_of_blocks_are_the_best_of_all(items: int) -> None:
    generator = np.random.default_rng(0)
    users = generator.standard_normal((30, 8)).astype(np.float32)
    catalogue = generator.standard_normal((items, 8)).astype(np.float32)
    seen = by_user(random_interactions(30, items, 500, 0), 30)
    scores, rows = rank(users, catalogue, np.arange(30), seen, 20)
    for user in range(30):
        had = set(seen.columns[seen.indptr[user] : seen.indptr[user + 1]].tolist())
        exact = (catalogue.astype(float) @ users[user].astype(float)).astype(np.float32)
        expected = sorted(set(range(items)) - had, key=lambda row: (-exact[row], row))[:20]
        assert rows[user].tolist() == expected
        assert scores[user].tolist() == exact[expected].tolist()


def test_users_without_an_embedding_are_ranked_by_row_without_what_they_have_seen() -> None:
    """Cold users' embeddings are zero: all their scores are equal, and of many users at once."""
    catalogue = np.random.default_rng(2).standard_normal((20_000, 8)).astype(np.float32)
    users = np.zeros((300, 8), np.float32)
    users[::3] = catalogue[:100]
    had = interactions([(user, (user + step) % 7) for user in range(300) for step in range(3)])
    seen = by_user(had, 300)
    scores, rows = rank(users, catalogue, np.arange(300), seen, 20)
    exact = (users.astype(np.float64) @ catalogue.astype(np.float64).T).astype(np.float32)
    for user in range(300):
        exact[user, seen.columns[seen.indptr[user] : seen.indptr[user + 1]]] = -np.inf
    expected = np.argsort(-exact, axis=1, kind="stable")[:, :20]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(exact, expected, 1))
