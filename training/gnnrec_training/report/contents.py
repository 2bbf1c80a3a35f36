"""What a report is made from: configuration, data, embeddings, the course of training, metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import ItemLists
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.evaluation.measurement import Matrices, Measured


@dataclass(frozen=True)
class Contents:
    """What a report is made from.

    losses: the mean loss of each epoch, by variant; validations: epoch and NDCG of each, by variant
    """

    config: Config
    dataset: Dataset
    variants: dict[str, Matrices]
    default_variant: str
    losses: dict[str, list[float]]
    validations: dict[str, list[tuple[int, float]]]
    measured: Measured
    lists: Mapping[str, ItemLists] = field(default_factory=dict)
    """The item lists of the variants that have some."""

    @property
    def split(self) -> str:
        """The part that the report judges by: test, else validation; "" if neither was measured."""
        measured = self.measured.metrics[self.default_variant]
        return next((split for split in ("test", "validation") if split in measured), "")

    @property
    def titles(self) -> list[str]:
        """The title of each item, or its id where it has none."""
        ids = self.dataset.item_ids
        given = self.dataset.item_titles or [""] * len(ids)
        return [title or item_id for title, item_id in zip(given, ids, strict=True)]

    @property
    def popularity(self) -> NDArray[np.int64]:
        """Each item's number of training interactions (I,)."""
        return np.bincount(self.dataset.train.item_rows, minlength=len(self.dataset.item_ids))
