"""The exact index over a variant's item embeddings.

FAISS finds C > k candidates by inner product in float32; gnnrec_registry.scoring.ranking scores
them again in double precision and orders them, so an answer has the same bits however it was found.
With p_1 >= p_2 >= .. the products and e a bound on their rounding error, the answer is certain if

    p_C < p_k - 2 e

since no other item's product is above p_C. Elsewhere more candidates are fetched, and at last all
items are scored.

B queries, I items, D dimensions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import (
    NO_ROW,
    Doubles,
    Find,
    LeftOut,
    Rows,
    Scores,
    candidates,
    exact_scores,
    max_norm,
    order,
    rank_all,
    settle,
    top_k,
)
from gnnrec_server.process.cancellation import pause

# Up to so many excluded items it is cheaper to fetch as many more and drop them than to have FAISS
# ask for every item whether it is permitted.
_OVER_FETCH = 1024

# What a search of many fetches beyond what is asked for, where items are excluded. Most queries
# find enough then, however many they exclude; the few others are searched for again, one by one.
_FIRST_FETCH = 72

# Up to so many permitted items it is cheaper to score each of them.
SCORE_ALL = 4096

# How many numbers of candidates' embeddings a search of many queries may hold at once.
AT_ONCE = 1 << 22

# About how many queries are searched for together at most.
MOST_TOGETHER = 128

# Items that are named are scored in pieces of so many numbers.
_PIECE = 1 << 18

# From so many queries on a matrix product is cheaper than a scan for each.
_PRODUCT_FROM = 10

Mask = NDArray[np.bool_]

Found = tuple[Scores, Rows]
"""Scores and rows (k,), best first; fewer where fewer are permitted."""

Rank = Callable[[], list[Found | None]]
"""Ranks candidates: for each query what is found, or None where it needs more of them."""


class FlatIndex:
    """Exact inner-product search over all items; their embeddings are not copied."""

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

    @property
    def _width(self) -> int:
        return int(self._items.shape[1])

    @property
    def numbers(self) -> int:
        """How many numbers the embeddings have: what a look at all of them costs."""
        return self._items.size

    def search(self, query: Embeddings, k: int, excluded: Rows) -> Found:
        """Return the k best items that are not excluded, best first; fewer if fewer are left.

        query (D,), excluded: distinct rows, ascending -> scores (k,), rows (k,)

        Equal scores are ordered by the lower row; the answer equals brute force. Where candidates
        do not show it, as among many equal scores, every item is scored, in pieces.
        """
        if len(excluded) > _OVER_FETCH:
            permitted = np.ones(len(self), bool)
            permitted[excluded] = False
            return self.search_where(query, k, permitted)

        def find(which: NDArray[np.intp], count: int) -> Found:
            fetched = min(count + len(excluded), len(self))
            scores, rows = self._nearest(query[None, :], fetched)
            if len(excluded) == 0:
                return scores, rows
            rows[contains(excluded, rows)] = NO_ROW
            return _close_gaps(scores, rows, count)

        return self._top_k(find, query, k, lambda _: excluded)

    def find_many(self, queries: Embeddings, k: int, excluded: Sequence[Rows]) -> Rank:
        """Find candidates for queries of one k, and return a function that ranks them.

        queries (B, D), excluded: distinct rows for each query, ascending

        The function returns what search returns for each query, or None where more candidates are
        needed. Finding is the long part, and leaves the interpreter to other threads; ranking is
        short and takes it.
        """
        parts = self._parts(len(queries), k)
        if len(parts) == 1:
            return self._find(queries, k, excluded)
        begun = []
        for some in parts:
            pause()
            begun.append(self._find(queries[some], k, excluded[some]))
        return lambda: [found for rank in begun for found in rank()]

    def find_again(self, queries: Embeddings, k: int, excluded: Sequence[Rows]) -> Rank:
        """Search again, in another way than find_many, for queries that it returned None for.

        This index has no other way, so the function returned gives None for every query.
        """
        nothing: list[Found | None] = [None] * len(queries)
        return lambda: nothing

    def search_many(self, queries: Embeddings, k: int, excluded: Sequence[Rows]) -> list[Found]:
        """Return for each query what search returns for it, scoring all items where it must.

        It is for queries that find_many returns None for, such as one with many equal scores.
        """
        answers: list[Found] = []
        for some in self._parts(len(queries), k):
            pause()
            answers += self._search_many(queries[some], k, excluded[some])
        return answers

    def can_search_many(self, excluded: Rows) -> bool:
        """Return whether find_many is worth while for a query that leaves out these rows."""
        return len(excluded) <= _OVER_FETCH

    def search_where(self, query: Embeddings, k: int, permitted: Mask) -> Found:
        """Return the k best of the items where `permitted` (I,), as search does."""
        count = int(permitted.sum())
        if count <= SCORE_ALL:
            return self.search_among(query, k, np.flatnonzero(permitted))
        bits = np.packbits(permitted, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(self), faiss.swig_ptr(bits))

        def find(which: NDArray[np.intp], count: int) -> Found:
            scores, rows = self._nearest(query[None, :], count, selector)
            return np.where(rows == NO_ROW, np.float32(-np.inf), scores), rows

        return self._top_k(find, query, k, lambda _: np.flatnonzero(~permitted))

    def search_among(self, query: Embeddings, k: int, permitted: Rows) -> Found:
        """Return the k best of the `permitted` distinct rows, as search does."""
        scores = self.scores(query, permitted)
        best = order(scores, permitted)[:k]
        ordered: Found = scores[best], permitted[best]
        return ordered

    def scores(self, query: Embeddings, rows: Rows, added: Doubles | None = None) -> Scores:
        """Return the scores of items: query (D,), rows (C,) -> (C,); -inf for NO_ROW.

        added (C,): what is added to the inner product of each, before it is rounded
        """
        step = max(1, _PIECE // self._width)
        if len(rows) <= step:
            return self._scores(query, rows, added)
        scores = np.empty(len(rows), np.float32)
        for first in range(0, len(rows), step):
            pause()
            some = slice(first, first + step)
            scores[some] = self._scores(query, rows[some], None if added is None else added[some])
        return scores

    def embedding(self, row: int) -> Embeddings:
        """Return an item's embedding (D,)."""
        item: Embeddings = self._items[row]
        return item

    def _scores(self, query: Embeddings, rows: Rows, added: Doubles | None) -> Scores:
        more = None if added is None else added[None, :]
        scores: Scores = exact_scores(query[None, :], self._items, rows[None, :], more)[0]
        return scores

    def _top_k(self, find: Find, query: Embeddings, k: int, left_out: LeftOut) -> Found:
        scores, rows = top_k(find, query[None, :], self._items, self._max_norm, k, left_out, pause)
        return _without_gaps(scores[0], rows[0])

    def _parts(self, queries: int, k: int) -> list[slice]:
        """Return parts of so many queries whose candidates' embeddings may be held at once."""
        items, width = self._items.shape
        most = candidates(k, items) + _FIRST_FETCH
        together = max(1, AT_ONCE // (most * width))
        return [slice(first, first + together) for first in range(0, queries, together)]

    def _search_many(self, queries: Embeddings, k: int, excluded: Sequence[Rows]) -> list[Found]:
        found = FlatIndex._find(self, queries, k, excluded)()
        which = [number for number, line in enumerate(found) if line is None]
        if which:
            scores, rows = rank_all(
                queries[which],
                self._items,
                self._max_norm,
                min(k, len(self)),
                [excluded[number] for number in which],
                pause,
            )
            for number, line, its_rows in zip(which, scores, rows, strict=True):
                found[number] = _without_gaps(line, its_rows)
        return [line for line in found if line is not None]

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

    def _find(self, queries: Embeddings, k: int, excluded: Sequence[Rows]) -> Rank:
        items = len(self._items)
        left_out = pair_keys(excluded, items)
        count = candidates(k, items)
        most = max(map(len, excluded))
        scores, rows = self._nearest(queries, min(count + min(most, _FIRST_FETCH), items))

        def rank() -> list[Found | None]:
            approximate, found = scores, rows
            enough = np.ones(len(queries), bool)
            if most:
                at = rows + np.arange(len(queries))[:, None] * items
                found[contains(left_out, at)] = NO_ROW
                approximate, found = _close_gaps(scores, found, count)
                if rows.shape[1] < items:
                    enough = found[:, -1] != NO_ROW
            best, ranked, settled = settle(
                queries, self._items, self._max_norm, k, approximate, found
            )
            return results_by_query(best, ranked, enough & settled)

        return rank


def contains(ascending: Rows, numbers: Rows) -> Mask:
    """Return which of the numbers are in an ascending array."""
    if len(ascending) == 0:
        return np.zeros(numbers.shape, bool)
    places = np.searchsorted(ascending, numbers)
    places[places == len(ascending)] = 0
    found: Mask = ascending[places] == numbers
    return found


def _close_gaps(scores: Scores, rows: Rows, count: int) -> tuple[Scores, Rows]:
    """Return the first `count` results of each query that are not NO_ROW, filled up with NO_ROW."""
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


def pair_keys(excluded: Sequence[Rows], items: int) -> Rows:
    """Return a key, number of the query * items + row, for each row that a query leaves out.

    excluded: ascending rows for each query -> keys (L,), ascending
    """
    lengths = [len(rows) for rows in excluded]
    numbers = np.repeat(np.arange(len(excluded)) * items, lengths)
    numbers += np.concatenate(excluded)
    return numbers


def results_by_query(scores: Scores, rows: Rows, settled: Mask) -> list[Found | None]:
    """Return the result of each query without NO_ROW, None for a query that is not settled.

    scores (B, k), rows (B, k), settled (B,)
    """
    if settled.all() and (rows != NO_ROW).all():
        return list(zip(scores, rows, strict=True))
    return [
        _without_gaps(*line) if done else None
        for *line, done in zip(scores, rows, settled.tolist(), strict=True)
    ]


def _without_gaps(scores: Scores, rows: Rows) -> Found:
    there = rows != NO_ROW
    return scores[there], rows[there]
