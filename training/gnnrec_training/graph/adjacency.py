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
