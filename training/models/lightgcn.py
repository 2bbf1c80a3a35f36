"""LightGCN: embeddings smoothed over the graph of interactions, and nothing else.

He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation",
SIGIR 2020. U users, I items, N = U + I nodes (users first), D dimensions, K layers.
"""

import torch
from torch import Tensor, nn

from training.config import ModelConfig
from training.graph import propagate


class LightGCN(nn.Module):
    """Layer-0 embeddings of all nodes, and their combination over K propagation layers."""

    def __init__(
        self,
        users: int,
        items: int,
        adjacency: Tensor,
        config: ModelConfig,
        generator: torch.Generator,
        init: Tensor | None = None,
    ) -> None:
        """Draw layer 0, or take `init` (N, D) for it."""
        super().__init__()
        self.users = users
        self.adjacency = adjacency
        layers = config.num_layers + 1
        self.coefficients = [1.0 / layers if config.layer_combination == "mean" else 1.0] * layers
        if init is None:
            init = torch.empty(users + items, config.embedding_dim)
            if config.init_std is not None:
                nn.init.normal_(init, std=config.init_std, generator=generator)
            else:
                # users and items are two tables, and xavier depends on a table's height
                nn.init.xavier_uniform_(init[:users], generator=generator)
                nn.init.xavier_uniform_(init[users:], generator=generator)
        self.layer0 = nn.Parameter(init.clone())

    def forward(self) -> Tensor:
        """Return the final embeddings of all nodes: (N, D)."""
        return propagate(self.layer0, self.adjacency, self.coefficients)

    @torch.no_grad()
    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Return the final embeddings of users (U, D) and items (I, D)."""
        final = self()
        return final[: self.users], final[self.users :]
