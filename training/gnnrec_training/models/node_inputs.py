"""The inputs of GraphSAGE and the hybrid: the features of nodes, and those of their neighbours.

U users, I items, N = U + I nodes (users first), F inputs (registry.features).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec_registry import FeaturesExport
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.graph.neighbours import Bipartite, Neighbours
from gnnrec_training.graph.sparse import take_rows

FLAGS = 2
"""The last columns of the inputs: whether the node is a user, and whether it is an item."""


@dataclass(frozen=True)
class NodeInputs:
    """The features of all nodes, and the interactions between them."""

    x: Tensor
    """(N, F): the features of each node, zero in the columns of the other side."""
    graph: Bipartite

    @cached_property
    def user_degrees(self) -> NDArray[np.int64]:
        """How many items each user had: (U,)."""
        return np.bincount(self.graph.user_rows, minlength=self.graph.users)

    @cached_property
    def item_degrees(self) -> NDArray[np.int64]:
        """How many users each item had: (I,)."""
        return np.bincount(self.graph.item_rows, minlength=self.graph.items)

    def with_means(self, rows: Tensor, neighbours: Neighbours) -> Tensor:
        """Return the inputs of nodes with their neighbours' mean filled in: rows (B,) -> (B, F).

        A user's item columns hold the mean over the user's items, an item's user columns the mean
        over its users; zero for a node without neighbours.
        """
        taken = take_rows(neighbours.csr(), rows)
        degrees = taken.crow_indices().diff().clamp(min=1)
        means = (taken @ self.x) / degrees[:, None]
        means[:, -FLAGS:] = 0
        return self.x[rows] + means


def node_inputs(features: FeaturesExport, train: Interactions) -> NodeInputs:
    """Return the inputs of a data set's nodes over its training interactions."""
    encoding = features.encoding
    x = np.concatenate([encoding.user_inputs(features.users), encoding.item_inputs(features.items)])
    users, items = len(features.users), len(features.items)
    return NodeInputs(
        torch.from_numpy(x), Bipartite(train.user_rows, train.item_rows, users, items)
    )
