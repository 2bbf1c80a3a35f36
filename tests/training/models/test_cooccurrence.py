import numpy as np
import pytest

from gnnrec_registry import ItemLists
from gnnrec_training.config import CooccurrenceConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.models import cooccurrence as module
from gnnrec_training.models.cooccurrence import cooccurrence
from tests.training.boards import interactions, random_interactions

USERS, ITEMS = 30, 20
PART = random_interactions(USERS, ITEMS, 160, 0)


def dense(part: Interactions, users: int = USERS, items: int = ITEMS) -> np.ndarray:
    matrix = np.zeros((users, items))
    matrix[part.user_rows, part.item_rows] = part.weights
    return matrix


def as_matrix(lists: ItemLists) -> np.ndarray:
    items = len(lists.indptr) - 1
    matrix = np.zeros((items, items))
    matrix[np.repeat(np.arange(items), np.diff(lists.indptr)), lists.items] = lists.weights
    return matrix


def formula(matrix: np.ndarray, config: CooccurrenceConfig) -> np.ndarray:
    user_degree, item_degree = matrix.sum(1), matrix.sum(0)
    weights: np.ndarray = matrix.T @ (user_degree[:, None] ** -config.user_exponent * matrix)
    weights *= item_degree[:, None] ** -config.history_exponent
    weights *= item_degree**-config.item_exponent
    np.fill_diagonal(weights, 0)
    return weights


@pytest.mark.parametrize("exponents", [(0, 0, 0), (0, 0.5, 0.5), (1, 1, 0), (0.5, 0.3, 0.7)])
def test_lists_of_all_items_are_the_formula(exponents: tuple[float, float, float]) -> None:
    user, history, item = exponents
    config = CooccurrenceConfig(
        neighbours=ITEMS, user_exponent=user, history_exponent=history, item_exponent=item
    )
    _, _, lists = cooccurrence(PART, USERS, ITEMS, config)
    np.testing.assert_allclose(as_matrix(lists), formula(dense(PART), config), rtol=1e-4, atol=1e-6)


def test_each_item_keeps_its_largest_weights() -> None:
    config = CooccurrenceConfig(neighbours=4)
    _, _, lists = cooccurrence(PART, USERS, ITEMS, config)
    expected = formula(dense(PART), config)
    for line in expected:
        line[np.argsort(-line)[4:]] = 0
    np.testing.assert_allclose(as_matrix(lists), expected, rtol=1e-4, atol=1e-6)


def test_with_the_exponents_of_item_knn_weights_are_cosines() -> None:
    part = Interactions(PART.user_rows, PART.item_rows, np.ones_like(PART.weights))
    config = CooccurrenceConfig(neighbours=ITEMS, user_exponent=0)
    _, _, lists = cooccurrence(part, USERS, ITEMS, config)
    columns = dense(part) / np.linalg.norm(dense(part), axis=0)
    cosines = columns.T @ columns
    np.fill_diagonal(cosines, 0)
    np.testing.assert_allclose(as_matrix(lists), cosines, atol=1e-5)


def test_with_the_exponents_of_a_random_walk_weights_are_chances() -> None:
    """From an item over one of its users to one of that user's items, back to itself too."""
    part = Interactions(PART.user_rows, PART.item_rows, np.ones_like(PART.weights))
    matrix = dense(part)
    config = CooccurrenceConfig(
        neighbours=ITEMS, user_exponent=1, history_exponent=1, item_exponent=0
    )
    _, _, lists = cooccurrence(part, USERS, ITEMS, config)
    back = (matrix**2 / matrix.sum(1, keepdims=True)).sum(0) / matrix.sum(0)
    np.testing.assert_allclose(as_matrix(lists).sum(1) + back, np.ones(ITEMS), atol=1e-5)


def test_of_a_long_history_evenly_spaced_items_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """User 0 has items 0 to 9 and counts every third one; user 1 has few and counts in full."""
    part = interactions([(0, item) for item in range(10)] + [(1, 1), (1, 2)])
    config = CooccurrenceConfig(neighbours=10, user_exponent=0, history_exponent=0, item_exponent=0)
    monkeypatch.setattr(module, "_LONGEST", 4)
    _, _, lists = cooccurrence(part, 2, 10, config)
    expected = np.zeros((10, 10))
    expected[np.ix_([0, 3, 6, 9], [0, 3, 6, 9])] = 1 - np.eye(4)
    expected[1, 2] = expected[2, 1] = 1
    np.testing.assert_array_equal(as_matrix(lists), expected)


def test_thinning_follows_each_users_own_order_wherever_rows_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = [(user, item) for item in range(9) for user in (0, 1)]
    monkeypatch.setattr(module, "_LONGEST", 5)
    config = CooccurrenceConfig(neighbours=9, user_exponent=0)
    _, _, mixed = cooccurrence(interactions(pairs), 2, 9, config)
    _, _, ordered = cooccurrence(interactions(sorted(pairs)), 2, 9, config)
    np.testing.assert_array_equal(as_matrix(mixed), as_matrix(ordered))
    assert as_matrix(mixed)[0].nonzero()[0].tolist() == [2, 4, 6, 8]


def test_items_without_interactions_have_no_neighbours_and_are_nobodys() -> None:
    part = interactions([(0, 0), (0, 1), (1, 1)])
    _, _, lists = cooccurrence(part, 2, 4, CooccurrenceConfig())
    matrix = as_matrix(lists)
    assert np.isfinite(matrix).all()
    assert not matrix[2:].any()
    assert not matrix[:, 2:].any()
    assert matrix[0, 1] > 0
