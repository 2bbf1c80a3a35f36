"""Reading a file of 20M interactions into a graph: python -m benchmarks.ingestion [ROWS].

The files are Parquet and CSV, with texts, integers and UUIDs (in Parquet as 16 bytes) as ids. Users
and items are as unequally active as in real data, and each interaction has a weight and a time, in
no order. A new process reads each file and builds the normalised adjacency matrix; it reports the
time and its peak memory. Limits: 60 s and 4 GiB.
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
from gnnrec_training.config import Config
from gnnrec_training.data.load import load_dataset
from gnnrec_training.fitting.memory import keep_freed
from gnnrec_training.graph.adjacency import adjacency
from gnnrec_training.graph.edges import edges

ROWS = 20_000_000
KINDS = tuple(
    f"{form} {ids}" for form in ("parquet", "csv") for ids in ("texts", "integers", "uuids")
)
USERS, ITEMS = 1_000_000, 500_000
_PART = 1_000_000


def make(path: Path, ids: str, rows: int) -> None:
    """Write a file of distinct pairs, one row group at a time."""
    generator = np.random.default_rng(0)
    users = (USERS * generator.random(int(1.1 * rows)) ** 1.5).astype(np.int64)
    keys = users * ITEMS + (ITEMS * generator.random(len(users)) ** 2).astype(np.int64)
    keys = np.unique(keys)
    keys = keys[generator.permutation(len(keys))[:rows]]
    user, item = pl.col("key") // ITEMS, pl.col("key") % ITEMS
    if ids == "texts":
        user, item = pl.format("user-{}", user), pl.format("item-{}", item)
    elif ids == "uuids":
        # UUIDs from a hash, the same in each run: first as hexadecimal digits, then as bytes
        user, item = (
            pl.format("{}{}", each.hash(1), each.hash(2)).str.slice(0, 32).str.pad_end(32, "a")
            .str.decode("hex")
            for each in (user, item)
        )  # fmt: skip
    table = pl.LazyFrame({"key": keys}).select(
        user_id=user,
        item_id=item,
        rating=(pl.col("key") % 5 + 1).cast(pl.Float32),
        timestamp=1_500_000_000 + pl.col("key") % 200_000_000,
    )
    if path.suffix == ".csv":
        if ids == "uuids":
            groups = r"^(.{8})(.{4})(.{4})(.{4})(.{12})$"
            table = table.with_columns(
                pl.col("user_id", "item_id").bin.encode("hex").str.replace(groups, "$1-$2-$3-$4-$5")
            )
        table.sink_csv(path)
    else:
        table.sink_parquet(path, row_group_size=_PART)


def ingest(path: Path) -> None:
    """Read a file and build the graph in this process; print the seconds and the peak memory."""
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
    graph = adjacency(edges(dataset, config.graph), users, items)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert graph.users == users
    row = [
        f"{users} x {items}", sum(dataset.counts().values()), path.stat().st_size / 2**20,
        read - started, seconds, peak / 2**30,
    ]  # fmt: skip
    print(json.dumps(row))


def main(rows: int) -> None:
    found = []
    for kind in KINDS:
        form, ids = kind.split()
        with tempfile.TemporaryDirectory(prefix="gnnrec-") as folder:
            path = Path(folder) / f"interactions.{form}"
            # in another process, so that its memory is released
            for step in ("make", "ingest"):
                command = [sys.executable, "-m", "benchmarks.ingestion", step, str(path), ids]
                done = subprocess.run(
                    [*command, str(rows)], check=True, stdout=subprocess.PIPE, text=True
                )
        found.append([kind, *json.loads(done.stdout.splitlines()[-1])])
    report(
        "from a file to split data and graph",
        ["file and ids", "users x items", "rows", "file MiB", "data s", "graph s", "peak GiB"],
        found,
    )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _, step, path, ids, rows = sys.argv
        if step == "make":
            make(Path(path), ids, int(rows))
        else:
            ingest(Path(path))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
