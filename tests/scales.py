"""Embeddings of any size that float32 can hold."""

import numpy as np

from gnnrec_registry.files.arrays import Embeddings

SCALES = (1e-45, 1e-44, 1e-40, 1e-30, 1e-22, 1e-19, 1e-10, 1e-3, 1.0, 1e5, 1e15, 1e18)


def scaled(seed: int, shape: tuple[int, int], scale: float) -> Embeddings:
    """Return random embeddings of about such a size."""
    drawn = np.random.default_rng(seed).standard_normal(shape)
    with np.errstate(under="ignore"):
        return (drawn * scale).astype(np.float32)
