"""Two models as one: a sum of scores is the inner product of joined embeddings.

U users, I items, D and D' dimensions.
"""

import torch
from torch import Tensor

from gnnrec_training.graph.propagation import EmbeddingPair

_SAMPLE = 4096


def fuse(
    first: EmbeddingPair, second: EmbeddingPair, weight: float, competing: Tensor
) -> tuple[EmbeddingPair, float]:
    """Return embeddings whose scores are first + weight * second, brought to the same spread.

    (U, D), (I, D) and (U, D'), (I, D') -> (U, D + D'), (I, D + D'), and the factor of the second
    users.

    The spread is that of the scores of `competing` (C,), item rows as often as they are popular:
    among the items that contend for a list, not among the many that never do.
    """
    sample = competing[:: max(1, len(competing) // _SAMPLE)]
    scale = weight * _spread(first, sample) / _spread(second, sample)
    joint = torch.cat([first[0], second[0] * scale], 1), torch.cat([first[1], second[1]], 1)
    return joint, scale


def compress(halves: EmbeddingPair, width: int) -> EmbeddingPair:
    """Return the embeddings of `width` that reproduce the scores best, every user counting alike.

    (U, D), (I, D) -> (U, width), (I, width)

    A truncated singular value decomposition of the score matrix, its rows divided by the users'
    lengths, found through the Gram matrices of both halves (Eckart and Young 1936).
    """
    users, items = halves
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


def _spread(halves: EmbeddingPair, item_rows: Tensor) -> float:
    """Return the standard deviation of the scores of users spread over the rows."""
    users = halves[0][:: max(1, len(halves[0]) // _SAMPLE)]
    return float((users @ halves[1][item_rows].T).std())
