"""Sparse matrices by rows (CSR), in NumPy for look-ups and in torch for products.

U users, I items, E entries, B chosen rows.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec_training.data.dataset import Interactions
from gnnrec_training.data.sorting import order_by


@dataclass(frozen=True)
class Csr:
    """A sparse matrix by rows: indptr (rows + 1,), columns and values (E,), columns ascending."""

    indptr: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: NDArray[np.float32]

    def rows(self, which: NDArray[np.int64]) -> list[NDArray[np.int32]]:
        """Return the columns of some rows (B,), ascending."""
        return [self.columns[self.indptr[row] : self.indptr[row + 1]] for row in which]

    def positive(self) -> "Csr":
        """Return the entries whose value is above 0."""
        kept = self.values > 0
        before = np.concatenate([[0], np.cumsum(kept)])
        return Csr(before[self.indptr], self.columns[kept], self.values[kept])


def by_user(interactions: Interactions, users: int) -> Csr:
    """Return the weights of the interactions as a matrix by user: (U, I)."""
    order = order_by(interactions.user_rows, interactions.item_rows)
    counts = np.bincount(interactions.user_rows, minlength=users)
    return Csr(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        interactions.item_rows[order].astype(np.int32),
        interactions.weights[order],
    )


def sparse_matrix(
    rows: NDArray[Any], columns: NDArray[Any], values: NDArray[Any], shape: tuple[int, int]
) -> Tensor:
    """Return a CSR tensor of distinct entries, with int32 indices, columns ascending in each row.

    rows, columns, values (E,)
    """
    order = order_by(rows, columns)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    return csr_tensor(
        torch.from_numpy(indptr.astype(np.int32)),
        torch.from_numpy(columns[order].astype(np.int32)),
        torch.from_numpy(values[order].astype(np.float32)),
        shape,
    )


def csr_tensor(indptr: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a CSR tensor of its parts: indptr (rows + 1,), columns and values (E,)."""
    with warnings.catch_warnings():
        # torch announces at the first use that sparse CSR is in beta
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(indptr, columns, values, size=shape, check_invariants=False)


def take_rows(matrix: Tensor, rows: Tensor) -> Tensor:
    """Return some rows of a CSR matrix as one: (R, I), rows (B,) -> (B, I)."""
    indptr = matrix.crow_indices()
    starts = indptr[rows].long()
    counts = indptr[rows + 1] - starts
    ends = counts.cumsum(0)
    lines = torch.repeat_interleave(counts)  # (E,): the place in rows of each entry
    entries = torch.arange(len(lines), device=rows.device) + (starts - ends + counts)[lines]
    columns, values = matrix.col_indices()[entries], matrix.values()[entries]
    return csr_tensor(_offsets(ends), columns, values, (len(rows), matrix.shape[1]))


def transpose(matrix: Tensor) -> Tensor:
    """Return the transpose of a CSR matrix as one: (R, I) -> (I, R)."""
    lines = torch.repeat_interleave(matrix.crow_indices().diff())
    columns, values = matrix.col_indices(), matrix.values()
    order = torch.argsort(columns, stable=True)
    ends = torch.bincount(columns, minlength=matrix.shape[1]).cumsum(0)
    height, width = matrix.shape
    return csr_tensor(_offsets(ends), lines[order].int(), values[order], (width, height))


def _offsets(ends: Tensor) -> Tensor:
    """Return the indptr of rows that end so."""
    return torch.cat([ends.new_zeros(1), ends]).int()
