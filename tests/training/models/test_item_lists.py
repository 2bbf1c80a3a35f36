import numpy as np
import pytest
import torch

from gnnrec_registry.scoring.ranking import NO_ROW
from gnnrec_training.evaluation.ranking import rank
from gnnrec_training.graph.sparse import by_user, sparse_matrix
from gnnrec_training.models import item_lists as module
from gnnrec_training.models.item_lists import joined, largest, list_model
from tests.item_lists import added, random_lists
from tests.training.boards import interactions

WEIGHTS = torch.tensor(
    [
        [0.0, 3.0, 1.0, 2.0],
        [-1.0, 0.0, -2.0, 0.0],
        [5.0, 0.0, 0.0, 0.5],
        [0.1, 0.2, 0.3, 0.0],
    ]
)


@pytest.mark.parametrize("numbers", [1 << 25, 8, 1])
def test_the_largest_positive_weights_are_kept_in_the_order_of_items(
    numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NUMBERS", numbers)
    lists = largest(lambda rows: WEIGHTS[rows], 4, 2)
    assert lists.indptr.tolist() == [0, 2, 2, 4, 6]
    assert lists.items.tolist() == [1, 3, 0, 3, 1, 2]
    np.testing.assert_allclose(lists.weights, [3, 2, 5, 0.5, 0.2, 0.3])
    assert lists.items.dtype == np.int32
    assert lists.weights.dtype == np.float32


def test_more_neighbours_than_items_are_all_of_them() -> None:
    lists = largest(lambda rows: WEIGHTS[rows], 4, 100)
    assert np.diff(lists.indptr).tolist() == [3, 0, 2, 3]


def test_items_that_no_list_reaches_come_last_by_popularity() -> None:
    part = interactions([(0, 0), (1, 3), (2, 3), (2, 4), (1, 4), (0, 4)])
    lists = largest(lambda rows: torch.tensor([[0, 0.2, 0.1, 0, 0.0]] * 5)[rows], 5, 5)
    had = sparse_matrix(part.user_rows, part.item_rows, part.weights, (3, 5))
    popularity = torch.tensor([[1.0], [0.0], [0.0], [2.0], [3.0]])
    (users, items), fold, same = list_model(had, popularity, lists)
    assert same is lists
    assert fold.tolist() == [[1.0]] * 5
    history = by_user(part, 3)
    _, ranked = rank(
        users.numpy()[:1], items.numpy(), np.array([0]), history, 5, lists=lists, history=history
    )
    assert ranked[0].tolist() == [1, 2, 3, NO_ROW, NO_ROW], "0 and 4 are those that user 0 had"


def test_lists_without_any_weight_leave_popularity() -> None:
    lists = largest(lambda rows: torch.zeros(len(rows), 3), 3, 2)
    had = sparse_matrix(np.array([0], np.int32), np.array([1], np.int32), np.ones(1), (1, 3))
    (_, items), _, _ = list_model(had, torch.tensor([[0.0], [1.0], [4.0]]), lists)
    assert len(lists.weights) == 0
    assert items.argsort(0, descending=True)[:, 0].tolist() == [2, 1, 0]


def test_joined_lists_add_what_their_parts_add() -> None:
    first, second = random_lists(12, 0.3, 0), random_lists(12, 0.2, 1)
    both = joined([(first, 2.0), (second, 0.5)], 12)
    assert both.degree_exponent == 0
    for row in range(12):
        expected = np.zeros(12)
        for lists, factor in ((first, 2.0), (second, 0.5)):
            for item, weight in added(lists, [row]).items():
                expected[item] += factor * weight
        ours = np.zeros(12)
        for item, weight in added(both, [row]).items():
            ours[item] = weight
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
        mine = both.items[both.indptr[row] : both.indptr[row + 1]]
        assert mine.tolist() == sorted(set(mine.tolist()))


def test_one_part_and_none_of_its_rows_stay_as_they_are() -> None:
    lists = largest(lambda rows: WEIGHTS[rows], 4, 2)
    same = joined([(lists, 1.0)], 4)
    assert same.indptr.tolist() == lists.indptr.tolist()
    assert same.items.tolist() == lists.items.tolist()
    assert same.weights.tolist() == lists.weights.tolist()
