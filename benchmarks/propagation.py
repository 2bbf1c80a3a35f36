"""One propagation step on Gowalla, in three implementations: python -m benchmarks.propagation."""

import warnings
from pathlib import Path

import torch
from torch_geometric.nn import LGConv

from benchmarks.measure import median_seconds, report
from gnnrec_training.config import load
from gnnrec_training.data.load import load_dataset
from gnnrec_training.graph.adjacency import adjacency
from gnnrec_training.graph.propagation import propagate

RECIPE = Path(__file__).parent / "recipes" / "gowalla.toml"
WIDTH = 64


def main() -> None:
    dataset = load_dataset(load(RECIPE), RECIPE.parent)
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    edges = dataset.train
    embeddings = torch.randn(users + items, WIDTH)
    graph = adjacency(edges, users, items)
    halves = embeddings[:users], embeddings[users:]
    source = torch.from_numpy(edges.user_rows).long()
    target = torch.from_numpy(edges.item_rows).long() + users
    edge_index = torch.stack([torch.cat([source, target]), torch.cat([target, source])])
    values = torch.cat([graph.to_users.values()] * 2)
    shape = (users + items, users + items)
    coo = torch.sparse_coo_tensor(edge_index, values, shape, check_invariants=False).coalesce()
    convolution = LGConv()
    ways = {
        "int32 CSR": lambda: propagate(*halves, graph, [0.0, 1.0]),
        "COO": lambda: coo @ embeddings,
        "PyG LGConv on edge_index": lambda: convolution(embeddings, edge_index),
    }
    seconds = {name: median_seconds(work) for name, work in ways.items()}
    best = seconds["int32 CSR"]
    report(
        f"propagation of {users + items} x {WIDTH} over {len(edges)} interactions, "
        f"{torch.get_num_threads()} threads",
        ["way", "milliseconds", "of int32 CSR"],
        [[name, 1000 * value, value / best] for name, value in seconds.items()],
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
    main()
