"""Which models to join, and with which weights: greedily, as far as each one is worth it.

W users asked, P items in the pool of each.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from gnnrec_training.evaluation.intervals import PerUser, paired_difference
from gnnrec_training.evaluation.pools import Pools

_WEIGHTS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
_WORTH = 1.0
"""A model is added if the gain is more than so many standard errors of it."""

Weights = dict[str, float]
"""The weight of each model's scores, all scaled to the same standard deviation."""


def fusions(pools: Pools, spreads: Mapping[str, float], most: int) -> list[tuple[Weights, PerUser]]:
    """Return what is chosen with one model, with two, and so on, with the score of each user (W,).

    spreads: the standard deviation of the scores of each model that may be joined, as fusion takes
    it. The best model alone comes first. Each further one is that which gains most at its best
    weight, if the gain is more than its noise; then all weights are tried once more.
    """
    scores = {name: pools.scores[name] / spread for name, spread in spreads.items()}
    alone = {name: pools.per_user(found) for name, found in scores.items()}
    best = max(alone, key=lambda name: float(alone[name].mean()))
    steps: list[tuple[Weights, PerUser]] = [({best: 1.0}, alone[best])]
    while len(steps) < most:
        weights, now = steps[-1]
        tried = [
            _best_weight(pools, scores, weights, name) for name in scores if name not in weights
        ]
        if not tried:
            break
        found, per_user = max(tried, key=lambda pair: float(pair[1].mean()))
        found, per_user = _settled(pools, scores, found, per_user)
        gain = paired_difference(per_user, now)
        if gain.value <= _WORTH * gain.standard_error:
            break
        steps.append((found, per_user))
    return steps


def _best_weight(
    pools: Pools,
    scores: Mapping[str, Tensor],
    weights: Weights,
    name: str,
) -> tuple[Weights, PerUser]:
    """Return the weights with the best one for a model `name`, all others as they are."""
    others = sum(scores[other] * weight for other, weight in weights.items() if other != name)
    assert isinstance(others, Tensor)
    tried = [
        (weight, pools.per_user(torch.add(others, scores[name], alpha=weight)))
        for weight in _WEIGHTS
    ]
    weight, per_user = max(tried, key=lambda pair: float(pair[1].mean()))
    return {**weights, name: weight}, per_user


def _settled(
    pools: Pools,
    scores: Mapping[str, Tensor],
    weights: Weights,
    per_user: PerUser,
) -> tuple[Weights, PerUser]:
    """Return the weights after each but the first was chosen once more beside the others."""
    for name in list(weights)[1:]:
        found, again = _best_weight(pools, scores, weights, name)
        if again.mean() > per_user.mean():
            weights, per_user = found, again
    return weights, per_user
