"""Alternating least squares: matrix factorization for implicit feedback, solved side by side.

With weights r_ui of the interactions and a confidence c, the embeddings minimise

    sum over all users u and items i of (1 + c r_ui) (p_ui - <x_u, y_i>)^2
        + l * (sum of |x_u|^2 + sum of |y_i|^2),     p_ui = 1 for interactions, 0 for all others

by solving for all users, then for all items, and so on (Hu, Koren and Volinsky 2008, "Collaborative
Filtering for Implicit Feedback Datasets", eq. 4):

    x_u = (Y^T Y + l + c sum over i of r_ui y_i y_i^T)^-1  sum over i of (1 + c r_ui) y_i

A new user's embedding would be such a solution as well. What is published in its place is the
linear map of the sum of their items' embeddings that comes closest to it over all users.

U users, I items, E interactions, D dimensions.
"""

import numpy as np
import torch
from torch import Tensor

from gnnrec_training.config import AlsConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.graph.sparse import sparse_matrix
from gnnrec_training.models.fold_in import predictor
from gnnrec_training.reporter import ShareDone

_INIT_STD = 0.1
_NUMBERS = 1 << 24
"""How many numbers of gathered embeddings, and of matrices to be solved, are held at once."""
FOLD_EXPONENT = 0.5
"""The sum over a new user's items is divided by their total weight to this power."""


def als(
    train: Interactions,
    users: int,
    items: int,
    config: AlsConfig,
    generator: torch.Generator,
    share_done: ShareDone = lambda share: None,
) -> tuple[EmbeddingPair, Tensor]:
    """Return the embeddings of users (U, D) and items (I, D), and the fold (I, D).

    A new user's embedding is the weighted sum of the fold's rows over their items, divided by the
    total weight to the power FOLD_EXPONENT.
    """
    by_users = sparse_matrix(train.user_rows, train.item_rows, train.weights, (users, items))
    by_items = sparse_matrix(train.item_rows, train.user_rows, train.weights, (items, users))
    item_half = _INIT_STD * torch.randn(items, config.embedding_dim, generator=generator)
    for sweep in range(config.sweeps):
        user_half = _solved(by_users, item_half, config)
        item_half = _solved(by_items, user_half, config)
        share_done((sweep + 1) / config.sweeps)
    totals = torch.from_numpy(np.bincount(train.user_rows, train.weights, users)).float()
    there = totals > 0
    sums = (by_users @ item_half)[there] / totals[there][:, None] ** FOLD_EXPONENT
    return (user_half, item_half), item_half @ predictor(sums, user_half[there])


def _solved(matrix: Tensor, other: Tensor, config: AlsConfig) -> Tensor:
    """Return the embeddings of one side (N, D), given those of the other (M, D): matrix (N, M)."""
    width = other.shape[1]
    shared = other.T @ other + config.penalty * torch.eye(width)
    indptr = matrix.crow_indices().long()
    columns, weights = matrix.col_indices().long(), matrix.values()
    solved = torch.zeros(len(indptr) - 1, width)
    for rows in _blocks(indptr, width):
        start, stop = int(indptr[rows.start]), int(indptr[rows.stop])
        counts = indptr[rows.start : rows.stop + 1].diff()
        taken = other[columns[start:stop]]
        extra = config.confidence * weights[start:stop, None]
        lengths = counts.tolist()
        outer = torch.stack(
            [
                mine.T @ (mine * more)
                for mine, more in zip(
                    torch.split(taken, lengths), torch.split(extra, lengths), strict=True
                )
            ]
        )
        lines = torch.repeat_interleave(torch.arange(len(counts)), counts)
        sums = torch.zeros(len(counts), width).index_add_(0, lines, taken * (1 + extra))
        factor = torch.linalg.cholesky(outer + shared)
        solved[rows.start : rows.stop] = torch.cholesky_solve(sums[:, :, None], factor)[:, :, 0]
    return solved


def _blocks(indptr: Tensor, width: int) -> list[range]:
    """Return runs of rows whose entries and matrices fit into memory; a long row is alone."""
    bounds = indptr.tolist()
    most_rows, most_entries = max(1, _NUMBERS // width**2), max(1, _NUMBERS // width)
    blocks, start = [], 0
    for row in range(1, len(bounds)):
        full = row - start >= most_rows or bounds[row] - bounds[start] >= most_entries
        if full or row == len(bounds) - 1:
            blocks.append(range(start, row))
            start = row
    return blocks
