"""A layer 0 for LightGCN that reproduces embeddings which were published before.

A version publishes final embeddings, E* = P E with P = sum over k = 0..K of c_k A^k, and not the
layer 0 that training needs. It is found again by Richardson's iteration over the graph of today,

    E_0 = E*        E_(n+1) = E_n + (E* - P E_n) / c,  c = sum over k of c_k

which converges where P has no negative eigenvalue, as with layer_combination "mean" and "sum". (The
eigenvalues of A lie in [-1, 1].) With "last" P may have some, and the step is P (E* - P E_n) / c^2.
A few steps are taken: the parts of layer 0 that P nearly removes would need many, and are noise.

    users (U, D)    items (I, D)
"""

import numpy as np
import torch
from torch import Tensor

from gnnrec_training.data.dataset import Interactions
from gnnrec_training.graph.adjacency import Adjacency
from gnnrec_training.graph.propagation import EmbeddingPair, propagate

_STEPS = 3


@torch.no_grad()
def layer0_of(
    final: EmbeddingPair, graph: Adjacency, coefficients: list[float], steps: int = _STEPS
) -> EmbeddingPair:
    """Return a layer 0 whose final embeddings are about these: (U, D), (I, D) -> the same."""
    users, items = final
    total = sum(coefficients)
    for _ in range(steps):
        user_sum, item_sum = propagate(users, items, graph, coefficients)
        missing = (final[0] - user_sum) / total, (final[1] - item_sum) / total
        if coefficients[0] == 0:
            missing = propagate(missing[0] / total, missing[1] / total, graph, coefficients)
        users, items = users + missing[0], items + missing[1]
    return users, items


def from_neighbours(
    users: Tensor, items: Tensor, edges: Interactions, generator: torch.Generator
) -> EmbeddingPair:
    """Return embeddings with something in place of the zeros, which stand for what is not known.

    users (U, D), items (I, D) -> the same. It is the mean of the neighbours that are known, and a
    random vector of the others' spread where there are none.
    """
    rows = torch.from_numpy(edges.user_rows).long(), torch.from_numpy(edges.item_rows).long()
    users = _filled(users, items, *rows)
    items = _filled(items, users, *reversed(rows))
    spread = float(torch.cat([users, items]).std())
    return _drawn(users, spread, generator), _drawn(items, spread, generator)


def _known(half: Tensor) -> Tensor:
    """Return which rows (N,) are no zeros."""
    return half.abs().sum(1) > 0


def _filled(half: Tensor, other: Tensor, rows: Tensor, neighbours: Tensor) -> Tensor:
    """Return the half with the mean of the neighbours in the other half where it has zeros.

    half (N, D), other (M, D); rows, neighbours (E,): edges between them
    """
    asked = ~_known(half)[rows] & _known(other)[neighbours]
    rows, neighbours = rows[asked], neighbours[asked]
    sums = torch.zeros_like(half).index_add_(0, rows, other[neighbours])
    counts = torch.from_numpy(np.bincount(rows.numpy(), minlength=len(half))).clamp(min=1)
    return half + sums / counts[:, None]


def _drawn(half: Tensor, spread: float, generator: torch.Generator) -> Tensor:
    """Return the half with random rows where it has zeros."""
    drawn = torch.randn(half.shape, generator=generator) * spread
    return torch.where(_known(half)[:, None], half, drawn)
