"""Baselines that a model has to beat, as embeddings, so that they are evaluated like models."""

import numpy as np

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_training.data.dataset import Interactions


def random(users: int, items: int, generator: np.random.Generator) -> tuple[Embeddings, Embeddings]:
    """Return embeddings that rank the items at random: (U, 32), (I, 32)."""
    return (
        generator.standard_normal((users, 32), np.float32),
        generator.standard_normal((items, 32), np.float32),
    )


def popularity(train: Interactions, users: int, items: int) -> tuple[Embeddings, Embeddings]:
    """Return embeddings whose score is the item's number of users: (U, 1), (I, 1)."""
    counts = np.bincount(train.item_rows, minlength=items)
    return np.ones((users, 1), np.float32), counts.astype(np.float32)[:, None]
