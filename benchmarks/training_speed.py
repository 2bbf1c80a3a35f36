"""The time of a training step, and how it grows with the data: python -m benchmarks.training_speed.

The code of LightGCN's authors took 1.09 s a step on two cores with their configuration (BPR, K=3,
batch 2048, d=64). The step measured here does the same arithmetic. The second table is of synthetic
graphs with 1M and 20M interactions, each trained in a new process, with its peak memory.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import report
from gnnrec_training.config import Config, FitConfig, LightGCNConfig, load
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.data.load import load_dataset
from gnnrec_training.fitting.lightgcn import fit_lightgcn, train_step
from gnnrec_training.fitting.lightgcn_batches import Batches, PairBatches, UserBatches
from gnnrec_training.fitting.memory import estimate, keep_freed
from gnnrec_training.graph.adjacency import adjacency
from gnnrec_training.graph.sparse import by_user
from gnnrec_training.models.initial_embeddings import initial_embeddings
from gnnrec_training.models.lightgcn import LightGCN

RECIPE = Path(__file__).parent / "recipes" / "gowalla.toml"
AUTHORS_STEP_S = 1.09
STEPS = 30

# users, items, interactions
SIZES = {"1M": (50_000, 25_000, 1_000_000), "20M": (1_000_000, 500_000, 20_000_000)}


def build(dataset: Dataset, shape: LightGCNConfig) -> tuple[LightGCN, Batches, torch.Generator]:
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    generator = torch.Generator().manual_seed(0)
    graph = adjacency(dataset.train, users, items)
    model = LightGCN(
        graph, shape, initial_embeddings(shape, dataset.train, users, items, generator)
    )
    positives, place = by_user(dataset.train, users), torch.device("cpu")
    if shape.training.loss in ("softmax", "bsl"):
        return model, UserBatches(positives, items, shape.training, place), generator
    return model, PairBatches(dataset.train, positives, items, shape.training, place), generator


def bpr_step() -> None:
    dataset = load_dataset(load(RECIPE), RECIPE.parent)
    training = FitConfig(loss="bpr", batch_size=2048, negatives=1, weight_decay=1e-4)
    shape = LightGCNConfig(num_layers=3, norm_exponent=1, training=training)
    model, steps, generator = build(dataset, shape)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)
    torch.use_deterministic_algorithms(True)
    batches = steps.epoch(generator)
    train_step(model, steps, optimizer, batches[0], generator)
    times = []
    for batch in batches[1 : STEPS + 1]:
        started = time.perf_counter()
        train_step(model, steps, optimizer, batch, generator)
        times.append(time.perf_counter() - started)
    step = sorted(times)[len(times) // 2]
    report(
        f"BPR on Gowalla, K=3, batch 2048, d=64, {torch.get_num_threads()} threads",
        ["code", "step s", "epoch s", "times faster"],
        [
            ["the authors'", AUTHORS_STEP_S, AUTHORS_STEP_S * len(batches), 1.0],
            ["gnnrec", step, step * len(batches), AUTHORS_STEP_S / step],
        ],
    )


def synthetic(users: int, items: int, interactions: int) -> Dataset:
    """Return a data set with popular items and active users; every node has an interaction."""
    generator = np.random.default_rng(0)
    rows = np.concatenate(
        [
            np.arange(users),
            (users * generator.random(int(1.2 * interactions)) ** 1.5).astype(np.int64),
        ]
    )
    columns = (items * generator.random(len(rows)) ** 2).astype(np.int64)
    columns[:items] = np.arange(items)
    keys = np.unique(rows * items + columns)
    cover = np.isin(keys, (rows * items + columns)[:users])
    spare = generator.permutation(np.flatnonzero(~cover))
    kept = np.sort(np.concatenate([np.flatnonzero(cover), spare[: interactions - cover.sum()]]))
    part = Interactions(
        (keys[kept] // items).astype(np.int32),
        (keys[kept] % items).astype(np.int32),
        np.ones(len(kept), np.float32),
    )
    return Dataset(
        "synthetic",
        [str(row) for row in range(users)],
        [str(row) for row in range(items)],
        part,
    )


def one_epoch(size: str) -> None:
    """Train one epoch on a synthetic graph of a size; print the seconds and the peak memory."""
    users, items, interactions = SIZES[size]
    dataset = synthetic(users, items, interactions)
    # 40 steps an epoch whatever the size
    training = FitConfig(
        epochs=1,
        batch_size=users // 40,
        negatives=4096,
        candidate_exponent=1,
        schedule="constant",
        warmup=0,
    )
    shape = LightGCNConfig(embedding_dim=64, num_layers=1, training=training)
    config = Config.model_validate(
        {"name": "synthetic", "data": {"interactions": "-"}, "lightgcn": shape.model_dump()}
    )
    started = time.perf_counter()
    model, steps, generator = build(dataset, shape)
    prepared = time.perf_counter()
    fit_lightgcn(model, steps, training, generator)
    seconds = time.perf_counter() - prepared
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    row = [
        f"{users} x {items}", len(dataset.train), prepared - started, seconds,
        seconds / len(dataset.train) * 1e6, peak / 2**30, estimate(config, dataset) / 2**30,
    ]  # fmt: skip
    print(json.dumps(row))


def scale() -> None:
    rows = []
    for size in SIZES:
        command = [sys.executable, "-m", "benchmarks.training_speed", size]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    for row in rows:
        row.append(row[4] / rows[0][4])
    report(
        "one epoch of softmax, K=1, d=64",
        [
            "users x items", "interactions", "graph s", "epoch s", "s per million",
            "peak GiB", "estimate GiB", "of the first",
        ],
        rows,
    )  # fmt: skip


if __name__ == "__main__":
    keep_freed()
    if len(sys.argv) > 1:
        one_epoch(sys.argv[1])
    else:
        bpr_step()
        scale()
