import pytest
import torch

from gnnrec_training.config import SpectralConfig
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.graph.sparse import by_user, sparse_matrix
from gnnrec_training.models.spectral import (
    from_spectrum,
    right_singular_vectors,
    spectral,
    spectrum,
)
from tests.training.boards import checkerboard, interactions, random_interactions


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("users", "items", "groups"), [(40, 60, 10), (600, 700, 30), (50, 600, 30)]
)
def test_the_vectors_span_the_leading_singular_space(users: int, items: int, groups: int) -> None:
    """In a world of groups with some noise, they keep what the exact decomposition keeps."""
    noise = random_interactions(users, items, 2 * users, 1)
    grouped = [(u, i) for u in range(users) for i in range(items) if u % groups == i % groups]
    pairs = set(zip(noise.user_rows.tolist(), noise.item_rows.tolist(), strict=True))
    part = interactions(sorted(pairs | set(grouped)))
    matrix = sparse_matrix(part.user_rows, part.item_rows, part.weights, (users, items))
    transposed = sparse_matrix(part.item_rows, part.user_rows, part.weights, (items, users))
    vectors, values = right_singular_vectors(matrix, transposed, groups, generator())
    assert vectors.shape == (items, groups)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(groups), atol=1e-4, rtol=0)
    exact = torch.linalg.svdvals(matrix.to_dense().double())
    kept = (matrix.to_dense() @ vectors).square().sum()
    assert kept > 0.999 * exact[:groups].square().sum()
    assert float(values.sum()) == pytest.approx(float(kept), rel=1e-3)


def test_a_matrix_of_low_rank_gives_zero_columns_past_it() -> None:
    """Six hundred users of seven kinds, asked for 40 vectors: 7 carry everything."""
    part = interactions([(u, i) for u in range(600) for i in range(700) if u % 7 == i % 7])
    matrix = sparse_matrix(part.user_rows, part.item_rows, part.weights, (600, 700))
    transposed = sparse_matrix(part.item_rows, part.user_rows, part.weights, (700, 600))
    vectors, values = right_singular_vectors(matrix, transposed, 40, generator())
    assert torch.isfinite(vectors).all()
    assert torch.isfinite(values).all()
    dense = matrix.to_dense()
    torch.testing.assert_close(dense @ vectors @ vectors.T, dense, atol=1e-3, rtol=0)


def test_scores_equal_the_closed_form() -> None:
    """With every vector kept, user scores are R D^-1/2 V V^T D^1/2 = R."""
    part = random_interactions(12, 8, 40, 0)
    (users, items), _ = spectral(part, 12, 8, SpectralConfig(embedding_dim=8), generator())
    dense = torch.zeros(12, 8)
    dense[part.user_rows, part.item_rows] = torch.from_numpy(part.weights)
    torch.testing.assert_close(users @ items.T, dense, atol=1e-4, rtol=1e-4)


def test_a_width_beyond_the_catalogue_is_cut_to_it() -> None:
    part = random_interactions(12, 8, 40, 0)
    (users, items), _ = spectral(part, 12, 8, SpectralConfig(embedding_dim=100), generator())
    assert users.shape == (12, 8)
    assert items.shape == (8, 8)


def test_the_checkerboard_is_solved_without_training() -> None:
    board = checkerboard(30)
    (users, items), _ = spectral(board.train, 30, 30, SpectralConfig(embedding_dim=2), generator())
    seen, held_out = by_user(board.train, 30), heldout(board.test, 30, 30)
    result = evaluate(users.numpy(), items.numpy(), seen, held_out, (1,))
    assert result.metrics["recall@1"] == 1


@pytest.mark.parametrize("width", [1, 5, 8])
def test_embeddings_from_a_wider_spectrum_are_those_of_the_model(width: int) -> None:
    part = random_interactions(12, 8, 40, 0)
    config = SpectralConfig(
        embedding_dim=width, user_exponent=0.3, item_exponent=0.6, output_exponent=0.2
    )
    wide = spectrum(part, 12, 8, (0.3, 0.6), 8, generator())
    (users, items), fold = from_spectrum(wide, config)
    (own_users, own_items), own_fold = spectral(part, 12, 8, config, generator())
    torch.testing.assert_close(users, own_users)
    torch.testing.assert_close(items, own_items)
    torch.testing.assert_close(fold, own_fold)


def test_a_spectrum_says_what_it_is_of() -> None:
    part = random_interactions(12, 8, 40, 0)
    found = spectrum(part, 12, 8, (0.5, 0.25), 8, generator())
    dense = torch.zeros(12, 8, dtype=torch.float64)
    dense[part.user_rows, part.item_rows] = torch.from_numpy(part.weights).double()
    weighted = dense.sum(1, keepdim=True) ** -0.5 * dense * dense.sum(0) ** -0.25
    gram = weighted.T @ weighted
    torch.testing.assert_close(found.gram(torch.float64), gram, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.values, torch.linalg.eigvalsh(gram).flip(0), atol=1e-5, rtol=0)
    assert found.trace == pytest.approx(float(gram.trace()), rel=1e-5)
    torch.testing.assert_close(found.had.to_dense().double(), dense)
    torch.testing.assert_close(found.item_degree[:, 0].double(), dense.sum(0))


def test_a_spectrum_is_complete_with_as_many_vectors_as_the_rank() -> None:
    """Three groups of users with the same items each: all but three eigenvalues are zero."""
    part = interactions([(u, i) for u in range(9) for i in range(12) if u % 3 == i % 3])
    complete = {
        count: spectrum(part, 9, 12, (0, 0), count, generator()).is_complete
        for count in (1, 2, 3, 4, 12)
    }
    assert complete == {1: False, 2: False, 3: True, 4: True, 12: True}
