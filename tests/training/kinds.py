"""Users, items and features of four kinds, where the right recommendation is known."""

import numpy as np
import torch

from gnnrec_registry import FeatureEncoder, FeaturesExport, NodeFeatures
from gnnrec_registry.features.encoders import CategoricalEncoding
from gnnrec_training.config import HybridFitConfig
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.models.node_inputs import NodeInputs, node_inputs
from tests.training.boards import interactions

CPU = torch.device("cpu")
USERS, ITEMS, KINDS = 60, 48, 4
QUICK = HybridFitConfig(epochs=30, batch_size=20, learning_rate=0.02, feature_dropout=0)
"""For the hybrid and GraphSAGE alike."""


def kinds() -> tuple[Dataset, np.ndarray]:
    """Return users who had most items of their kind, and the last items: as if not out yet.

    Items say of what kind they are, users say nothing. Items 40 and up have no interactions.
    """
    generator = np.random.default_rng(0)
    pairs = [
        (user, item)
        for user in range(USERS)
        for item in range(40)
        if user % KINDS == item % KINDS and generator.random() < 0.8
    ]
    encoding = NodeFeatures(
        items=FeatureEncoder(
            columns=(
                CategoricalEncoding(kind="categorical", name="kind", categories=tuple("abcd")),
            )
        )
    )
    described = np.eye(KINDS, dtype=np.float32)[np.arange(ITEMS) % KINDS]
    features = FeaturesExport(encoding, np.zeros((USERS, 0), np.float32), described)
    dataset = Dataset(
        "kinds",
        [f"u{row}" for row in range(USERS)],
        [f"i{row}" for row in range(ITEMS)],
        interactions(pairs),
        features=features,
    )
    return dataset, np.arange(40, ITEMS)


def inputs() -> NodeInputs:
    dataset, _ = kinds()
    assert dataset.features is not None
    return node_inputs(dataset.features, dataset.train)


def find_their_kind(users: torch.Tensor, items: torch.Tensor) -> float:
    """Return the share of users for whom the new items of their kind come before all others."""
    scores = (users @ items[40:].T).numpy()
    best = np.argsort(-scores, axis=1)[:, :2] + 40
    return float((best % KINDS == np.arange(USERS)[:, None] % KINDS).all(1).mean())


def graph_embeddings() -> tuple[torch.Tensor, torch.Tensor]:
    """Return embeddings that know the kinds, zero for items that have no interactions."""
    axes = torch.nn.functional.normalize(
        torch.randn(KINDS, 6, generator=torch.Generator().manual_seed(0))
    )
    items = axes[torch.arange(ITEMS) % KINDS]
    items[40:] = 0
    return axes[torch.arange(USERS) % KINDS], items
