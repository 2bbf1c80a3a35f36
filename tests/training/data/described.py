"""A data set of two users and the items a, b and c, with a table about the items."""

from pathlib import Path
from typing import Any

from gnnrec_registry import FeaturesExport
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.load import load_dataset

TRAIN = "u a b\nv b c\n"
ITEMS = "item_id,title,year,level,topics\n"


def dataset(
    folder: Path,
    features: list[dict[str, Any]],
    items: str,
    *,
    test: str = "u c\n",
    users: dict[str, Any] | None = None,
    **table: Any,
) -> Dataset:
    """Load it with the table `items` and the `features` to read from it."""
    (folder / "train.txt").write_text(TRAIN)
    (folder / "test.txt").write_text(test)
    (folder / "items.csv").write_text(items)
    raw = {
        "interactions": "train.txt",
        "test": "test.txt",
        "items": {"file": "items.csv", "features": features} | table,
        "users": users,
    }
    split = {"method": "given", "validation": 0}
    return load_dataset(Config.model_validate({"name": "toy", "data": raw, "split": split}), folder)


def described(data: Dataset) -> FeaturesExport:
    assert data.features is not None
    return data.features
