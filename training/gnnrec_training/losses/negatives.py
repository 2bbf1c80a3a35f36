"""Negative items: drawn at random from those that a user has no interaction with."""

import torch
from torch import Tensor

from gnnrec_training.graph.sparse import Csr


class NegativeSampler:
    """Draws uniformly from the items that a user did not have."""

    def __init__(self, positives: Csr, items: int) -> None:
        users = len(positives.indptr) - 1
        counts = torch.from_numpy(positives.indptr).diff()
        rows = torch.repeat_interleave(torch.arange(users), counts)
        # a key for each pair, ascending, so that a pair is found by binary search
        self._keys = rows * items + torch.from_numpy(positives.columns).long()
        self._items = items
        self.has_negative = counts < items
        """(U,): false for a user who had every item, for whom nothing can be drawn."""

    def sample(self, user_rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return one item row for each user row: (B,) -> (B,)."""
        drawn = torch.randint(self._items, user_rows.shape, generator=generator)
        rejected = self._is_positive(user_rows, drawn).nonzero()[:, 0]
        while len(rejected):
            again = torch.randint(self._items, rejected.shape, generator=generator)
            drawn[rejected] = again
            rejected = rejected[self._is_positive(user_rows[rejected], again)]
        return drawn

    def _is_positive(self, user_rows: Tensor, item_rows: Tensor) -> Tensor:
        keys = user_rows * self._items + item_rows
        place = torch.searchsorted(self._keys, keys).clamp_(max=len(self._keys) - 1)
        return self._keys[place] == keys
