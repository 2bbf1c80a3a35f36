"""A day's training from another version beside one from nothing: python -m benchmarks.warm_start.

Gowalla by the recipe gowalla-64. Yesterday's version lacks a random hundredth of the interactions.
Today all are there, and training starts from nothing, or from that version (`gnnrec train --from`).
Seconds are those from reading the files to the embeddings; the test part is read twice.
"""

import gzip
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import report
from gnnrec_registry import ModelStore
from gnnrec_training.config import Config, load
from gnnrec_training.reporter import Silent
from gnnrec_training.train import train

RECIPE = Path(__file__).parent / "recipes" / "gowalla-64.toml"
NEW = 0.01


def pairs(file: Path) -> Iterator[tuple[str, str]]:
    with gzip.open(file, "rt") as lines:
        for line in lines:
            user, *items = line.split()
            yield from ((user, item) for item in items)


def write_yesterday(into: Path) -> None:
    """Write all interactions but a random hundredth, of which nobody loses their only one."""
    all_pairs = list(pairs(Path(os.environ["GNNREC_DATA"], "gowalla", "train.txt.gz")))
    new = np.random.default_rng(0).random(len(all_pairs)) < NEW
    had: set[str] = set()
    with into.open("w") as file:
        file.write("user_id,item_id\n")
        for (user, item), is_new in zip(all_pairs, new, strict=True):
            if not is_new or user not in had:
                file.write(f"{user},{item}\n")
            had.add(user)


def main() -> None:
    recipe = load(RECIPE).model_dump(exclude_unset=True)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        write_yesterday(here / "yesterday.csv")
        yesterday: dict[str, Any] = {
            **recipe,
            "data": {"folder": folder, "interactions": "yesterday.csv"},
            "split": {"method": "random", "test": 0, "validation": 0},
        }
        store = ModelStore(here / "registry", "gowalla")
        start = train(Config.model_validate(yesterday), here, store, Silent()).version
        today = Config.model_validate(recipe)
        rows = []
        for name, begin in (("from nothing", None), ("from yesterday's version", start)):
            outcome = train(today, here, store, Silent(), start=begin)
            metrics = outcome.version.manifest.variants["lightgcn"].metrics["test"]
            rows.append(
                [
                    name, round(metrics["recall@20"], 4), round(metrics["ndcg@20"], 4),
                    round(outcome.version.manifest.seconds["reading_to_embeddings"], 1),
                ]
            )  # fmt: skip
    report("a day's training on Gowalla", ["start", "recall@20", "ndcg@20", "seconds"], rows)


if __name__ == "__main__":
    main()
