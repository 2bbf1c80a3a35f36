"""How much each interaction counts as an edge of the graph, by its weight and its age."""

import numpy as np

from gnnrec_training.config import GraphConfig
from gnnrec_training.data.dataset import Interactions

_DAY_S = 86_400.0


def as_of(train: Interactions, config: GraphConfig) -> float | None:
    """Return the moment in Unix seconds from which ages are counted; None without a half-life."""
    if config.half_life_days is None or train.times is None:
        return None
    return float(train.times.max()) if config.as_of is None else config.as_of


def edges(train: Interactions, config: GraphConfig) -> Interactions:
    """Return the interactions, each with its weight as an edge.

    With a half-life h an edge of age a counts 2^(-a/h); interactions after `as_of` count fully.
    """
    weights = train.weights if config.weighted else np.ones_like(train.weights)
    moment = as_of(train, config)
    if moment is not None and train.times is not None and config.half_life_days is not None:
        age = np.maximum(moment - train.times, 0) / (config.half_life_days * _DAY_S)
        # never quite 0: a node whose edges are all old would have degree 0, and be divided by it
        weights = (weights * np.maximum(np.exp2(-age), 1e-6)).astype(np.float32)
    return Interactions(train.user_rows, train.item_rows, weights)
