"""What the node models look at: every node's input, the graph, and means over neighbours.

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

_FLAGS = 2


@dataclass(frozen=True)
class NodeInputs:
    """Nodes by features, and who had what."""

    x: Tensor
    """(N, F): each node's own input."""
    graph: Bipartite

    @cached_property
    def user_degrees(self) -> NDArray[np.int64]:
        """How many items each user had: (U,)."""
        return np.bincount(self.graph.user_rows, minlength=self.graph.users)

    @cached_property
    def item_degrees(self) -> NDArray[np.int64]:
        """How many users each item had: (I,)."""
        return np.bincount(self.graph.item_rows, minlength=self.graph.items)

    def with_means(self, rows: Tensor, neighbours: Neighbours, x: Tensor | None = None) -> Tensor:
        """Return the inputs of nodes with their neighbours' block filled: rows (B,) -> (B, F).

        A user's item columns become the mean over the user's items, an item's user columns that
        over its users. `x` (N, F) stands in for the nodes' own inputs where given.
        """
        x = self.x if x is None else x
        taken = take_rows(neighbours.csr(), rows)
        degrees = taken.crow_indices().diff().clamp(min=1)
        means = (taken @ x) / degrees[:, None]
        means[:, -_FLAGS:] = 0
        return x[rows] + means


def node_inputs(features: FeaturesExport, train: Interactions) -> NodeInputs:
    """Return the inputs of a data set's nodes over its training interactions."""
    encoding = features.encoding
    x = np.concatenate([encoding.user_inputs(features.users), encoding.item_inputs(features.items)])
    users, items = len(features.users), len(features.items)
    return NodeInputs(
        torch.from_numpy(x), Bipartite(train.user_rows, train.item_rows, users, items)
    )
