"""From a Parquet file of 20M interactions to the graph: python -m benchmarks.ingestion.

The file is made in a temporary folder: texts as ids, users and items as unequal as in real data, a
weight and a moment each, in no order. It is read in a process of its own, from an empty one to the
normalised adjacency, and that process reports its peak memory.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.measure import report
from training.config import Config
from training.data.load import load_dataset
from training.graph import adjacency, edges
from training.memory import keep_freed

ROWS = 20_000_000
USERS, ITEMS = 1_000_000, 500_000
_PART = 1_000_000


def make(path: Path) -> None:
    """Write distinct pairs, a row group at a time."""
    generator = np.random.default_rng(0)
    users = (USERS * generator.random(int(1.1 * ROWS)) ** 1.5).astype(np.int64)
    keys = users * ITEMS + (ITEMS * generator.random(len(users)) ** 2).astype(np.int64)
    keys = np.unique(keys)
    keys = keys[generator.permutation(len(keys))[:ROWS]]
    table = pl.LazyFrame({"key": keys}).select(
        user_id=pl.format("user-{}", pl.col("key") // ITEMS),
        item_id=pl.format("item-{}", pl.col("key") % ITEMS),
        rating=(pl.col("key") % 5 + 1).cast(pl.Float32),
        timestamp=1_500_000_000 + pl.col("key") % 200_000_000,
    )
    table.sink_parquet(path, row_group_size=_PART)


def ingest(path: Path) -> None:
    """Read a file to the graph in this process and print what it took."""
    keep_freed()
    started = time.perf_counter()
    config = Config.model_validate(
        {
            "name": "ingestion",
            "data": {
                "interactions": str(path),
                "weight_column": "rating",
                "time_column": "timestamp",
            },
        }
    )
    dataset = load_dataset(config, path.parent)
    read = time.perf_counter()
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    graph = adjacency(edges(dataset.train, config.graph), users, items)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert graph.users == users
    row = [
        f"{users} x {items}", sum(dataset.counts().values()), path.stat().st_size / 2**20,
        read - started, seconds, peak / 2**30,
    ]  # fmt: skip
    print(json.dumps(row))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="gnnrec-") as folder:
        path = Path(folder) / "interactions.parquet"
        # in a process of its own, so that what it takes is given back
        for step in ("make", "ingest"):
            command = [sys.executable, "-m", "benchmarks.ingestion", step, str(path)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    report(
        "Parquet to split data and graph",
        ["users x items", "rows", "file MiB", "data s", "graph s", "peak GiB"],
        [json.loads(done.stdout.splitlines()[-1])],
    )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        {"make": make, "ingest": ingest}[sys.argv[1]](Path(sys.argv[2]))
    else:
        main()
