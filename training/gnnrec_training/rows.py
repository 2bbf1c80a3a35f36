"""Propagation of one layer for the nodes of a batch alone: the same numbers for half the work.

B users and J items of a batch, U users, I items, D dimensions.
"""

from typing import Any

import torch
from torch import Tensor

from gnnrec_training.graph import Adjacency, csr_tensor


def take_rows(matrix: Tensor, rows: Tensor) -> Tensor:
    """Return some rows of a CSR matrix: (B, I)."""
    indptr = matrix.crow_indices()
    starts = indptr[rows].long()
    counts = indptr[rows + 1] - starts
    ends = counts.cumsum(0)
    lines = torch.repeat_interleave(counts)  # (E,): which of the rows each entry is in
    entries = torch.arange(len(lines), device=rows.device) + (starts - ends + counts)[lines]
    columns, values = matrix.col_indices()[entries], matrix.values()[entries]
    return csr_tensor(_offsets(ends), columns, values, (len(rows), matrix.shape[1]))


def transpose(matrix: Tensor) -> Tensor:
    """Return the transpose of a CSR matrix as one."""
    lines = torch.repeat_interleave(matrix.crow_indices().diff())
    columns, values = matrix.col_indices(), matrix.values()
    order = torch.argsort(columns, stable=True)
    ends = torch.bincount(columns, minlength=matrix.shape[1]).cumsum(0)
    height, width = matrix.shape
    return csr_tensor(_offsets(ends), lines[order].int(), values[order], (width, height))


def _offsets(ends: Tensor) -> Tensor:
    return torch.cat([ends.new_zeros(1), ends]).int()


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
