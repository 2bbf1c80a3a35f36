"""What a model is worth on the validation part, for a search, or a warm start, to be chosen by.

V users asked, I items.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import VariantExport
from gnnrec_registry.files.arrays import among, distinct
from gnnrec_training import seeds
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.evaluation.intervals import PerUser
from gnnrec_training.evaluation.pools import Pools, pools
from gnnrec_training.evaluation.ranking import Heldout, evaluate, heldout
from gnnrec_training.evaluation.seen import seen_before
from gnnrec_training.graph.sparse import Csr

MOST_USERS = 5000
"""At most so many users are asked about a model."""
MOST_FUSED_USERS = 10_000
"""And so many about fusions, where a small gain is to be seen."""


class Judge:
    """Scores models by NDCG at the longest configured list length, over validation users.

    The longest list has the least noise. Users are drawn by the seed, and only those that training
    knows.
    """

    def __init__(self, config: Config, dataset: Dataset) -> None:
        """Ask about the validation part of a data set, and look at no other."""
        self._size = len(dataset.user_ids), len(dataset.item_ids)
        part = dataset.validation
        self._part = part.take(part.user_rows < self._size[0])
        generator = np.random.default_rng([config.seed, seeds.SEARCH_USERS])
        self._drawn = generator.permutation(distinct(self._part.user_rows))
        self.k = min(max(config.evaluation.k), self._size[1])
        self._seen = seen_before(dataset, "validation")
        self._held_out = self._of(MOST_USERS)
        self.users = np.flatnonzero(self._held_out.sizes)
        """(V,): the rows of those who are asked."""

    def per_user(self, model: VariantExport, graph: Csr) -> PerUser:
        """Return the score of each user who is asked (V,); graph (U, I): for item lists."""
        result = evaluate(
            model.users, np.ascontiguousarray(model.items), self._seen, self._held_out, (self.k,),
            lists=model.lists, history=graph,
        )  # fmt: skip
        return result.per_user[f"ndcg@{self.k}"]

    def pools(self, models: Mapping[str, VariantExport], graph: Csr, most: int) -> Pools:
        """Return what fusions of some models are chosen by, of at most so many users."""
        held_out = self._of(min(most, MOST_FUSED_USERS))
        users: NDArray[np.int64] = np.flatnonzero(held_out.sizes)
        return pools(models, users, held_out, self._seen, graph, self.k)

    def _of(self, most: int) -> Heldout:
        """Return what is held out for the first users that were drawn."""
        asked = self._part.take(among(self._part.user_rows, self._drawn[:most]))
        return heldout(asked, *self._size)
