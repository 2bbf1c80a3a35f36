"""Propagation of embeddings over the graph."""

from typing import Any

import torch
from torch import Tensor

from gnnrec_training.graph.adjacency import Adjacency
from gnnrec_training.graph.sparse import take_rows, transpose

EmbeddingPair = tuple[Tensor, Tensor]
"""The embeddings of users (U, D) and of items (I, D)."""


class _Propagate(torch.autograd.Function):
    """sum over k of coefficients[k] * A^k E; the gradient is the same with A transposed."""

    @staticmethod
    def forward(
        ctx: Any, users: Tensor, items: Tensor, graph: Adjacency, coefficients: list[float]
    ) -> EmbeddingPair:
        ctx.graph, ctx.coefficients = graph, coefficients
        return _polynomial(graph.to_users, graph.to_items, coefficients, users, items)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        graph = ctx.graph
        halves = (graph.to_items_transposed, graph.to_users_transposed)
        users, items = _polynomial(*halves, ctx.coefficients, *gradients)
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
    """Evaluate the polynomial in the adjacency by Horner's rule: one product for each layer."""
    last = coefficients[-1]
    sum_users, sum_items = last * users, last * items
    for coefficient in reversed(coefficients[:-1]):
        sum_users, sum_items = (
            torch.addmm(users, to_users, sum_items, beta=coefficient),
            torch.addmm(items, to_items, sum_users, beta=coefficient),
        )
    return sum_users, sum_items


class _PropagateRows(torch.autograd.Function):
    """c0 * E + c1 * A E for chosen users and chosen items."""

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
            # the product for all items costs less than taking the rows and their transpose
            (graph.to_items @ users)[item_rows].mul_(near).add_(items[item_rows], alpha=own),
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        own, near = ctx.coefficients
        of_users, of_items = gradients
        items = of_items.new_zeros(ctx.graph.items, of_items.shape[1])
        items[ctx.item_rows] = of_items  # the rows are distinct, here and below
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
    """Return the sum of the layers 0 and 1 for some users and some items, distinct rows both.

    users (U, D), items (I, D), user_rows (B,), item_rows (J,) -> (B, D), (J, D)
    """
    result: tuple[Tensor, Tensor] = _PropagateRows.apply(  # type: ignore[no-untyped-call]
        users, items, graph, coefficients, user_rows, item_rows
    )
    return result
