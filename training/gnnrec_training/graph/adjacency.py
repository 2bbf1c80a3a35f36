"""The adjacency of the bipartite graph of users and items, normalised by the nodes' degrees.

U users, I items.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gnnrec_training.data.dataset import Interactions
from gnnrec_training.graph.sparse import sparse_matrix


@dataclass(frozen=True)
class Adjacency:
    """The normalised adjacency in two blocks and their transposes, as CSR tensors of int32 indices.

    to_users (U, I): the weights by which users sum up their items; to_items (I, U): those by which
    items sum up their users. With the symmetric normalisation each block is the other's transpose,
    and only two tensors exist.
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
        """Return the adjacency on a device."""
        to_users, to_items = self.to_users.to(device), self.to_items.to(device)
        if self.to_users_transposed is self.to_items:
            return Adjacency(to_users, to_items, to_items, to_users)
        transposed = (self.to_users_transposed, self.to_items_transposed)
        return Adjacency(to_users, to_items, *(block.to(device) for block in transposed))


def adjacency(
    interactions: Interactions,
    users: int,
    items: int,
    aggregation: Literal["symmetric", "mean"] = "symmetric",
) -> Adjacency:
    """Return the adjacency, normalised by degrees; a degree is the sum of a node's edge weights.

    symmetric: w / sqrt(d_u d_i) (He et al. 2020, "LightGCN", eq. 3); mean: w / d of the node that
    sums up. With CSR and int32 indices MKL multiplies, several times as fast as a COO tensor.
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
