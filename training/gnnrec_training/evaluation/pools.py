"""Items that may stand in the list of a fusion of models, and what each of the models scores them.

W users asked, I items, N models, P places of a user's pool.

A fusion is looked for among the best items of each of its models: what none of them has among its
best 300 hardly ever comes to stand in the list that they make together. So a weight costs little,
and many more users can be asked about it than if all items were ranked.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec_registry import VariantExport
from gnnrec_registry.files.arrays import among
from gnnrec_training.evaluation.intervals import PerUser
from gnnrec_training.evaluation.ranking import Heldout
from gnnrec_training.graph.sparse import Csr

_BEST = 300
"""So many items of each model are in a pool."""
_CHUNK_BYTES = 256 << 20
"""About what the scores of all items may take at once."""


@dataclass(frozen=True)
class Pools:
    """The pools of some users.

    scores: what each model scores the items of the pools (W, P), -inf for items that are left out;
    wanted (W, P): which of them are held out; ideal (W,): the best discounted gain of each user.
    """

    scores: Mapping[str, Tensor]
    wanted: Tensor
    ideal: NDArray[np.float64]
    k: int

    def per_user(self, scores: Tensor) -> PerUser:
        """Return the NDCG at k of each user (W,) by any scores of the pools' items (W, P)."""
        top = scores.topk(self.k, dim=1).indices
        hits = self.wanted.gather(1, top).double().numpy()
        per_user: PerUser = (hits @ _discounts(self.k)) / self.ideal
        return per_user


def pools(
    models: Mapping[str, VariantExport],
    users: NDArray[np.int64],
    held_out: Heldout,
    seen: Csr,
    history: Csr,
    k: int,
) -> Pools:
    """Return the pools of users (W,), all of whom have held-out items.

    seen (U, I): items left out of a user's ranking; history (U, I): whose item lists count; k: the
    length of the list to be judged, at most I.
    """
    items = len(next(iter(models.values())).items)
    places = min(items, max(_BEST, 5 * k) * len(models))
    scores = {name: torch.empty(len(users), places) for name in models}
    wanted = torch.empty(len(users), places, dtype=torch.bool)
    step = max(1, _CHUNK_BYTES // (4 * items * len(models)))
    for start in range(0, len(users), step):
        which = users[start : start + step]
        found = {name: _scores(model, which, seen, history) for name, model in models.items()}
        rows, is_repeated = _rows(list(found.values()), places)
        for name, all_scores in found.items():
            mine = all_scores.gather(1, rows)
            scores[name][start : start + step] = mine.masked_fill_(is_repeated, -torch.inf)
        keys = which[:, None] * items + rows.numpy()
        wanted[start : start + step] = torch.from_numpy(among(keys, held_out.keys))
    ideal = np.cumsum(_discounts(k))[np.minimum(held_out.sizes[users], k) - 1]
    return Pools(scores, wanted, ideal, k)


def _rows(found: list[Tensor], places: int) -> tuple[Tensor, Tensor]:
    """Return the rows of the best items by any model, and which of them stand there again.

    found: N times (B, I) -> (B, P) twice
    """
    lines, items = found[0].shape
    if places == items:
        rows = torch.arange(items).expand(lines, items)
        return rows, torch.zeros(lines, items, dtype=torch.bool)
    best = torch.cat([scores.topk(places // len(found)).indices for scores in found], 1)
    rows = best.sort(1).values
    is_repeated = torch.zeros_like(rows, dtype=torch.bool)
    is_repeated[:, 1:] = rows[:, 1:] == rows[:, :-1]
    return rows, is_repeated


def _scores(model: VariantExport, which: NDArray[np.int64], seen: Csr, history: Csr) -> Tensor:
    """Return the scores of users (B,) -> (B, I), -inf for the items that they had."""
    found = torch.from_numpy(model.users[which]) @ torch.from_numpy(model.items).T
    if model.lists is not None:
        for line, items in enumerate(history.rows(which)):
            rows, sums = model.lists.added(items)
            found[line, torch.from_numpy(rows)] += torch.from_numpy(sums).float()
    had = seen.rows(which)
    lines = np.repeat(np.arange(len(which)), [len(items) for items in had])
    columns = np.concatenate([*had, np.empty(0, np.int32)]).astype(np.int64)
    found[torch.from_numpy(lines), torch.from_numpy(columns)] = -torch.inf
    return found


def _discounts(k: int) -> NDArray[np.float64]:
    discounts: NDArray[np.float64] = 1 / np.log2(np.arange(2, k + 2))
    return discounts
