"""How much each interaction counts as an edge of the graph, by its weight and its age."""

from dataclasses import replace

import numpy as np

from gnnrec_training.config import GraphConfig
from gnnrec_training.data.dataset import Dataset, Interactions, concatenate

_DAY_S = 86_400.0


def as_of(train: Interactions, config: GraphConfig) -> float | None:
    """Return the moment in Unix seconds from which ages are counted; None without a half-life."""
    if config.half_life_days is None or train.times is None:
        return None
    return float(train.times.max()) if config.as_of is None else config.as_of


def edges(dataset: Dataset, config: GraphConfig) -> Interactions:
    """Return the training interactions, and disliked pairs, each with its weight as an edge.

    A disliked pair counts disliked_weight; with a weight of 0 there is none. With a half-life h an
    edge of age a counts 2^(-a/h) of that; interactions after `as_of` count fully.
    """
    train = _aged(dataset.train, dataset.train, config)
    if config.disliked_weight == 0 or len(dataset.disliked) == 0:
        return train
    disliked = _aged(dataset.disliked, dataset.train, config)
    weights = disliked.weights * np.float32(config.disliked_weight)
    return concatenate(train, replace(disliked, weights=weights))


def _aged(part: Interactions, train: Interactions, config: GraphConfig) -> Interactions:
    """Return a part of the data with each weight as an edge; ages count from those of `train`."""
    weights = np.ones_like(part.weights)
    if config.weighted == "log":
        # a median interaction counts ln 2; one of a thousand times its weight ten times as much
        weights = np.log1p(part.weights / max(float(np.median(train.weights)), 1e-12))
    elif config.weighted:
        weights = part.weights
    moment = as_of(train, config)
    if moment is not None and part.times is not None and config.half_life_days is not None:
        age = np.maximum(moment - part.times, 0) / (config.half_life_days * _DAY_S)
        # never quite 0: a node whose edges are all old would have degree 0, and be divided by it
        weights = (weights * np.maximum(np.exp2(-age), 1e-6)).astype(np.float32)
    return Interactions(part.user_rows, part.item_rows, weights)


def evidence(dataset: Dataset, config: GraphConfig) -> Interactions:
    """Return the same pairs, weighted by how far people liked the item alone.

    Training interactions count 1 and disliked pairs disliked_weight, whatever their own weights and
    ages: that is what losses ask for.
    """
    return edges(dataset, GraphConfig(disliked_weight=config.disliked_weight))
