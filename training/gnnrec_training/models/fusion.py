"""Two models as one: the sum of their scores is the inner product of concatenated embeddings.

U users, I items, D and D' dimensions.
"""

import torch
from torch import Tensor

from gnnrec_training.graph.propagation import EmbeddingPair

_SAMPLE = 4096


def fuse(
    first: EmbeddingPair, second: EmbeddingPair, weight: float, competing: Tensor
) -> tuple[EmbeddingPair, float]:
    """Return embeddings whose scores are those of the first plus scale times those of the second.

    (U, D), (I, D) and (U, D'), (I, D') -> (U, D + D'), (I, D + D'), and the scale, which the second
    users are multiplied by.

    The scale is `weight` where both models' scores have the same standard deviation, and in
    general weight * deviation of the first / deviation of the second. competing (C,): the item
    rows over which the deviations are taken, those of the interactions, so that items count by how
    popular they are and the many that nobody would be recommended do not matter.
    """
    sample = competing[:: max(1, len(competing) // _SAMPLE)]
    scale = weight * _deviation(first, sample) / _deviation(second, sample)
    joint = torch.cat([first[0], second[0] * scale], 1), torch.cat([first[1], second[1]], 1)
    return joint, scale


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


def _deviation(embeddings: EmbeddingPair, item_rows: Tensor) -> float:
    """Return the standard deviation of the scores that a sample of users give some items."""
    users, items = embeddings
    sample = users[:: max(1, len(users) // _SAMPLE)]
    return float((sample @ items[item_rows].T).std())
