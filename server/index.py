"""The index over a variant's item embeddings: FAISS finds, the registry's definition orders.

B queries, I items, D dimensions.
"""

from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from registry.arrays import Embeddings
from registry.ranking import NO_ROW, Rows, Scores, exact_scores, max_norm, top_k

# Up to so many excluded items it is cheaper to fetch as many more and drop them than to have FAISS
# ask for every item whether it is permitted.
_OVER_FETCH = 1024

# Up to so many permitted items it is cheaper to score each of them.
_SCORE_ALL = 4096

# How many numbers of candidates' embeddings a search of many queries may hold at once.
_AT_ONCE = 1 << 22

Mask = NDArray[np.bool_]


class FlatIndex:
    """Exact inner-product search over all items."""

    kind = "flat"

    def __init__(self, items: Embeddings) -> None:
        """Copy the embeddings (I, D) into FAISS."""
        self._items = np.ascontiguousarray(items)
        self._max_norm = max_norm(self._items)
        self._index: Any = faiss.IndexFlatIP(items.shape[1])
        self._index.add(self._items)

    def __len__(self) -> int:
        """Count the items."""
        return len(self._items)

    def search(self, query: Embeddings, k: int, excluded: Rows) -> tuple[Scores, Rows]:
        """Return the k best items that are not excluded, best first; fewer if fewer are left.

        query (D,), excluded: distinct rows -> scores (k,), rows (k,)

        Equal scores are ordered by the lower row; the answer equals brute force.
        """
        if len(excluded) <= _OVER_FETCH:
            return self.search_many(query[None, :], k, [excluded])[0]
        permitted = np.ones(len(self), bool)
        permitted[excluded] = False
        return self.search_where(query, k, permitted)

    def search_many(
        self, queries: Embeddings, k: int, excluded: Sequence[Rows]
    ) -> list[tuple[Scores, Rows]]:
        """Return for each query what search returns for it, at most a matrix at once.

        queries (B, D), excluded: distinct rows for each query
        """
        answers: list[tuple[Scores, Rows]] = []
        together = max(1, _AT_ONCE // ((k + max(map(len, excluded))) * queries.shape[1]))
        for first in range(0, len(queries), together):
            part = slice(first, first + together)
            answers += self._search_together(queries[part], k, excluded[part])
        return answers

    def can_search_many(self, excluded: Rows) -> bool:
        """Return whether a query that leaves out so much is one for search_many."""
        return len(excluded) <= _OVER_FETCH

    def search_where(self, query: Embeddings, k: int, permitted: Mask) -> tuple[Scores, Rows]:
        """Return the k best of the items where `permitted` (I,), as search does."""
        count = int(permitted.sum())
        if count <= _SCORE_ALL:
            return self.search_among(query, k, np.flatnonzero(permitted))
        bits = np.packbits(permitted, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(self), faiss.swig_ptr(bits))
        parameters: Any = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]

        def find(which: NDArray[np.intp], count: int) -> tuple[Scores, Rows]:
            scores, rows = self._index.search(query[None, :], count, params=parameters)
            return np.where(rows == NO_ROW, np.float32(-np.inf), scores), rows

        scores, rows = top_k(find, query[None, :], self._items, self._max_norm, k)
        return _without_gaps(scores[0], rows[0])

    def search_among(self, query: Embeddings, k: int, permitted: Rows) -> tuple[Scores, Rows]:
        """Return the k best of the `permitted` distinct rows, as search does."""
        scores = self.scores(query, permitted)
        best = np.lexsort((permitted, -scores))[:k]
        ordered: tuple[Scores, Rows] = scores[best], permitted[best]
        return ordered

    def scores(self, query: Embeddings, rows: Rows) -> Scores:
        """Return the scores of items: query (D,), rows (C,) -> (C,); -inf for NO_ROW."""
        scores: Scores = exact_scores(query[None, :], self._items, rows[None, :])[0]
        return scores

    def embedding(self, row: int) -> Embeddings:
        """Return an item's embedding (D,)."""
        item: Embeddings = self._items[row]
        return item

    def _search_together(
        self, queries: Embeddings, k: int, excluded: Sequence[Rows]
    ) -> list[tuple[Scores, Rows]]:
        most = max(map(len, excluded))

        def find(which: NDArray[np.intp], count: int) -> tuple[Scores, Rows]:
            fetched = min(count + most, len(self))
            scores, rows = self._index.search(queries[which], fetched)
            if most == 0:
                return scores, rows
            left = np.full((len(which), count), NO_ROW, np.int64)
            left_scores = np.full((len(which), count), -np.inf, np.float32)
            for place, query in enumerate(which):
                kept = np.flatnonzero(~np.isin(rows[place], excluded[query]))[:count]
                left[place, : len(kept)] = rows[place, kept]
                left_scores[place, : len(kept)] = scores[place, kept]
            return left_scores, left

        scores, rows = top_k(find, queries, self._items, self._max_norm, k)
        return [_without_gaps(*answer) for answer in zip(scores, rows, strict=True)]


def _without_gaps(scores: Scores, rows: Rows) -> tuple[Scores, Rows]:
    there = rows != NO_ROW
    return scores[there], rows[there]
