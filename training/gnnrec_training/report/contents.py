"""What a report is made from: configuration, data, embeddings, the course of training, metrics."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.evaluation.measurement import Matrices, Measured
from gnnrec_training.evaluation.verdict import Verdict, judge


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

    @cached_property
    def verdict(self) -> Verdict | None:
        """How the default variant stands beside the baselines; None if nothing was measured."""
        return judge(self.config, self.measured, self.default_variant)

    @property
    def split(self) -> str:
        """The part that the report judges by: test, else validation; "" if neither was measured."""
        return "" if self.verdict is None else self.verdict.split

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
