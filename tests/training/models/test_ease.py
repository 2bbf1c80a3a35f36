import itertools

import numpy as np
import pytest
import torch

from gnnrec_training.config import EaseConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.errors import InvalidConfig
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.graph.sparse import by_user
from gnnrec_training.models import ease as module
from gnnrec_training.models.ease import ease, ease_exponents, ease_lists, ease_width
from gnnrec_training.models.spectral import Spectrum, spectrum
from tests.training.boards import checkerboard, random_interactions

USERS, ITEMS = 30, 20
PART = random_interactions(USERS, ITEMS, 160, 0)


def found(part: Interactions, config: EaseConfig, users: int, items: int) -> Spectrum:
    width = ease_width(config, users, items)
    generator = torch.Generator().manual_seed(0)
    return spectrum(part, users, items, ease_exponents(config), width, generator)


def dense(part: Interactions, users: int, items: int) -> np.ndarray:
    matrix = np.zeros((users, items))
    matrix[part.user_rows, part.item_rows] = part.weights
    return matrix


def regression(matrix: np.ndarray, config: EaseConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of items (I, I) for each other, and all scores (U, I).

    Item by item: the ridge regression of its column on those of all others.
    """
    user_degree, item_degree = matrix.sum(1), matrix.sum(0)
    into = item_degree**-config.item_exponent
    out = item_degree ** (config.item_exponent + config.output_exponent)
    w = user_degree[:, None] ** (-config.user_exponent / 2) * matrix * into
    penalty = config.penalty * np.mean(np.diag(w.T @ w))
    weights = np.zeros((len(into), len(into)))
    for item in range(len(into)):
        others = np.delete(np.arange(len(into)), item)
        known = w[:, others]
        gram = known.T @ known + penalty * np.eye(len(others))
        weights[others, item] = np.linalg.solve(gram, known.T @ w[:, item])
    weights = into[:, None] * weights * out
    return weights, matrix @ weights


EXPONENTS = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.5, 0.0), (0.5, 0.25, -0.5), (0.3, 0.5, 0.5)]


@pytest.mark.parametrize("penalty", [0.05, 1.0, 10.0])
@pytest.mark.parametrize(("user", "item", "output"), EXPONENTS)
def test_scores_of_items_that_a_user_had_not_are_those_of_the_regression(
    user: float, item: float, output: float, penalty: float
) -> None:
    config = EaseConfig(
        embedding_dim=ITEMS, penalty=penalty,
        user_exponent=user, item_exponent=item, output_exponent=output,
    )  # fmt: skip
    matrix = dense(PART, USERS, ITEMS)
    (users, items), _ = ease(found(PART, config, USERS, ITEMS), config)
    _, scores = regression(matrix, config)
    unseen = matrix == 0
    np.testing.assert_allclose((users @ items.T).numpy()[unseen], scores[unseen], atol=2e-4)


@pytest.mark.parametrize("users", [USERS, 8])
def test_fewer_users_than_items_make_no_difference(users: int) -> None:
    """The spectrum then has fewer vectors than items, and is complete all the same."""
    part = random_interactions(users, ITEMS, 60, 1)
    config = EaseConfig(embedding_dim=ITEMS, penalty=0.5)
    (ours, items), _ = ease(found(part, config, users, ITEMS), config)
    matrix = dense(part, users, ITEMS)
    unseen = matrix == 0
    expected = regression(matrix, config)[1][unseen]
    np.testing.assert_allclose((ours @ items.T).numpy()[unseen], expected, atol=1e-4)


def test_a_user_that_is_folded_in_is_who_they_were_in_training() -> None:
    config = EaseConfig(embedding_dim=6, user_exponent=0.5, item_exponent=0.25)
    (users, items), fold = ease(found(PART, config, USERS, ITEMS), config)
    assert (users.shape, items.shape, fold.shape) == ((USERS, 6), (ITEMS, 6), (ITEMS, 6))
    matrix = torch.from_numpy(dense(PART, USERS, ITEMS)).float()
    torch.testing.assert_close(matrix @ fold, users, atol=1e-5, rtol=1e-5)


def test_with_fewer_vectors_the_best_items_are_nearly_the_same() -> None:
    """Six groups, and an item in ten from another one: more than enough for 12 of 60 vectors."""
    users, items = 200, 60
    generator = np.random.default_rng(0)
    likes = np.arange(users)[:, None] % 6 == np.arange(items) % 6
    chance = np.where(likes, 0.6, 0.02)
    user_rows, item_rows = np.nonzero(generator.random((users, items)) < chance)
    ones = np.ones(len(user_rows), np.float32)
    part = Interactions(user_rows.astype(np.int32), item_rows.astype(np.int32), ones)
    config = EaseConfig(embedding_dim=12, penalty=2.0)
    (narrow, narrow_items), _ = ease(found(part, config, users, items), config)
    matrix = dense(part, users, items)
    exact = np.where(matrix > 0, -np.inf, regression(matrix, config)[1])
    ours = np.where(matrix > 0, -np.inf, (narrow @ narrow_items.T).numpy())
    best, close = (np.argsort(-scores, axis=1)[:, :3] for scores in (exact, ours))
    shared = [len(set(a) & set(b)) / 3 for a, b in zip(best, close, strict=True)]
    assert np.mean(shared) > 0.85


def test_the_diagonal_of_an_incomplete_spectrum_is_that_of_the_inverse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Embeddings cut from all vectors, and from as many as are kept, are the same up to signs."""
    config = EaseConfig(embedding_dim=8, penalty=0.5)
    whole = found(PART, config, USERS, ITEMS)
    assert whole.is_complete
    (users, items), _ = ease(whole, config)
    monkeypatch.setattr(module, "_SMALL", 0)
    cut = found(PART, config, USERS, ITEMS)
    assert cut.vectors.shape == (ITEMS, 8)
    assert not cut.is_complete
    (cut_users, cut_items), _ = ease(cut, config)
    torch.testing.assert_close(cut_users @ cut_items.T, users @ items.T, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(("user", "item", "output"), EXPONENTS)
def test_lists_are_the_largest_positive_weights_of_each_item(
    user: float, item: float, output: float, complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EaseConfig(
        embedding_dim=4, penalty=0.5, neighbours=5,
        user_exponent=user, item_exponent=item, output_exponent=output,
    )  # fmt: skip
    if not complete:
        monkeypatch.setattr(module, "_SMALL", 0)
    _, _, lists = ease_lists(found(PART, config, USERS, ITEMS), config)
    weights, _ = regression(dense(PART, USERS, ITEMS), config)
    for row, line in enumerate(weights):
        kept = np.sort(np.argsort(-line)[:5])
        kept = kept[line[kept] > 0]
        mine = slice(lists.indptr[row], lists.indptr[row + 1])
        assert lists.items[mine].tolist() == kept.tolist()
        np.testing.assert_allclose(lists.weights[mine], line[kept], rtol=1e-3, atol=1e-5)


def test_lists_of_too_many_items_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = EaseConfig(neighbours=5)
    spectrum_of_all = found(PART, config, USERS, ITEMS)
    monkeypatch.setattr(module, "_EXACT", ITEMS - 1)
    with pytest.raises(
        InvalidConfig, match=r"neighbours needs .*20 items are too many.*at most 19"
    ):
        ease_lists(spectrum_of_all, config)


@pytest.mark.parametrize("neighbours", [0, 14])
def test_the_checkerboard_is_solved_without_training(neighbours: int) -> None:
    board = checkerboard(30)
    config = EaseConfig(embedding_dim=30, neighbours=neighbours)
    spectrum_of_board = found(board.train, config, 30, 30)
    seen, held_out = by_user(board.train, 30), heldout(board.test, 30, 30)
    lists = None
    if neighbours:
        (users, items), _, lists = ease_lists(spectrum_of_board, config)
    else:
        (users, items), _ = ease(spectrum_of_board, config)
    result = evaluate(users.numpy(), items.numpy(), seen, held_out, (1,), lists=lists, history=seen)
    assert result.metrics["recall@1"] == 1


def test_all_vectors_are_asked_for_where_the_smaller_side_is_small() -> None:
    config = EaseConfig(embedding_dim=7)
    widths = {size: ease_width(config, *size) for size in itertools.product((3000, 3001), repeat=2)}
    assert widths == {(3000, 3000): 3000, (3000, 3001): 3001, (3001, 3000): 3000, (3001, 3001): 7}
