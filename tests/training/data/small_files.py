"""Small files, read as a training reads them."""

from pathlib import Path
from typing import Any

import polars as pl

from gnnrec_training.config import Config, ReadOptions
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.load import load_dataset
from gnnrec_training.data.reading.sources import open_table


def read_table(path: Path, texts: list[str], numbers: list[str], **reading: Any) -> pl.DataFrame:
    """Return columns of a file, `texts` as strings and `numbers` as float64."""
    columns = [*texts, *numbers]
    table = open_table(path, "", columns, ReadOptions.model_validate(reading), exact=texts)
    return pl.DataFrame(
        [*(table.texts(name) for name in texts), *(table.numbers(name) for name in numbers)]
    )


def read(folder: Path, interactions: Any, **data: Any) -> Dataset:
    """Return a data set of which everything is training."""
    split = data.pop("split", {"test": 0, "validation": 0})
    graph = data.pop("graph", {})
    raw = {"interactions": interactions, **data}
    config = {"name": "toy", "data": raw, "split": split, "graph": graph}
    return load_dataset(Config.model_validate(config), folder)


def pairs(dataset: Dataset) -> list[tuple[str, str]]:
    """Return the users and items of the training part, in order."""
    part = dataset.train
    return [
        (dataset.user_ids[user], dataset.item_ids[item])
        for user, item in zip(part.user_rows, part.item_rows, strict=True)
    ]
