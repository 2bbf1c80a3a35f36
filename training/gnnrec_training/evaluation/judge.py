"""What a model is worth on the validation part, for a search, or a warm start, to be chosen by.

V users asked, I items.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec_registry import VariantExport
from gnnrec_registry.files.arrays import distinct
from gnnrec_training import seeds
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.evaluation.intervals import PerUser
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.evaluation.seen import seen_before
from gnnrec_training.graph.sparse import Csr

_MOST_USERS = 5000
_MATRIX_BYTES = 256 << 20
"""The most that the scores of one model for users of `Judge.scores` may take."""


class Judge:
    """Scores models by NDCG at the longest configured list length, over validation users.

    The longest list has the least noise. At most 5,000 users are asked, drawn by the seed, and only
    those that training knows.
    """

    def __init__(self, config: Config, dataset: Dataset) -> None:
        """Ask about the validation part of a data set, and look at no other."""
        users, items = len(dataset.user_ids), len(dataset.item_ids)
        part = dataset.validation.take(dataset.validation.user_rows < users)
        generator = np.random.default_rng([config.seed, seeds.SEARCH_USERS])
        some = generator.permutation(distinct(part.user_rows))[:_MOST_USERS]
        asked = part.take(np.isin(part.user_rows, some))
        self.k = min(max(config.evaluation.k), items)
        self._seen = seen_before(dataset, "validation")
        self._held_out = heldout(asked, users, items)
        self.users = np.flatnonzero(self._held_out.sizes)
        """(V,): the rows of those who are asked."""
        most = max(200, _MATRIX_BYTES // (4 * items))
        self.fused_users = self.users[:: -(-len(self.users) // most)] if len(self.users) else some
        """(W,): the rows of those who are asked about fusions, evenly spaced."""
        self._wanted = self._wanted_by(self.fused_users, items)

    def per_user(self, model: VariantExport, graph: Csr) -> PerUser:
        """Return the score of each user who is asked (V,); graph (U, I): for item lists."""
        result = evaluate(
            model.users, np.ascontiguousarray(model.items), self._seen, self._held_out, (self.k,),
            lists=model.lists, history=graph,
        )  # fmt: skip
        return result.per_user[f"ndcg@{self.k}"]

    def scores(self, model: VariantExport, graph: Csr) -> Tensor:
        """Return the scores of the users of fusions (W, I); -inf for the items that they had."""
        which = self.fused_users
        found = torch.from_numpy(model.users[which]) @ torch.from_numpy(model.items).T
        if model.lists is not None:
            for line, items in enumerate(graph.rows(which)):
                rows, sums = model.lists.added(items)
                found[line, torch.from_numpy(rows)] += torch.from_numpy(sums).float()
        had = self._seen.rows(which)
        lines = np.repeat(np.arange(len(which)), [len(items) for items in had])
        columns = np.concatenate([*had, np.empty(0, np.int32)]).astype(np.int64)
        found[torch.from_numpy(lines), torch.from_numpy(columns)] = -torch.inf
        return found

    def per_fused_user(self, scores: Tensor) -> PerUser:
        """Return the score of each user of a fusion (W,), given the scores of all items (W, I)."""
        top = scores.topk(self.k, dim=1).indices
        hits = self._wanted.gather(1, top).double().numpy()
        discounts = 1 / np.log2(np.arange(2, self.k + 2))
        ideal = np.cumsum(discounts)
        sizes = self._held_out.sizes[self.fused_users]
        per_user: PerUser = (hits @ discounts) / ideal[np.minimum(sizes, self.k) - 1]
        return per_user

    def _wanted_by(self, users: NDArray[np.int64], items: int) -> Tensor:
        """Return which items are held out for some users: (W, I)."""
        wanted = torch.zeros(len(users), items, dtype=torch.bool)
        rows, columns = self._held_out.keys // items, self._held_out.keys % items
        asked = np.isin(rows, users)
        lines = np.searchsorted(users, rows[asked])
        wanted[torch.from_numpy(lines), torch.from_numpy(columns[asked])] = True
        return wanted
