"""LightGCN before its training, on a small data set."""

import torch

from gnnrec_training.config import LightGCNConfig
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.fitting.lightgcn_batches import Batches, PairBatches, UserBatches
from gnnrec_training.graph.adjacency import adjacency
from gnnrec_training.graph.sparse import by_user
from gnnrec_training.models.initial_embeddings import initial_embeddings
from gnnrec_training.models.lightgcn import LightGCN

CPU = torch.device("cpu")


def build(dataset: Dataset, config: LightGCNConfig, seed: int = 0) -> tuple[LightGCN, Batches]:
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    graph = adjacency(dataset.train, users, items, config.aggregation)
    generator = torch.Generator().manual_seed(seed)
    layer0 = initial_embeddings(config, dataset.train, users, items, generator)
    positives = by_user(dataset.train, users)
    steps: Batches
    if config.training.loss in ("softmax", "bsl"):
        steps = UserBatches(positives, items, config.training, CPU)
    else:
        steps = PairBatches(dataset.train, positives, items, config.training, CPU)
    return LightGCN(graph, config, layer0), steps


def shape(dim: int, layers: int = 3, **training: object) -> LightGCNConfig:
    return LightGCNConfig.model_validate(
        {"embedding_dim": dim, "num_layers": layers, "training": training}
    )
