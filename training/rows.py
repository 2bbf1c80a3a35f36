"""Propagation of one layer for the users of a batch alone: the same numbers for half the work.

B users of a batch, U users, I items, D dimensions.
"""

from typing import Any

import torch
from torch import Tensor

from training.graph import Adjacency, csr_tensor


def take_rows(matrix: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return some rows of a CSR matrix and the transpose of that: (B, I), (I, B)."""
    indptr, columns, values = matrix.crow_indices(), matrix.col_indices(), matrix.values()
    starts = indptr[rows].long()
    counts = indptr[rows + 1] - starts
    ends = counts.cumsum(0)
    lines = torch.repeat_interleave(counts)  # (E,): which of the rows each entry is in
    entries = torch.arange(len(lines), device=rows.device) + (starts - ends + counts)[lines]
    zero = ends.new_zeros(1)
    columns, values = columns[entries], values[entries]
    taken = csr_tensor(torch.cat([zero, ends]).int(), columns, values, (len(rows), matrix.shape[1]))
    order = torch.argsort(columns, stable=True)
    heights = torch.bincount(columns, minlength=matrix.shape[1]).cumsum(0)
    transposed = csr_tensor(
        torch.cat([zero, heights]).int(),
        lines[order].int(),
        values[order],
        (matrix.shape[1], len(rows)),
    )
    return taken, transposed


class _PropagateRows(torch.autograd.Function):
    """c0 * E + c1 * A E for chosen users and all items."""

    @staticmethod
    def forward(
        ctx: Any,
        users: Tensor,
        items: Tensor,
        graph: Adjacency,
        coefficients: list[float],
        rows: Tensor,
    ) -> tuple[Tensor, Tensor]:
        own, near = coefficients
        taken, transposed = take_rows(graph.to_users, rows)
        ctx.graph, ctx.coefficients, ctx.rows, ctx.transposed = (
            graph,
            coefficients,
            rows,
            transposed,
        )
        return (
            torch.addmm(users[rows], taken, items, beta=own, alpha=near),
            torch.addmm(items, graph.to_items, users, beta=own, alpha=near),
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        own, near = ctx.coefficients
        of_users, of_items = gradients
        users = ctx.graph.to_items_transposed @ of_items * near
        users[ctx.rows] += own * of_users  # the rows are distinct
        items = torch.addmm(of_items, ctx.transposed, of_users, beta=own, alpha=near)
        return users, items, None, None, None


def propagate_rows(
    users: Tensor, items: Tensor, graph: Adjacency, coefficients: list[float], rows: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the sum of the layers 0 and 1 for the users `rows`, distinct, and for all items.

    users (U, D), items (I, D), rows (B,) -> (B, D), (I, D)
    """
    result: tuple[Tensor, Tensor] = _PropagateRows.apply(users, items, graph, coefficients, rows)  # type: ignore[no-untyped-call]
    return result
