"""EASE: each item predicted from the other items that a user had, by one ridge regression.

With R (U, I) the weighted interactions, D_u and D_i the degrees of users and items, exponents
a = user_exponent, b = item_exponent and c = output_exponent, and a penalty p:

    W  = D_u^(-a/2) R D_i^-b              (U, I)
    P  = (W^T W + l)^-1                   (I, I), l = p * the mean of the diagonal of W^T W
    B  = -P_ji / P_ii, and 0 for j = i    the weight of item j for item i
    scores  R D_i^-b B D_i^(b + c)        (U, I)

B is what minimises |W - W B|^2 + l |B|^2 with a diagonal of zeros (Steck 2019, "Embarrassingly
Shallow Autoencoders for Sparse Data", eq. 8). With b = 1/2 the penalty grows with an item's
popularity, as dropout on the input would have it (Steck 2020, "Autoencoders that don't overfit
towards the Identity").

For an item that a user did not have, the scores need nothing but the eigenvectors V of W^T W, for
with its eigenvalues S^2

    P = (1 - V F V^T) / l,  F = S^2 / (S^2 + l),  so  B_ji = (V F V^T)_ji / (1 - (V F V^T)_ii)

and cutting V to its D leading vectors makes inner products of embeddings:

    users   R D_i^-b V F^1/2                                      (U, D)
    items   D_i^(b + c) (1 - diag(V F V^T))^-1 V F^1/2            (I, D)

The diagonal is taken from all eigenvectors where the smaller side is small, from P itself up to
_EXACT items, and from the D vectors above.

With `neighbours` the model is lists in place of embeddings: the N largest weights of each item.

U users, I items, D dimensions, N neighbours.
"""

import torch
from torch import Tensor

from gnnrec_training.config import EaseConfig
from gnnrec_training.errors import InvalidConfig
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.models.item_lists import ListModel, largest, list_model
from gnnrec_training.models.spectral import Spectrum

_EXACT = 20_000
"""Up to so many items the matrix of the regression is inverted."""
_SMALL = 3_000
"""Where the smaller side has no more, all eigenvectors are computed."""
_HALF = 10_000
"""Up to so many items it is inverted in double precision."""
_LEAST = 1e-3


def ease_exponents(config: EaseConfig) -> tuple[float, float]:
    """Return the exponents of W's spectrum, those of users and items."""
    return config.user_exponent / 2, config.item_exponent


def ease_width(config: EaseConfig, users: int, items: int) -> int:
    """Return how many vectors the spectrum needs: all where the smaller side is small."""
    return items if min(users, items) <= _SMALL else config.embedding_dim


def ease(found: Spectrum, config: EaseConfig) -> tuple[EmbeddingPair, Tensor]:
    """Return the embeddings of users (U, D) and items (I, D), and the fold (I, D).

    found: of the configuration's exponents, and at least as wide. A user's embedding is the
    weighted sum of the fold's rows over the user's items.
    """
    penalty = _penalty(found, config)
    kept = (found.values / (found.values + penalty)).float()
    if not found.is_complete and len(found.vectors) <= _EXACT:
        rest = _inverse(found, penalty).diagonal().float() * penalty  # 1 - diag(V F V^T)
    else:
        rest = 1 - (found.vectors.square() * kept).sum(1)
    into, out = _scales(found, config)
    root = kept[: config.embedding_dim].sqrt()
    vectors = found.vectors[:, : config.embedding_dim] * root
    fold = vectors * into
    return (found.had @ fold, vectors * out / rest.clamp(min=_LEAST)[:, None]), fold


def ease_lists(found: Spectrum, config: EaseConfig) -> ListModel:
    """Return the `neighbours` largest weights of each item.

    Raises InvalidConfig where the items are too many for the whole regression.
    """
    items = len(found.vectors)
    if items > _EXACT:
        raise InvalidConfig(
            f"ease.neighbours needs the whole regression, and {items:,} items are too many for it "
            f"(at most {_EXACT:,}); set it to 0 for embeddings, or take [cooccurrence], which has "
            "lists at any size"
        )
    inverse = _inverse(found, _penalty(found, config))
    into, out = _scales(found, config)

    def weights(rows: Tensor) -> Tensor:
        of_rows = -(inverse[rows] / inverse.diagonal()).float() * into[rows] * out.T
        of_rows[torch.arange(len(rows)), rows] = 0
        return of_rows

    return list_model(found.had, found.item_degree, largest(weights, items, config.neighbours))


def _penalty(found: Spectrum, config: EaseConfig) -> float:
    return config.penalty * found.trace / len(found.vectors)


def _scales(found: Spectrum, config: EaseConfig) -> tuple[Tensor, Tensor]:
    """Return what interactions with an item (I, 1), and scores for it (I, 1), are multiplied by."""
    degree = found.item_degree
    return degree**-config.item_exponent, degree ** (config.item_exponent + config.output_exponent)


def _inverse(found: Spectrum, penalty: float) -> Tensor:
    """Return P (I, I), in double precision where that fits."""
    items = len(found.vectors)
    dtype = torch.float64 if items <= _HALF else torch.float32
    if found.is_complete:
        vectors = found.vectors.to(dtype)
        shares = (found.values / (found.values + penalty)).to(dtype)
        inverse = (vectors * -shares) @ vectors.T
        inverse.diagonal().add_(1)
        return inverse.div_(penalty)
    gram = found.gram(dtype)
    gram.diagonal().add_(penalty)
    return torch.cholesky_inverse(torch.linalg.cholesky(gram))
