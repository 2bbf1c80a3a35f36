"""Full-ranking evaluation: every item is ranked for every user, none is sampled.

B users at a time, I items, D dimensions, K list length.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gnnrec_registry.files.arrays import Embeddings, among
from gnnrec_registry.scoring.lists import ItemLists
from gnnrec_registry.scoring.metrics import Hits
from gnnrec_registry.scoring.ranking import NO_ROW, Rows, Scores, max_norm, top_k
from gnnrec_registry.versions.manifest import Metrics
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.graph.sparse import Csr
from gnnrec_training.reporter import ShareDone

MEANINGS = {
    "recall@k": "hits / held-out items",
    "precision@k": "hits / k",
    "hit_rate@k": "1 if there is a hit",
    "mrr@k": "1 / rank of the first hit",
    "ndcg@k": "gain 1, discount 1/log2(rank + 1), ideal = the first min(k, held-out items) ranks",
    "coverage@k": "share of all items that stand in some user's list",
}
PROTOCOL = (
    "All items are ranked by score for every user with at least one held-out item, but "
    "those that the user is known to have had, liked or not. Each metric but coverage is the mean "
    "over users. Held-out items and users unknown to training count as missed."
)
DEFINITION = f"{PROTOCOL} {'; '.join(f'{name} = {meaning}' for name, meaning in MEANINGS.items())}."

# The best of each block of so many items are compared before any item is sorted.
_BLOCK = 64

# About so many bytes of scores are held at once; a score takes so many, and an addition to one, in
# double precision and with its place.
_SCORES_BYTES = 256 << 20
_SCORE_BYTES = 4
_ADDITION_BYTES = 40


@dataclass(frozen=True)
class Heldout:
    """The held-out interactions of a part, arranged for look-ups.

    keys (E,): user row * I + item row of those between nodes that training knows, ascending; sizes
    (U,): how many items each user has, unknown items included; unknown_users: how many users have
    held-out items and are unknown to training.
    """

    keys: NDArray[np.int64]
    sizes: NDArray[np.int64]
    unknown_users: int


def heldout(part: Interactions, users: int, items: int) -> Heldout:
    """Return a part of the data as held-out interactions."""
    known = (part.user_rows < users) & (part.item_rows < items)
    sizes = np.bincount(part.user_rows, minlength=users)
    return Heldout(
        keys=np.sort(part.user_rows[known].astype(np.int64) * items + part.item_rows[known]),
        sizes=sizes[:users],
        unknown_users=int(np.count_nonzero(sizes[users:])),
    )


@dataclass(frozen=True)
class Evaluation:
    """Metrics by user, their means, and counts by item.

    users (V,): the rows of the users with held-out items; per_user: for each metric an array (V,);
    hits: the ranks of their held-out items in the longest list; item_hits (I,): for how many users
    each item was a hit there; shown (I,): in how many lists of the first of the ks it stands.
    """

    users: NDArray[np.int64]
    per_user: dict[str, NDArray[np.float64]]
    hits: Hits
    metrics: Metrics
    item_hits: NDArray[np.int64]
    shown: NDArray[np.int64]


def evaluate(
    user_embeddings: Embeddings,
    item_embeddings: Embeddings,
    seen: Csr,
    held_out: Heldout,
    ks: tuple[int, ...],
    share_done: ShareDone = lambda share: None,
    *,
    lists: ItemLists | None = None,
    history: Csr | None = None,
) -> Evaluation:
    """Rank all items for every user with held-out items and return the metrics at each k.

    user_embeddings (U, D), item_embeddings (I, D), seen (U, I): items left out of a user's ranking.
    A k above the number of items means all of them. With `lists`, history (U, I) says which items'
    lists add to a user's scores: all that it has an entry for, whatever the value.
    """
    users = np.flatnonzero(held_out.sizes)
    longest = min(max(ks), len(item_embeddings))
    hits = np.zeros((len(users), longest), bool)
    item_hits = np.zeros(len(item_embeddings), np.int64)
    shown = {k: np.zeros(len(item_embeddings), np.int64) for k in ks}
    for start, end in pairwise(_chunks(users, len(item_embeddings), lists, history)):
        which = users[start:end]
        queries = user_embeddings[which]
        _, rows = rank(queries, item_embeddings, which, seen, longest, lists=lists, history=history)
        found = among(which[:, None] * len(item_embeddings) + rows, held_out.keys)
        found &= rows != NO_ROW
        hits[start:end] = found
        item_hits += np.bincount(rows[found], minlength=len(item_hits))
        for k in ks:
            shown[k] += np.bincount(rows[:, :k][rows[:, :k] != NO_ROW], minlength=len(item_hits))
        share_done(end / len(users))
    places, columns = np.nonzero(hits)
    found_at = Hits(places, columns + 1, held_out.sizes[users])
    per_user = {name: values for k in ks for name, values in found_at.metrics(k).items()}
    counted = len(users) + held_out.unknown_users
    metrics = {name: float(values.sum() / counted) for name, values in per_user.items()}
    metrics |= {f"coverage@{k}": float((shown[k] > 0).mean()) for k in ks}
    return Evaluation(users, per_user, found_at, metrics, item_hits, shown[ks[0]])


def _chunks(
    users: NDArray[np.int64], items: int, lists: ItemLists | None, history: Csr | None
) -> list[int]:
    """Return where chunks of the users (V,) begin and end, such that each fits into memory."""
    needed = np.full(len(users), _SCORE_BYTES * items)
    if lists is not None and history is not None:
        entries = np.diff(history.indptr)[users] * lists.longest
        needed += _ADDITION_BYTES * np.minimum(entries, items)
    chunk = np.cumsum(needed) // _SCORES_BYTES
    return [*(np.flatnonzero(np.diff(chunk, prepend=-1))).tolist(), len(users)]


def rank(
    queries: Embeddings,
    items: Embeddings,
    user_rows: NDArray[np.int64],
    seen: Csr,
    k: int,
    *,
    lists: ItemLists | None = None,
    history: Csr | None = None,
) -> tuple[Scores, Rows]:
    """Return each user's k best unseen items, best first, ties as registry.ranking orders them.

    queries (B, D): the embeddings of user_rows (B,) -> scores (B, k), rows (B, k); lists and
    history as in evaluate
    """
    added = None
    if lists is not None and history is not None:
        added = lists.additions(history.rows(user_rows))
    spare = -len(items) % _BLOCK
    padded = F.pad(torch.from_numpy(items), (0, 0, 0, spare))
    scores = torch.from_numpy(np.ascontiguousarray(queries)) @ padded.T  # (B, I + spare)
    scores[:, len(items) :] = -torch.inf
    if added is not None:
        place = torch.from_numpy(added.lines), torch.from_numpy(added.rows)
        scores[place] += torch.from_numpy(added.sums).float()
    had = seen.rows(user_rows)
    lines = np.repeat(np.arange(len(user_rows)), list(map(len, had)))
    columns = torch.from_numpy(np.concatenate(had))
    scores[torch.from_numpy(lines), columns.long()] = -torch.inf

    def find(which: NDArray[np.intp], count: int) -> tuple[Scores, Rows]:
        chosen = scores if len(which) == len(scores) else scores[torch.from_numpy(which)]
        best, rows = _best(chosen, count)
        return best.numpy(), np.where(best.numpy() == -np.inf, NO_ROW, rows.numpy())

    longest = max_norm(items)
    return top_k(find, queries, items, longest, k, lambda query: had[query], added=added)


def _best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` largest of each line, and where they stand: (B, I) -> (B, count) twice.

    They lie in the `count` blocks with the largest maxima, so only those blocks are sorted.
    """
    lines, width = scores.shape
    blocks = width // _BLOCK
    if count >= blocks:
        largest, places = scores.topk(count)
        return largest, places
    split = scores.view(lines, blocks, _BLOCK)
    chosen = split.amax(2).topk(count).indices  # (B, count)
    inside = split.gather(1, chosen[:, :, None].expand(-1, -1, _BLOCK))  # (B, count, block)
    largest, places = inside.flatten(1).topk(count)
    rows = chosen.gather(1, places // _BLOCK) * _BLOCK + places % _BLOCK
    return largest, rows
