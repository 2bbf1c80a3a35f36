"""GraphSAGE over features: a node is embedded by its features and its neighbours' mean features.

Hamilton, Ying and Leskovec 2017, "Inductive Representation Learning on Large Graphs". No node has a
learned embedding of its own, so the model also embeds nodes that training never saw. U users, I
items, N nodes, F inputs (registry.features), D dimensions, E directed edges.
"""

import torch
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv

from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.models.node_inputs import NodeInputs


class GraphSAGE(nn.Module):
    """Two SAGEConv layers with mean aggregation and a ReLU between them."""

    def __init__(self, inputs: int, hidden: int, width: int, dropout: float = 0.0) -> None:
        """Begin at random; `dropout`: of the hidden layer, in training."""
        super().__init__()
        self.first = SAGEConv(inputs, hidden, aggr="mean")
        self.second = SAGEConv(hidden, width, aggr="mean")
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return embeddings: x (N, F), edges (2, E) source to target or CSR (N, N) -> (N, D).

        In a CSR matrix the rows are the targets. A node without edges has a mean of zero.
        """
        hidden = self.dropout(torch.relu(self.first(x, edges)))
        embeddings: Tensor = self.second(hidden, edges)
        return embeddings


@torch.no_grad()
def embed_sage(model: GraphSAGE, inputs: NodeInputs) -> EmbeddingPair:
    """Return the embeddings of all nodes, over all edges of the inputs: (U, D), (I, D)."""
    embeddings = model.eval()(inputs.x, inputs.graph.neighbours().csr())
    return embeddings[: inputs.graph.users], embeddings[inputs.graph.users :]
