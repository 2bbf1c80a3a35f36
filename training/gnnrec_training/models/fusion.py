"""Several models as one: the sum of their scores is the inner product of joined embeddings.

U users, I items, D dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gnnrec_registry import ItemLists
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.graph.sparse import Csr, by_user

_SAMPLE = 2048


@dataclass(frozen=True)
class Part:
    """A model to be fused: its embeddings, and what lists add to its scores."""

    embeddings: EmbeddingPair
    lists: ItemLists | None = None
    """A model with lists has nothing else that matters: its embeddings are left out."""


def spreads(parts: Sequence[Part], edges: Interactions) -> list[float]:
    """Return the standard deviation of the scores of each part.

    It is taken over a sample of users and the items of the edges, so that items count by how
    popular they are and the many that nobody would be recommended do not matter.
    """
    sample = _sample(edges)
    return [max(_deviation(part, *sample), 1e-30) for part in parts]


def scales(parts: Sequence[Part], weights: Sequence[float], edges: Interactions) -> list[float]:
    """Return what the scores of each part are multiplied by before they are added up.

    That is weight * deviation of the first part's scores / deviation of its own: the weight itself
    where all parts' scores have the same standard deviation.
    """
    found = spreads(parts, edges)
    return [weight * found[0] / spread for weight, spread in zip(weights, found, strict=True)]


def fuse(parts: Sequence[Part], factors: Sequence[float]) -> EmbeddingPair:
    """Return embeddings whose scores are the sum of factor times those of each part.

    Parts with embeddings (U, D1), (I, D1) and so on -> (U, D), (I, D), D the sum of all Ds. Without
    any such part D is 1 and all scores are zero.
    """
    dense = [(part, factor) for part, factor in zip(parts, factors, strict=True) if not part.lists]
    if not dense:
        users, items = (len(half) for half in parts[0].embeddings)
        return torch.zeros(users, 1), torch.zeros(items, 1)
    return (
        torch.cat([part.embeddings[0] * factor for part, factor in dense], 1),
        torch.cat([part.embeddings[1] for part, _ in dense], 1),
    )


def compress(embeddings: EmbeddingPair, width: int) -> EmbeddingPair:
    """Return the embeddings of `width` whose scores come closest to those given.

    (U, D), (I, D) -> (U, width), (I, width)

    Closest in squared error, each user's scores divided by the length of the user's embedding so
    that all users count alike. With X the users at unit length and Y the items, that is the
    singular value decomposition of X Y^T cut to `width` (Eckart and Young 1936). It is found from
    Gram matrices: with (X^T X)^1/2 (Y^T Y)^1/2 = P S Q^T cut to `width`, the users are multiplied
    by (X^T X)^-1/2 P S^1/2 and the items by (Y^T Y)^-1/2 Q S^1/2.
    """
    users, items = embeddings
    lengths = users.norm(dim=1, keepdim=True).clamp(min=1e-12)
    user_root, user_inverse = _roots((users / lengths).T @ (users / lengths))
    item_root, item_inverse = _roots(items.T @ items)
    left, values, right = torch.linalg.svd(user_root @ item_root)
    kept = values[:width].sqrt()
    to_users = user_inverse @ (left[:, :width] * kept)
    to_items = item_inverse @ (right[:width].T * kept)
    return users @ to_users.float(), items @ to_items.float()


def _roots(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return the symmetric square root of a Gram matrix and its pseudo-inverse, in float64."""
    values, vectors = torch.linalg.eigh(gram.double())
    values = values.clamp(min=values.max() * 1e-10).sqrt()
    return (vectors * values) @ vectors.T, (vectors / values) @ vectors.T


Sample = tuple[Tensor, Tensor, Csr]
"""Rows of users (B,), rows of items (C,), and the items that the users had (B, I)."""


def _sample(edges: Interactions) -> Sample:
    """Return evenly spaced users and interactions' items, at most _SAMPLE of each."""
    users, _ = np.unique(edges.user_rows, return_index=True)
    users = users[:: -(-len(users) // _SAMPLE)]
    step = -(-len(edges) // _SAMPLE)
    had = by_user(edges, int(edges.user_rows.max()) + 1)
    return (
        torch.from_numpy(users.astype(np.int64)),
        torch.from_numpy(edges.item_rows[::step].astype(np.int64)),
        had,
    )


def _deviation(part: Part, users: Tensor, items: Tensor, had: Csr) -> float:
    """Return the standard deviation of the scores that a sample of users give some items."""
    if part.lists is None:
        user_half, item_half = part.embeddings
        return float((user_half[users] @ item_half[items].T).std(correction=0))
    width = len(part.lists)
    scores = np.zeros((len(users), width), np.float32)
    for line, history in enumerate(had.rows(users.numpy())):
        rows, sums = part.lists.added(history)
        scores[line, rows] = sums
    return float(scores[:, items.numpy()].std())
