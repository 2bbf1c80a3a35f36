"""LightGCN: embeddings smoothed over the graph of interactions, and nothing else.

He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation",
SIGIR 2020. B users and J items of a batch, U users, I items, D dimensions, K layers.
"""

import torch
from torch import Tensor, nn

from gnnrec_training.config import LightGCNConfig
from gnnrec_training.graph.adjacency import Adjacency
from gnnrec_training.graph.propagation import EmbeddingPair, propagate, propagate_rows


class LightGCN(nn.Module):
    """Layer-0 embeddings of users (U, D) and items (I, D), and the graph that smooths them."""

    def __init__(self, graph: Adjacency, config: LightGCNConfig, layer0: EmbeddingPair) -> None:
        """Begin at `layer0`; the model trains a copy of it."""
        super().__init__()
        self.graph = graph
        self.coefficients = coefficients(config)
        self.user_layer0 = nn.Parameter(layer0[0].clone())
        self.item_layer0 = nn.Parameter(layer0[1].clone())

    def forward(self) -> EmbeddingPair:
        """Return the final embeddings of users (U, D) and items (I, D)."""
        return propagate(self.user_layer0, self.item_layer0, self.graph, self.coefficients)

    def of_batch(self, user_rows: Tensor, item_rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the final embeddings of distinct users (B, D) and distinct items (J, D)."""
        if len(self.coefficients) == 2:
            layer0 = self.user_layer0, self.item_layer0
            return propagate_rows(*layer0, self.graph, self.coefficients, user_rows, item_rows)
        users, items = self()
        return users[user_rows], items[item_rows]

    @torch.no_grad()
    def embeddings(self) -> EmbeddingPair:
        """Return the final embeddings, on the CPU and without a gradient."""
        users, items = self()
        return users.cpu(), items.cpu()

    @torch.no_grad()
    def passed_on(self) -> Tensor:
        """Return what items pass on to users, over all layers at once: (I, D), on the CPU.

        sum over k = 1..K of c_k A^(k-1) E at the items. Its normalised sum over a user's items is
        the user's embedding but for layer 0.
        """
        _, items = propagate(self.user_layer0, self.item_layer0, self.graph, self.coefficients[1:])
        return items.cpu()

    def layer0(self) -> EmbeddingPair:
        """Return a copy of layer 0, on the CPU."""
        return self.user_layer0.detach().cpu().clone(), self.item_layer0.detach().cpu().clone()

    @torch.no_grad()
    def take_layer0(self, layer0: EmbeddingPair) -> None:
        """Replace layer 0 by a copy of another."""
        self.user_layer0.copy_(layer0[0])
        self.item_layer0.copy_(layer0[1])


def coefficients(config: LightGCNConfig) -> list[float]:
    """Return the weights c_0..c_K of the layers in the final embedding."""
    layers = config.num_layers + 1
    match config.layer_combination:
        case "mean":
            return [1.0 / layers] * layers
        case "sum":
            return [1.0] * layers
        case "last":
            return [0.0] * (layers - 1) + [1.0]
