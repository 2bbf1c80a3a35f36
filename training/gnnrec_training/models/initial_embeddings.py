"""LightGCN's layer 0 before training. U users, I items, D dimensions, F features."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnnrec_training.config import LightGCNConfig, SpectralConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.errors import InvalidConfig
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.models.spectral import spectral

_DEFAULT_STD = 0.1

Features = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Numeric columns of users (U, F) and items (I, F')."""


def initial_embeddings(
    config: LightGCNConfig,
    edges: Interactions,
    users: int,
    items: int,
    generator: torch.Generator,
    features: Features | None = None,
) -> EmbeddingPair:
    """Return layer 0 as configured: users (U, D), items (I, D)."""
    if config.init == "spectral":
        vectors = SpectralConfig(embedding_dim=config.embedding_dim)
        embeddings, _ = spectral(edges, users, items, vectors, generator)
        if embeddings[0].shape[1] < config.embedding_dim:
            raise InvalidConfig(
                f"lightgcn.init is spectral and embedding_dim {config.embedding_dim} is more than "
                f"the {items} items"
            )
        return _scaled(embeddings, config)
    if features is not None:
        return _from_features(config, features, generator)
    user_half = torch.empty(users, config.embedding_dim)
    item_half = torch.empty(items, config.embedding_dim)
    for half in (user_half, item_half):
        if config.init_std is None:
            nn.init.xavier_uniform_(half, generator=generator)
        else:
            nn.init.normal_(half, std=config.init_std, generator=generator)
    return user_half, item_half


def _from_features(
    config: LightGCNConfig, features: Features, generator: torch.Generator
) -> EmbeddingPair:
    width = config.embedding_dim
    if config.init == "features":
        for what, matrix in zip(("users", "items"), features, strict=True):
            if matrix.shape[1] != width:
                raise InvalidConfig(
                    f"lightgcn.features.{what} has {matrix.shape[1]} numeric columns and "
                    f'embedding_dim is {width}; init = "projected_features" takes any width'
                )
        return torch.from_numpy(features[0]), torch.from_numpy(features[1])
    return _scaled(
        (_project(features[0], width, generator), _project(features[1], width, generator)), config
    )


def _project(matrix: NDArray[np.float32], width: int, generator: torch.Generator) -> Tensor:
    """Return the leading principal components, or a random rotation into more columns.

    (N, F) -> (N, D)
    """
    centred = torch.from_numpy(matrix - matrix.mean(0))
    if matrix.shape[1] >= width:
        _, directions = torch.linalg.eigh((centred.T @ centred).double())  # ascending
        components: Tensor = centred @ directions.flip(1)[:, :width].float()
        return components
    rotation, _ = torch.linalg.qr(torch.randn(width, matrix.shape[1], generator=generator))
    rotated: Tensor = centred @ rotation.T
    return rotated


def _scaled(embeddings: EmbeddingPair, config: LightGCNConfig) -> EmbeddingPair:
    """Return users and items, each scaled to the configured standard deviation."""
    std = config.init_std or _DEFAULT_STD
    users, items = (half * (std / half.std().clamp(min=1e-12)) for half in embeddings)
    return users, items
