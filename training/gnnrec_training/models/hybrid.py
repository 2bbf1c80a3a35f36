"""The hybrid: graph embeddings that stay as they are, and what features add to them.

N nodes, D dimensions of the graph embeddings, F inputs (registry.features), H hidden.
"""

import torch
from torch import Tensor, nn

from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.models.node_inputs import NodeInputs

_CHUNK = 65_536


class Hybrid(nn.Module):
    """Graph embeddings plus a wide and deep function of features (fitting/node_models).

    g = scale * graph, and f = MLP([g, x]) + wide(x). A node with a graph embedding is at
    g + share * f. One without, whose graph embedding is zero, is at f if it is a user and at
    new_items * f if it is an item. `wide` is linear: it extrapolates, for example beyond the years
    that training saw, and the MLP learns the rest (Cheng et al. 2016, "Wide & Deep Learning for
    Recommender Systems").

    share: how much features change nodes that have a graph embedding, from 0 to 1. new_items: how
    high new items score beside the others. scale: makes the graph's scores suit a softmax.
    """

    def __init__(self, width: int, inputs: int, hidden: int, dropout: float = 0.0) -> None:
        """Begin at the graph embeddings: features add nothing yet, and new nodes are at zero."""
        super().__init__()
        self.first = nn.Linear(width + inputs, hidden)
        self.second = nn.Linear(hidden, width)
        self.wide = nn.Linear(inputs, width, bias=False)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)
        nn.init.zeros_(self.wide.weight)
        self.share: Tensor
        self.new_items: Tensor
        self.scale: Tensor
        self.register_buffer("share", torch.tensor(1.0))
        self.register_buffer("new_items", torch.tensor(1.0))
        self.register_buffer("scale", torch.tensor(1.0))

    def forward(self, graph: Tensor, x: Tensor) -> Tensor:
        """Return embeddings: graph (N, D), x (N, F) -> (N, D)."""
        graph = graph * self.scale
        there = (graph.abs().sum(1, keepdim=True) > 0).to(graph.dtype)
        hidden = self.dropout(torch.relu(self.first(torch.cat([graph, x], 1))))
        placed: Tensor = self.second(hidden) + self.wide(x)
        is_item = x[:, -1:]  # the second flag of registry.features
        if_new = 1 - is_item * (1 - self.new_items)
        return graph + placed * (there * self.share + (1 - there) * if_new)


@torch.no_grad()
def embed_hybrid(model: Hybrid, inputs: NodeInputs, graph: EmbeddingPair) -> EmbeddingPair:
    """Return the embeddings of all nodes, over all edges of the inputs: (U, D), (I, D).

    graph: users (U, D), items (I, D); zeros for nodes that have none
    """
    neighbours, learned = inputs.graph.neighbours(), torch.cat(graph)
    parts = [
        model.eval()(learned[rows], inputs.with_means(rows, neighbours))
        for rows in torch.split(torch.arange(len(learned)), _CHUNK)
    ]
    embeddings = torch.cat(parts)
    return embeddings[: inputs.graph.users], embeddings[inputs.graph.users :]
