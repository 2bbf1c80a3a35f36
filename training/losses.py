"""Losses as free functions. B examples in a batch, D dimensions."""

import torch.nn.functional as F
from torch import Tensor


def bpr(positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
    """Return the mean of -log sigmoid(positive - negative): (B,), (B,) -> ().

    Rendle et al. 2009, "BPR: Bayesian Personalized Ranking", eq. 4.
    """
    return F.softplus(negative_scores - positive_scores).mean()


def l2(*layer0: Tensor) -> Tensor:
    """Return half the squared length of a batch's layer-0 embeddings, by example.

    (B, D)... -> ()

    The penalty belongs on layer 0: on propagated embeddings LightGCN's results do not come out.
    """
    squares = sum((part.square().sum() for part in layer0), start=layer0[0].new_zeros(()))
    return 0.5 * squares / len(layer0[0])
