"""The exact index of a large catalogue: a scan of 8-bit codes, and FAISS for what it leaves open.

The scan proves most of its answers (see scan); the few others are searched for in the embeddings.
How many candidates it takes is found on users of the version when that is loaded.

B queries, I items, D dimensions.
"""

from collections.abc import Sequence

import numpy as np

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import Rows, candidates
from gnnrec_server.index.exact import (
    AT_ONCE,
    MOST_TOGETHER,
    SCORE_ALL,
    FlatIndex,
    Found,
    Mask,
    Rank,
)
from gnnrec_server.index.scan import BLOCK, Scan
from gnnrec_server.process.cancellation import pause

# FAISS searches fewer items in well below a millisecond.
_LEAST = 8192

# How many candidates are taken for each item of the answer: the fewest with which the scan proves
# so large a share of a sample's answers.
_BREADTHS = (1.5, 2.0, 3.0, 5.0)
_SURE = 0.98
_SAMPLE = 200
_SAMPLE_K = 20
_HOPEFUL = 0.9
_FIRST_LOOK = 20

# So many queries are scanned for at a time, or more where that makes no more products than these.
_TOGETHER = 8
_PRODUCTS = 4_000_000


class QuantizedIndex(FlatIndex):
    """Exact inner-product search over all items, for which few embeddings are read."""

    def __init__(self, items: Embeddings) -> None:
        """Search embeddings (I, D), which may be mapped from a file."""
        super().__init__(items)
        self._scan = Scan(self._items)
        self._breadth = _BREADTHS[-1]

    def tune(self, queries: Embeddings) -> bool:
        """Find how many candidates queries (B, D) need, and tell whether that is few enough."""
        return any(self.sure_share(queries) >= _SURE for self._breadth in _BREADTHS)

    def sure_share(self, queries: Embeddings) -> float:
        """Return for how large a share of queries (B, D) the codes alone find the answer."""
        found = self.find_many(queries, _SAMPLE_K, [np.empty(0, np.int64)] * len(queries))()
        return sum(line is not None for line in found) / len(found)

    @property
    def nbytes(self) -> int:
        """Size of what is searched: embeddings and codes."""
        return super().nbytes + self._items.size

    def search(self, query: Embeddings, k: int, excluded: Rows) -> Found:
        """Return the k best items that are not excluded, as FlatIndex does."""
        (found,) = self._find(query[None, :], k, [excluded])()
        return super().search(query, k, excluded) if found is None else found

    def search_where(self, query: Embeddings, k: int, permitted: Mask) -> Found:
        """Return the k best of the items where `permitted` (I,), as search does."""
        if np.count_nonzero(permitted) > SCORE_ALL:
            (found,) = self._find(query[None, :], k, [np.flatnonzero(~permitted)])()
            if found is not None:
                return found
        return super().search_where(query, k, permitted)

    def can_search_many(self, excluded: Rows) -> bool:
        """Return True: what a query leaves out costs next to nothing."""
        return True

    def find_again(self, queries: Embeddings, k: int, excluded: Sequence[Rows]) -> Rank:
        """Search the embeddings with FAISS, as FlatIndex.find_many does."""
        return super()._find(queries, k, excluded)

    def _find(self, queries: Embeddings, k: int, excluded: Sequence[Rows]) -> Rank:
        count = int(self._breadth * candidates(k, len(self)))
        if BLOCK * count > len(self):
            return super()._find(queries, k, excluded)
        together = max(_TOGETHER, _PRODUCTS // len(self))
        found: list[Found | None] = []
        for first in range(0, len(queries), together):
            if first:
                pause()
            last = first + together
            best = self._scan.best(queries[first:last], k, count, excluded[first:last])
            lines = zip(best.scores, best.rows, strict=True)
            if best.certain.all():
                found += lines
            else:
                found += [
                    line if sure else None
                    for line, sure in zip(lines, best.certain.tolist(), strict=True)
                ]
        return lambda: found


def flat_index(users: Embeddings, items: Embeddings) -> FlatIndex:
    """Return the fastest exact index over items (I, D) for such queries as the users (U, D)."""
    if len(items) < _LEAST or not len(users):
        return FlatIndex(items)
    sample = np.linspace(0, len(users) - 1, min(_SAMPLE, len(users))).astype(np.int64)
    queries = np.array(users[sample])
    # A part of the items is tried first: among fewer, the scan proves more answers. Where it proves
    # too few even there, the codes of all items are not made.
    few = QuantizedIndex(items[:: len(items) // _LEAST])
    if few.sure_share(queries[:_FIRST_LOOK]) < _HOPEFUL:
        return FlatIndex(items)
    made = QuantizedIndex(items)
    return made if made.tune(queries) else FlatIndex(items)


def search_bytes(items: int, width: int) -> int:
    """Return what one thread that searches so many embeddings takes at most while it does.

    That is the products of the queries that are scanned together, twice, the embeddings of the
    candidates of many, in both precisions, and what says of each item whether it is permitted.
    """
    together = min(max(_TOGETHER, _PRODUCTS // max(1, items)), MOST_TOGETHER)
    candidates_at_once = min(AT_ONCE, MOST_TOGETHER * items * width)
    return 8 * together * items + 12 * candidates_at_once + 40 * items


def extra_bytes(items: int, width: int) -> int:
    """Return what an exact index takes beside so many embeddings: their codes."""
    return items * width if items >= _LEAST else 0
