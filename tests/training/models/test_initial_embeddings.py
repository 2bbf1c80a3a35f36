import numpy as np
import pytest
import torch

from gnnrec_training.config import LightGCNConfig
from gnnrec_training.errors import InvalidConfig
from gnnrec_training.models.initial_embeddings import initial_embeddings
from tests.training.boards import checkerboard, random_interactions


def test_a_projection_keeps_the_geometry() -> None:
    """Distances survive the principal components when the width allows."""
    generator = torch.Generator().manual_seed(0)
    features = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)
    for width in (6, 10):
        config = LightGCNConfig.model_validate(
            {
                "embedding_dim": width, "init": "projected_features", "init_std": 0.1,
                "features": {"users": "u", "items": "i"},
            }
        )  # fmt: skip
        users, _ = initial_embeddings(
            config, random_interactions(20, 20, 50, 0), 20, 20, generator, (features, features)
        )
        assert float(users.std()) == pytest.approx(0.1, rel=1e-3)
        ours = torch.pdist(users)
        given = torch.pdist(torch.from_numpy(features))
        torch.testing.assert_close(ours / ours.mean(), given / given.mean(), atol=1e-4, rtol=1e-4)


def test_a_spectral_start_is_the_scaled_spectral_model() -> None:
    board = checkerboard(20)
    config = LightGCNConfig(embedding_dim=2, init="spectral")
    users, items = initial_embeddings(config, board.train, 20, 20, torch.Generator().manual_seed(0))
    best = (users @ items.T).argsort(1, descending=True)[:, :10]
    assert (best % 2 == torch.arange(20)[:, None] % 2).all()
    assert float(items.std()) == pytest.approx(0.1, rel=1e-3)
    wide = LightGCNConfig(embedding_dim=64, init="spectral")
    with pytest.raises(InvalidConfig, match="more than the 20 items"):
        initial_embeddings(wide, board.train, 20, 20, torch.Generator())
