"""Propagation of embeddings over the graph, for all nodes or for those of a batch.

With E the embeddings of users above those of items, and A the normalised adjacency

    A = | 0         to_users |        to_users (U, I)
        | to_items  0        |        to_items (I, U)

K layers are a polynomial in A (He et al. 2020, "LightGCN", eq. 7 and 8):

    E*     = sum over k = 0..K of c_k A^k E
    dL/dE  = sum over k = 0..K of c_k (A^T)^k dL/dE*

Both are evaluated by Horner's rule, S_K = c_K E and S_k = c_k E + A S_{k+1}: one sparse product a
layer, and no layer has to be kept for the backward pass.

With K = 1 a batch's nodes need only their own rows. For B distinct users with rows R_B of to_users,
J distinct items, and the gradients G_u (B, D) and G_i (J, D) of their final embeddings:

    users   c_0 E_u[B] + c_1 R_B E_i                   (B, D)
    items   c_0 E_i[J] + c_1 (to_items E_u)[J]         (J, D)
    dL/dE_u = c_0 G_u at the rows B + c_1 to_items^T (G_i at the rows J)
    dL/dE_i = c_0 G_i at the rows J + c_1 R_B^T G_u

    users (U, D)    items (I, D)    user_rows (B,)    item_rows (J,)    coefficients c: K + 1

U users, I items, D dimensions, K layers.
"""

from typing import Any

import torch
from torch import Tensor

from gnnrec_training.graph.adjacency import Adjacency
from gnnrec_training.graph.sparse import take_rows, transpose

EmbeddingPair = tuple[Tensor, Tensor]
"""The embeddings of users (U, D) and of items (I, D)."""


class _Propagate(torch.autograd.Function):
    """The sum over k of c_k A^k E; the gradient is the same with A transposed."""

    @staticmethod
    def forward(
        ctx: Any, users: Tensor, items: Tensor, graph: Adjacency, coefficients: list[float]
    ) -> EmbeddingPair:
        ctx.graph, ctx.coefficients = graph, coefficients
        return _polynomial(graph.to_users, graph.to_items, coefficients, users, items)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        graph = ctx.graph
        blocks = (graph.to_items_transposed, graph.to_users_transposed)
        users, items = _polynomial(*blocks, ctx.coefficients, *gradients)
        return users, items, None, None


def propagate(
    users: Tensor, items: Tensor, graph: Adjacency, coefficients: list[float]
) -> EmbeddingPair:
    """Return the weighted sum of the layers 0..K, differentiable in the embeddings.

    users (U, D), items (I, D) -> (U, D), (I, D); coefficients: one for each layer
    """
    result: EmbeddingPair = _Propagate.apply(users, items, graph, coefficients)  # type: ignore[no-untyped-call]
    return result


def _polynomial(
    to_users: Tensor, to_items: Tensor, coefficients: list[float], users: Tensor, items: Tensor
) -> EmbeddingPair:
    """Return the polynomial in the adjacency, by Horner's rule."""
    last = coefficients[-1]
    sum_users, sum_items = last * users, last * items
    for coefficient in reversed(coefficients[:-1]):
        sum_users, sum_items = (
            torch.addmm(users, to_users, sum_items, beta=coefficient),
            torch.addmm(items, to_items, sum_users, beta=coefficient),
        )
    return sum_users, sum_items


class _PropagateRows(torch.autograd.Function):
    """c_0 E + c_1 A E at chosen users and chosen items."""

    @staticmethod
    def forward(
        ctx: Any,
        users: Tensor,
        items: Tensor,
        graph: Adjacency,
        coefficients: list[float],
        user_rows: Tensor,
        item_rows: Tensor,
    ) -> tuple[Tensor, Tensor]:
        own, near = coefficients
        taken = take_rows(graph.to_users, user_rows)
        ctx.graph, ctx.coefficients, ctx.transposed = graph, coefficients, transpose(taken)
        ctx.user_rows, ctx.item_rows = user_rows, item_rows
        return (
            torch.addmm(users[user_rows], taken, items, beta=own, alpha=near),
            # for items the whole product costs less than to take their rows and transpose those
            (graph.to_items @ users)[item_rows].mul_(near).add_(items[item_rows], alpha=own),
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        own, near = ctx.coefficients
        of_users, of_items = gradients
        items = of_items.new_zeros(ctx.graph.items, of_items.shape[1])
        items[ctx.item_rows] = of_items  # the rows are distinct: nothing is overwritten
        users = (ctx.graph.to_items_transposed @ items).mul_(near)
        users[ctx.user_rows] += own * of_users
        items = torch.addmm(items, ctx.transposed, of_users, beta=own, alpha=near)
        return users, items, None, None, None, None


def propagate_rows(
    users: Tensor,
    items: Tensor,
    graph: Adjacency,
    coefficients: list[float],
    user_rows: Tensor,
    item_rows: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of the layers 0 and 1 for distinct users and distinct items.

    users (U, D), items (I, D), user_rows (B,), item_rows (J,) -> (B, D), (J, D)
    """
    result: tuple[Tensor, Tensor] = _PropagateRows.apply(  # type: ignore[no-untyped-call]
        users, items, graph, coefficients, user_rows, item_rows
    )
    return result
