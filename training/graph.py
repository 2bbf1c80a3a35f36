"""The bipartite graph of users and items, and propagation over it.

U users, I items, N = U + I nodes (users first), D dimensions.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.dataset import Interactions


@dataclass(frozen=True)
class Csr:
    """A sparse matrix by rows: indptr (rows + 1,), columns and values (E,), columns ascending."""

    indptr: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: NDArray[np.float32]


def csr(interactions: Interactions, users: int) -> Csr:
    """Return the interactions by user: (U, I)."""
    order = np.lexsort((interactions.item_rows, interactions.user_rows))
    counts = np.bincount(interactions.user_rows, minlength=users)
    return Csr(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        interactions.item_rows[order].astype(np.int32),
        interactions.weights[order],
    )


def normalised_adjacency(interactions: Interactions, users: int, items: int) -> Tensor:
    """Return D^-1/2 A D^-1/2 of the bipartite graph as an int32 CSR tensor (N, N), symmetric.

    A holds the interactions' weights, D their sums by node (He et al. 2020, LightGCN, eq. 8). The
    int32 indices are what lets MKL multiply: a COO tensor takes several times as long.
    """
    weights = interactions.weights.astype(np.float64)
    user_degree = np.bincount(interactions.user_rows, weights, minlength=users)
    item_degree = np.bincount(interactions.item_rows, weights, minlength=items)
    scale = np.sqrt(user_degree[interactions.user_rows] * item_degree[interactions.item_rows])
    nodes = np.int32(users) + interactions.item_rows
    source = np.concatenate([interactions.user_rows, nodes])
    target = np.concatenate([nodes, interactions.user_rows])
    values = np.tile((weights / scale).astype(np.float32), 2)
    order = np.lexsort((target, source))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=users + items))])
    return sparse_tensor(indptr, target[order], values[order], (users + items, users + items))


def sparse_tensor(
    indptr: NDArray[Any],
    columns: NDArray[Any],
    values: NDArray[np.float32],
    shape: tuple[int, int],
) -> Tensor:
    """Return an int32 CSR tensor."""
    with warnings.catch_warnings():
        # torch announces at the first use that sparse CSR is in beta
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(indptr.astype(np.int32)),
            torch.from_numpy(columns.astype(np.int32)),
            torch.from_numpy(values),
            size=shape,
            check_invariants=False,
        )


class _Propagate(torch.autograd.Function):
    """sum over k of coefficients[k] * Â^k E. Â is symmetric, so the backward pass is the same."""

    @staticmethod
    def forward(
        ctx: Any, embeddings: Tensor, adjacency: Tensor, coefficients: list[float]
    ) -> Tensor:
        ctx.adjacency, ctx.coefficients = adjacency, coefficients
        return _polynomial(adjacency, coefficients, embeddings)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _polynomial(ctx.adjacency, ctx.coefficients, gradients[0]), None, None


def propagate(embeddings: Tensor, adjacency: Tensor, coefficients: list[float]) -> Tensor:
    """Return the weighted sum of the layers 0..K, differentiable in the embeddings.

    embeddings (N, D), adjacency (N, N) -> (N, D); coefficients: one for each layer
    """
    result: Tensor = _Propagate.apply(embeddings, adjacency, coefficients)  # type: ignore[no-untyped-call]
    return result


def _polynomial(adjacency: Tensor, coefficients: list[float], dense: Tensor) -> Tensor:
    """Evaluate the polynomial in Â by Horner's rule: one product for each layer."""
    result = coefficients[-1] * dense
    for coefficient in reversed(coefficients[:-1]):
        result = torch.addmm(dense, adjacency, result, beta=coefficient)
    return result
