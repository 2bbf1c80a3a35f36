import numpy as np
import pytest
import torch

from gnnrec_training.config import AlsConfig
from gnnrec_training.models import als as module
from gnnrec_training.models.als import FOLD_EXPONENT, als
from tests.training.boards import interactions, random_interactions

USERS, ITEMS, WIDTH = 25, 18, 4
PART = random_interactions(USERS, ITEMS, 120, 0)


def fit(config: AlsConfig) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    (users, items), fold = als(PART, USERS, ITEMS, config, generator)
    return users, items, fold


def weights() -> np.ndarray:
    matrix = np.zeros((USERS, ITEMS))
    matrix[PART.user_rows, PART.item_rows] = PART.weights
    return matrix


def solved(matrix: np.ndarray, other: np.ndarray, config: AlsConfig) -> np.ndarray:
    """Return the embeddings of one side by the normal equations: matrix (N, M), other (M, D)."""
    rows = []
    for line in matrix:
        confidence = 1 + config.confidence * line
        gram = other.T @ (confidence[:, None] * other) + config.penalty * np.eye(other.shape[1])
        rows.append(np.linalg.solve(gram, other.T @ (confidence * (line > 0))))
    return np.array(rows)


def loss(users: torch.Tensor, items: torch.Tensor, config: AlsConfig) -> float:
    matrix = weights()
    x, y = users.double().numpy(), items.double().numpy()
    errors = ((matrix > 0) - x @ y.T) ** 2
    penalty = config.penalty * ((x**2).sum() + (y**2).sum())
    return float(((1 + config.confidence * matrix) * errors).sum() + penalty)


@pytest.mark.parametrize("confidence", [0.0, 2.0, 40.0])
def test_each_half_step_solves_the_normal_equations(confidence: float) -> None:
    config = AlsConfig(embedding_dim=WIDTH, confidence=confidence, penalty=0.5, sweeps=1)
    users, items, _ = fit(config)
    start = 0.1 * torch.randn(ITEMS, WIDTH, generator=torch.Generator().manual_seed(0))
    expected = solved(weights(), start.double().numpy(), config)
    np.testing.assert_allclose(users, expected, atol=1e-3, rtol=1e-3)
    expected = solved(weights().T, users.double().numpy(), config)
    np.testing.assert_allclose(items, expected, atol=1e-3, rtol=1e-3)


def test_the_loss_falls_with_each_sweep() -> None:
    config = AlsConfig(embedding_dim=WIDTH, penalty=0.5)
    losses = []
    for sweeps in (1, 2, 3, 5, 10):
        users, items, _ = fit(config.model_copy(update={"sweeps": sweeps}))
        losses.append(loss(users, items, config))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def test_a_user_that_is_folded_in_is_close_to_who_they_were_in_training() -> None:
    users, _, fold = fit(AlsConfig(embedding_dim=WIDTH, penalty=0.5))
    matrix = torch.from_numpy(weights()).float()
    folded = (matrix @ fold) / matrix.sum(1, keepdim=True) ** FOLD_EXPONENT
    cosines = torch.nn.functional.cosine_similarity(folded, users)
    assert cosines.median() > 0.95
    assert cosines.min() > 0.7


@pytest.mark.parametrize("numbers", [1, WIDTH**2 * 5, WIDTH * 3])
def test_blocks_of_rows_make_no_difference(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row alone, five rows, and three interactions at once, though some rows have more."""
    config = AlsConfig(embedding_dim=WIDTH, penalty=0.5, sweeps=2)
    whole = fit(config)
    monkeypatch.setattr(module, "_NUMBERS", numbers)
    for ours, expected in zip(fit(config), whole, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_nodes_without_interactions_have_zeros_and_nothing_else_is_lost() -> None:
    part = interactions([(0, 0), (0, 1), (2, 1), (2, 3)])
    generator = torch.Generator().manual_seed(0)
    config = AlsConfig(embedding_dim=2, penalty=0.1)
    (users, items), fold = als(part, 4, 5, config, generator)
    assert not users[[1, 3]].any()
    assert not items[[2, 4]].any()
    assert users[[0, 2]].all()
    assert torch.isfinite(fold).all()


def test_progress_is_told_sweep_by_sweep() -> None:
    told: list[float] = []
    config = AlsConfig(embedding_dim=2, sweeps=4)
    als(PART, USERS, ITEMS, config, torch.Generator().manual_seed(0), told.append)
    assert told == [0.25, 0.5, 0.75, 1]
