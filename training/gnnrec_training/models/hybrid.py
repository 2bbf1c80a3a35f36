"""The hybrid: frozen graph embeddings and features through one MLP, features through a line too.

N nodes, D dimensions of the graph embeddings, F inputs (registry.features), H hidden.
"""

import torch
from torch import Tensor, nn

from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.models.node_inputs import NodeInputs

_CHUNK = 65_536


class Hybrid(nn.Module):
    """graph + share * placed where there is a graph embedding; placed where not.

    placed = MLP([graph | x]) + wide(x). The line finds what adds up and goes on beyond what was
    seen, such as in years; the MLP finds the rest (Cheng et al. 2016, "Wide & Deep Learning for
    Recommender Systems"). A node without a graph embedding has zeros for it. So the share is what
    features may change of what the graph has learned, and a new node is placed by its features
    alone. `new_items` scales the scores of items placed so beside those of the others. The graph
    embeddings are scaled first, so that their scores suit a softmax.
    """

    def __init__(self, width: int, inputs: int, hidden: int, dropout: float = 0.0) -> None:
        """Begin with the graph embeddings as they are for nodes that have one."""
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
        alone = 1 - is_item * (1 - self.new_items)
        return graph + placed * (there * self.share + (1 - there) * alone)


@torch.no_grad()
def embed_hybrid(model: Hybrid, inputs: NodeInputs, graph: EmbeddingPair) -> EmbeddingPair:
    """Return the embeddings of all nodes over the whole graph: (U, D), (I, D)."""
    neighbours, learned = inputs.graph.neighbours(), torch.cat(graph)
    parts = [
        model.eval()(learned[rows], inputs.with_means(rows, neighbours))
        for rows in torch.split(torch.arange(len(learned)), _CHUNK)
    ]
    embeddings = torch.cat(parts)
    return embeddings[: inputs.graph.users], embeddings[inputs.graph.users :]
