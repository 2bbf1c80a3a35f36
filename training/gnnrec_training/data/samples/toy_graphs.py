"""Two graphs that are small enough to check by hand, for tests and documentation."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec_training.data.samples.sample import Sample
from gnnrec_training.errors import InvalidConfig

_CONFIG = """\
name = "toy-{name}"

[data]
interactions = "interactions.csv"

[split]
test = 0
validation = 0

[lightgcn]
embedding_dim = 8
num_layers = 2

[lightgcn.training]
epochs = 50
learning_rate = 0.05

[evaluation]
k = [3]
"""

# Five users, six items: three pairs that share nothing, and U0 - I1 - U1.
EDGES_A = ((0, 0), (0, 1), (1, 1), (2, 2), (3, 3), (4, 4), (4, 5))

# Five users and ten items, described by three topics.
USERS_B = ((1, 0.2, 0.1), (0.1, 0.9, 0.2), (0.7, 0.7, 0.1), (0, 0.1, 0.9), (0.2, 0.8, 0.8))
ITEMS_B = (
    (1, 0, 0),
    (0.8, 0.2, 0),
    (0, 1, 0),
    (0.1, 0.9, 0),
    (0, 0, 1),
    (0, 0.4, 0.8),
    (0.6, 0.6, 0),
    (0, 0.7, 0.7),
    (0.5, 0, 0.5),
    (0.33, 0.33, 0.33),
)
EDGES_B = (
    (0, 0), (0, 1), (1, 2), (1, 3), (2, 0), (2, 2), (2, 6), (3, 4), (3, 5), (4, 3), (4, 5), (4, 7),
)  # fmt: skip


def toy_graph(name: str, seed: int = 0) -> Sample:
    """Return toy "a", whose nodes have 8 random numbers by `seed`, or "b", whose have 3 topics."""
    if name == "a":
        generator = np.random.default_rng(seed)
        users, items = generator.standard_normal((5, 8)), generator.standard_normal((6, 8))
        return _sample(name, EDGES_A, users, items)
    if name == "b":
        return _sample(name, EDGES_B, np.array(USERS_B), np.array(ITEMS_B))
    raise InvalidConfig(f"no toy {name!r}; there are a and b")


def _sample(
    name: str,
    edges: tuple[tuple[int, int], ...],
    users: NDArray[np.float64],
    items: NDArray[np.float64],
) -> Sample:
    return Sample(
        {
            "interactions.csv": pl.DataFrame(
                {
                    "user_id": [f"U{user}" for user, _ in edges],
                    "item_id": [f"I{item}" for _, item in edges],
                }
            ),
            "users.csv": _features("user_id", "U", users),
            "items.csv": _features("item_id", "I", items),
        },
        _CONFIG.format(name=name),
    )


def _features(column: str, letter: str, features: NDArray[np.float64]) -> pl.DataFrame:
    ids = pl.DataFrame({column: [f"{letter}{row}" for row in range(len(features))]})
    names = [f"f{column}" for column in range(features.shape[1])]
    return ids.hstack(pl.DataFrame(features, schema=names))
