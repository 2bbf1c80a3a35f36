"""The losses as functions of scores. B examples in a batch, C candidates, D dimensions."""

import torch.nn.functional as F
from torch import Tensor


def bpr(positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
    """Return the mean of -log sigmoid(positive - negative): (B,), (B,) -> ().

    Rendle et al. 2009, "BPR: Bayesian Personalized Ranking", eq. 4.
    """
    return F.softplus(negative_scores - positive_scores).mean()


def bce(positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
    """Return the mean of -log sigmoid(positive) plus the mean of -log sigmoid(-negative).

    (B,), (M,) -> (). The binary cross-entropy of link prediction.
    """
    return F.softplus(-positive_scores).mean() + F.softplus(negative_scores).mean()


def softmax(
    positive_sums: Tensor, log_sums: Tensor, counts: Tensor, negative_exponent: float = 1.0
) -> Tensor:
    """Return the mean over positives of -(score) + negative_exponent * log-sum-exp(negatives).

    positive_sums (): the sum of the scores of all positives; log_sums (): the sum over users of
    what their positives count times the log-sum-exp of their negatives; counts (B,): what the
    positives of each user count together -> (). A user without negatives must count 0 in all three.

    Scores come divided by the temperature. The positive itself is not in its denominator. With an
    exponent of 1 it is the sampled softmax loss (Wu et al. 2022, "On the Effectiveness of Sampled
    Softmax Loss for Item Recommendation"); another one makes it bilateral, where it stands for the
    ratio of the two temperatures (Wu et al. 2024, "BSL: Understanding and Improving Softmax Loss
    for Recommendation").
    """
    return (negative_exponent * log_sums - positive_sums) / counts.sum().clamp(min=1e-6)


def listwise(scores: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of -log softmax(scores) over the targets: (B, C) thrice -> ().

    target: 1 for the items to be found, else 0; weights: what each counts, (B, C) or broadcast to
    it. An item with a score of -inf takes no part; its target must be 0.
    """
    shares = scores - scores.logsumexp(1, keepdim=True)
    counted = weights * target
    return -(counted * shares.masked_fill(target == 0, 0)).sum() / counted.sum()


def l2(*layer0: Tensor) -> Tensor:
    """Return half the squared lengths of a batch's layer-0 embeddings, divided by its examples.

    (B, D), and others (any, D) -> (). Examples are the rows of the first.

    As in LightGCN the penalty is on layer 0. On propagated embeddings it gives worse models.
    """
    squares = sum((part.square().sum() for part in layer0), start=layer0[0].new_zeros(()))
    return 0.5 * squares / len(layer0[0])
