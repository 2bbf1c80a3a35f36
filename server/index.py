"""The index over a variant's item embeddings: FAISS finds, the registry's definition orders.

B queries, I items, D dimensions.
"""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from registry.arrays import Embeddings
from registry.ranking import NO_ROW, Rows, Scores, exact_scores, max_norm, top_k

# Up to so many excluded items it is cheaper to fetch as many more and drop them than to have FAISS
# ask for every item whether it is permitted.
_OVER_FETCH = 1024


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

        def find(which: NDArray[np.intp], count: int) -> tuple[Scores, Rows]:
            return self._find(query[None, :], count, excluded)

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

    def _find(self, query: Embeddings, count: int, excluded: Rows) -> tuple[Scores, Rows]:
        """Return the `count` best permitted candidates by FAISS's scores, padded with NO_ROW."""
        if len(excluded) <= _OVER_FETCH:
            fetched = min(count + len(excluded), len(self))
            scores, rows = self._index.search(query, fetched)
            kept = ~np.isin(rows[0], excluded)
            scores, rows = scores[:, kept][:, :count], rows[:, kept][:, :count]
        else:
            permitted = np.ones(len(self), bool)
            permitted[excluded] = False
            bits = np.packbits(permitted, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(self), faiss.swig_ptr(bits))
            parameters: Any = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
            scores, rows = self._index.search(query, count, params=parameters)
        padding = ((0, 0), (0, count - scores.shape[1]))
        rows = np.pad(rows, padding, constant_values=NO_ROW)
        scores = np.pad(scores, padding, constant_values=-np.inf)
        return np.where(rows == NO_ROW, np.float32(-np.inf), scores), rows


def _without_gaps(scores: Scores, rows: Rows) -> tuple[Scores, Rows]:
    there = rows != NO_ROW
    return scores[there], rows[there]
