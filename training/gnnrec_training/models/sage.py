"""GraphSAGE over features: a node is what it is, and what its neighbours are on average.

Hamilton, Ying and Leskovec 2017, "Inductive Representation Learning on Large Graphs". It needs no
embedding of its own for any node, so it takes nodes that training never saw. N nodes, F inputs
(registry.features), H hidden, D dimensions, E directed edges.
"""

import torch
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv

from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.models.node_inputs import NodeInputs


class GraphSAGE(nn.Module):
    """Two SAGEConv layers with mean aggregation and a ReLU between them."""

    def __init__(self, inputs: int, hidden: int, width: int, dropout: float = 0.0) -> None:
        """Begin at random; `dropout` falls on the hidden layer in training."""
        super().__init__()
        self.first = SAGEConv(inputs, hidden, aggr="mean")
        self.second = SAGEConv(hidden, width, aggr="mean")
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return embeddings: x (N, F), edges (2, E) source to target or CSR (N, N) -> (N, D).

        In a CSR matrix the rows are the targets. A node without edges is what it is alone.
        """
        hidden = self.dropout(torch.relu(self.first(x, edges)))
        embeddings: Tensor = self.second(hidden, edges)
        return embeddings


@torch.no_grad()
def embed_sage(model: GraphSAGE, inputs: NodeInputs) -> EmbeddingPair:
    """Return the embeddings of all nodes over the whole graph: (U, D), (I, D)."""
    embeddings = model.eval()(inputs.x, inputs.graph.neighbours().csr())
    return embeddings[: inputs.graph.users], embeddings[inputs.graph.users :]
