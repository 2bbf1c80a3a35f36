"""What a report is made from: configuration, data, embeddings, the course of training, metrics."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.files.json import Json
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.evaluation.measurement import Measured, Models
from gnnrec_training.evaluation.verdict import Verdict, judge
from gnnrec_training.graph.sparse import Csr, by_user


@dataclass(frozen=True)
class Contents:
    """What a report is made from.

    losses: the mean loss of each epoch, by variant; validations: epoch and NDCG of each, by variant
    """

    config: Config
    dataset: Dataset
    """What was measured: its training part is what the variants were fitted on."""
    as_split: Dataset
    """The same data in all parts: after a search what is measured is fitted on train and validation
    together."""
    variants: Models
    default_variant: str
    losses: dict[str, list[float]]
    validations: dict[str, list[tuple[int, float]]]
    measured: Measured
    search: Json | None = None
    """What a search for the models tried (search/record)."""

    @cached_property
    def verdict(self) -> Verdict | None:
        """How the default variant stands beside the baselines; None if nothing was measured."""
        by_search = self.search is not None
        return judge(self.config, self.measured, self.default_variant, chosen_by_search=by_search)

    @property
    def split(self) -> str:
        """The part that the report judges by: test, else validation; "" if neither was measured."""
        return "" if self.verdict is None else self.verdict.split

    @property
    def seen(self) -> Csr:
        """What users had (U, I); the value is above 0 for the edges of the graph."""
        seen = self.dataset.seen(self.config.graph.disliked_weight)
        return by_user(seen, len(self.dataset.user_ids))

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
