"""Data whose right answer is known."""

import numpy as np

from gnnrec_training.data.dataset import Dataset, Interactions


def interactions(pairs: list[tuple[int, int]], weights: list[float] | None = None) -> Interactions:
    """Return pairs of user and item rows."""
    users, items = np.array(pairs, np.int32).reshape(-1, 2).T
    return Interactions(
        np.ascontiguousarray(users),
        np.ascontiguousarray(items),
        np.ones(len(pairs), np.float32) if weights is None else np.array(weights, np.float32),
    )


def checkerboard(size: int) -> Dataset:
    """Return a board where even users like even items and odd ones odd, but for the diagonal.

    The diagonal is the test part: item u is the only one of user u's kind that they have not had,
    so it must rank first for every user.
    """
    pairs = [(u, i) for u in range(size) for i in range(size) if u % 2 == i % 2]
    return Dataset(
        name="checkerboard",
        user_ids=[f"user {row}" for row in range(size)],
        item_ids=[f"item {row}" for row in range(size)],
        train=interactions([(u, i) for u, i in pairs if u != i]),
        test=interactions([(u, i) for u, i in pairs if u == i]),
    )


def random_interactions(users: int, items: int, count: int, seed: int) -> Interactions:
    """Return `count` distinct random pairs with random weights; every user and item has one."""
    generator = np.random.default_rng(seed)
    cover = [(u, u % items) for u in range(users)] + [(i % users, i) for i in range(items)]
    extra = zip(
        generator.integers(0, users, count), generator.integers(0, items, count), strict=True
    )
    pairs = sorted({(int(u), int(i)) for u, i in [*cover, *extra]})
    return interactions(pairs, list(generator.uniform(0.1, 5, len(pairs))))
