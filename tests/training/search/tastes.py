"""People of two tastes: data that are small, and that a search can find something in."""

from typing import Any

import numpy as np

from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset, Interactions
from tests.training.boards import interactions

USERS, ITEMS = 60, 40


def tastes(seed: int = 0) -> Dataset:
    """Return users who mostly have items of their own half, split into three parts."""
    generator = np.random.default_rng(seed)
    chance = np.where(np.arange(USERS)[:, None] % 2 == np.arange(ITEMS) % 2, 0.5, 0.05)
    chance *= np.linspace(1, 0.4, ITEMS)
    pairs = [(int(u), int(i)) for u, i in np.argwhere(generator.random(chance.shape) < chance)]
    pairs += [(u, u % 2) for u in range(USERS)] + [(i % USERS, i) for i in range(ITEMS)]
    pairs = sorted(set(pairs))
    draw = generator.random(len(pairs))
    cover = {(u, u % 2) for u in range(USERS)} | {(i % USERS, i) for i in range(ITEMS)}
    train = [p for p, x in zip(pairs, draw, strict=True) if x >= 0.3 or p in cover]
    held = [(p, x) for p, x in zip(pairs, draw, strict=True) if x < 0.3 and p not in cover]
    return Dataset(
        "tastes",
        [f"u{row}" for row in range(USERS)],
        [f"i{row}" for row in range(ITEMS)],
        interactions(train),
        validation=interactions([p for p, x in held if x < 0.15]),
        test=interactions([p for p, x in held if x >= 0.15]),
    )


def config(**search: Any) -> Config:
    return Config.model_validate(
        {
            "name": "tastes",
            "data": {"interactions": "-"},
            "evaluation": {"k": [5, 10]},
            "search": search,
        }
    )


def nothing() -> Interactions:
    return interactions([])
