"""The bipartite graph of users and items, and propagation over it.

U users, I items, N = U + I nodes (users first), D dimensions, K layers.
"""

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec_registry import VariantExport
from gnnrec_training.config import GraphConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.order import order_by

_DAY_S = 86_400.0


@dataclass(frozen=True)
class Csr:
    """A sparse matrix by rows: indptr (rows + 1,), columns and values (E,), columns ascending."""

    indptr: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: NDArray[np.float32]


def csr(interactions: Interactions, users: int) -> Csr:
    """Return the interactions by user: (U, I)."""
    order = order_by(interactions.user_rows, interactions.item_rows)
    counts = np.bincount(interactions.user_rows, minlength=users)
    return Csr(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        interactions.item_rows[order].astype(np.int32),
        interactions.weights[order],
    )


def as_of(train: Interactions, config: GraphConfig) -> float | None:
    """Return the moment that decay counts back from, if there is decay."""
    if config.half_life_days is None or train.times is None:
        return None
    return float(train.times.max()) if config.as_of is None else config.as_of


def edges(train: Interactions, config: GraphConfig) -> Interactions:
    """Return the interactions with the weights that they have as edges.

    With a half-life h an edge of age a counts 2^(-a/h); interactions after `as_of` count fully.
    """
    weights = train.weights if config.weighted else np.ones_like(train.weights)
    moment = as_of(train, config)
    if moment is not None and train.times is not None and config.half_life_days is not None:
        age = np.maximum(moment - train.times, 0) / (config.half_life_days * _DAY_S)
        # so old that it no longer counts is still an edge: a degree of 0 would divide
        weights = (weights * np.maximum(np.exp2(-age), 1e-6)).astype(np.float32)
    return Interactions(train.user_rows, train.item_rows, weights)


@dataclass(frozen=True)
class Adjacency:
    """The normalised graph in two halves and their transposes, as int32 CSR tensors.

    to_users (U, I): what users take from items; to_items (I, U): what items take from users. With
    the symmetric normalisation each is the other's transpose, and only two tensors exist.
    """

    to_users: Tensor
    to_items: Tensor
    to_users_transposed: Tensor
    to_items_transposed: Tensor

    @property
    def users(self) -> int:
        """U."""
        return self.to_users.shape[0]

    @property
    def items(self) -> int:
        """I."""
        return self.to_users.shape[1]

    def to(self, device: torch.device) -> "Adjacency":
        """Return it on a device."""
        to_users, to_items = self.to_users.to(device), self.to_items.to(device)
        if self.to_users_transposed is self.to_items:
            return Adjacency(to_users, to_items, to_items, to_users)
        transposed = (self.to_users_transposed, self.to_items_transposed)
        return Adjacency(to_users, to_items, *(half.to(device) for half in transposed))


def adjacency(
    interactions: Interactions,
    users: int,
    items: int,
    aggregation: Literal["symmetric", "mean"] = "symmetric",
) -> Adjacency:
    """Return the graph, normalised by the sums of the weights at each node.

    symmetric: w / sqrt(d_u d_i) (He et al. 2020, LightGCN, eq. 3); mean: w / d of the node that
    takes. The int32 indices are what lets MKL multiply: a COO tensor takes several times as long.
    """
    rows, columns = interactions.user_rows, interactions.item_rows
    weights = interactions.weights.astype(np.float64)
    user_degree = np.bincount(rows, weights, minlength=users)[rows]
    item_degree = np.bincount(columns, weights, minlength=items)[columns]
    forward = partial(sparse_matrix, rows, columns, shape=(users, items))
    backward = partial(sparse_matrix, columns, rows, shape=(items, users))
    if aggregation == "symmetric":
        values = weights / np.sqrt(user_degree * item_degree)
        to_users, to_items = forward(values), backward(values)
        return Adjacency(to_users, to_items, to_items, to_users)
    by_user, by_item = weights / user_degree, weights / item_degree
    return Adjacency(forward(by_user), backward(by_item), backward(by_user), forward(by_item))


def sparse_matrix(
    rows: NDArray[Any], columns: NDArray[Any], values: NDArray[Any], shape: tuple[int, int]
) -> Tensor:
    """Return an int32 CSR tensor of distinct entries, columns ascending in each row."""
    order = order_by(rows, columns)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    return csr_tensor(
        torch.from_numpy(indptr.astype(np.int32)),
        torch.from_numpy(columns[order].astype(np.int32)),
        torch.from_numpy(values[order].astype(np.float32)),
        shape,
    )


def csr_tensor(indptr: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a sparse CSR tensor of its parts."""
    with warnings.catch_warnings():
        # torch announces at the first use that sparse CSR is in beta
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(indptr, columns, values, size=shape, check_invariants=False)


Halves = tuple[Tensor, Tensor]
"""Users (U, D) and items (I, D)."""


def tensors(variant: VariantExport) -> Halves:
    """Return the embeddings of an export as tensors that share its memory."""
    return torch.from_numpy(variant.users), torch.from_numpy(variant.items)


class _Propagate(torch.autograd.Function):
    """sum over k of coefficients[k] * A^k E; the gradient is the same with A transposed."""

    @staticmethod
    def forward(
        ctx: Any, users: Tensor, items: Tensor, graph: Adjacency, coefficients: list[float]
    ) -> Halves:
        ctx.graph, ctx.coefficients = graph, coefficients
        return _polynomial(graph.to_users, graph.to_items, coefficients, users, items)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        graph = ctx.graph
        halves = (graph.to_items_transposed, graph.to_users_transposed)
        users, items = _polynomial(*halves, ctx.coefficients, *gradients)
        return users, items, None, None


def propagate(users: Tensor, items: Tensor, graph: Adjacency, coefficients: list[float]) -> Halves:
    """Return the weighted sum of the layers 0..K, differentiable in the embeddings.

    users (U, D), items (I, D) -> (U, D), (I, D); coefficients: one for each layer
    """
    result: Halves = _Propagate.apply(users, items, graph, coefficients)  # type: ignore[no-untyped-call]
    return result


def _polynomial(
    to_users: Tensor, to_items: Tensor, coefficients: list[float], users: Tensor, items: Tensor
) -> Halves:
    """Evaluate the polynomial in the adjacency by Horner's rule: one product for each layer."""
    last = coefficients[-1]
    sum_users, sum_items = last * users, last * items
    for coefficient in reversed(coefficients[:-1]):
        sum_users, sum_items = (
            torch.addmm(users, to_users, sum_items, beta=coefficient),
            torch.addmm(items, to_items, sum_users, beta=coefficient),
        )
    return sum_users, sum_items
