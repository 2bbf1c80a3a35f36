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

# What a first search fetches beyond what is asked for, where items are excluded. Most queries find
# enough then, however many they exclude; the few others are searched again.
_FIRST_FETCH = 72

# Up to so many permitted items it is cheaper to score each of them.
_SCORE_ALL = 4096

# How many numbers of candidates' embeddings a search of many queries may hold at once.
_AT_ONCE = 1 << 22

# From so many queries on a matrix product is cheaper than a scan for each.
_PRODUCT_FROM = 10

Mask = NDArray[np.bool_]


class FlatIndex:
    """Exact inner-product search over all items, where they stand: nothing is copied."""

    kind: str = "flat"
    recall: float = 1.0
    """The share of the 100 best items that a search finds."""

    def __init__(self, items: Embeddings) -> None:
        """Search embeddings (I, D), which may be mapped from a file."""
        self._items = np.ascontiguousarray(items)
        self._max_norm = max_norm(self._items)

    def __len__(self) -> int:
        """Count the items."""
        return len(self._items)

    @property
    def exact(self) -> "FlatIndex":
        """The index that looks at every item."""
        return self

    @property
    def nbytes(self) -> int:
        """Size of what is searched."""
        return self._items.nbytes

    def search(self, query: Embeddings, k: int, excluded: Rows) -> tuple[Scores, Rows]:
        """Return the k best items that are not excluded, best first; fewer if fewer are left.

        query (D,), excluded: distinct rows, ascending -> scores (k,), rows (k,)

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

        queries (B, D), excluded: distinct rows for each query, ascending
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

        def find(which: NDArray[np.intp], count: int) -> tuple[Scores, Rows]:
            scores, rows = self._nearest(query[None, :], count, selector)
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

    def _nearest(
        self, queries: Embeddings, count: int, selector: Any = None
    ) -> tuple[Scores, Rows]:
        """Return the `count` best of all, or of those that FAISS's selector lets pass."""
        scores = np.empty((len(queries), count), np.float32)
        rows = np.empty((len(queries), count), np.int64)
        point = faiss.swig_ptr
        queries = np.ascontiguousarray(queries)
        # FAISS compares it with the queries' count of numbers.
        faiss.cvar.distance_compute_blas_threshold = _PRODUCT_FROM * queries.shape[1]
        sizes = self._items.shape[1], len(queries), len(self._items), count
        faiss.knn_inner_product(
            point(queries), point(self._items), *sizes, point(scores), point(rows), selector
        )
        return scores, rows

    def _search_together(
        self, queries: Embeddings, k: int, excluded: Sequence[Rows]
    ) -> list[tuple[Scores, Rows]]:
        lengths = np.array([len(each) for each in excluded])
        # Every pair of a query and an item that it leaves out, as one ascending number.
        left_out = np.repeat(np.arange(len(queries)) * len(self), lengths)
        left_out += np.concatenate(excluded)

        def find(which: NDArray[np.intp], count: int) -> tuple[Scores, Rows]:
            most = int(lengths[which].max())
            fetched = min(count + min(most, _FIRST_FETCH), len(self))
            scores, rows = self._nearest(queries[which], fetched)
            if most == 0:
                return scores, rows
            rows[contains(left_out, rows + which[:, None] * len(self))] = NO_ROW
            scores, rows = _pressed(scores, rows, count)
            short = np.flatnonzero(rows[:, -1] == NO_ROW)
            if len(short) and fetched < len(self):
                again = which[short]
                wider = min(count + int(lengths[again].max()), len(self))
                more, found = self._nearest(queries[again], wider)
                found[contains(left_out, found + again[:, None] * len(self))] = NO_ROW
                scores[short], rows[short] = _pressed(more, found, count)
            return scores, rows

        scores, rows = top_k(find, queries, self._items, self._max_norm, k)
        return _each(scores, rows)


def contains(ascending: Rows, numbers: Rows) -> Mask:
    """Return which of the numbers stand in an ascending list."""
    places = np.searchsorted(ascending, numbers)
    places[places == len(ascending)] = 0
    found: Mask = ascending[places] == numbers
    return found


def _pressed(scores: Scores, rows: Rows, count: int) -> tuple[Scores, Rows]:
    """Return the first `count` of each line that are no gap, and gaps where there are no more."""
    gaps = (rows == NO_ROW).any(axis=1)
    pressed, pressed_rows = scores[:, :count].copy(), rows[:, :count].copy()
    if gaps.any():
        lines = np.flatnonzero(gaps)
        there = rows[lines] != NO_ROW
        # moves the gaps to the end, and changes no other order
        order = np.argsort(~there, axis=1, kind="stable")[:, :count]
        there = np.take_along_axis(there, order, 1)
        some = np.take_along_axis(scores[lines], order, 1)
        pressed[lines] = np.where(there, some, np.float32(-np.inf))
        pressed_rows[lines] = np.take_along_axis(rows[lines], order, 1)
    return pressed, pressed_rows


def _each(scores: Scores, rows: Rows) -> list[tuple[Scores, Rows]]:
    """Return the lines without their gaps."""
    if (rows != NO_ROW).all():
        return list(zip(scores, rows, strict=True))
    return [_without_gaps(*line) for line in zip(scores, rows, strict=True)]


def _without_gaps(scores: Scores, rows: Rows) -> tuple[Scores, Rows]:
    there = rows != NO_ROW
    return scores[there], rows[there]
