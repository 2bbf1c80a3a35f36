"""What a score is and how items are ordered, in training and in serving alike.

A score is the inner product of two float32 embeddings, summed in double precision and rounded to
float32; where a variant has item lists, what they add is added before it is rounded (see `lists`).
Items are ordered by score descending, equal scores by the lower row. So the order does not depend
on the matrix library, the batch size or the index that found the items. With an exact index, served
answers are the ones whose metrics stand in the manifest.

B queries, I items, D dimensions, C candidates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.files.arrays import Embeddings

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]
Doubles = NDArray[np.float64]

NO_ROW = -1
"""Fills a list when fewer items are permitted than were asked for; its score is -inf."""

Find = Callable[[NDArray[np.intp], int], tuple[Scores, Rows]]
"""find(query numbers (N,), count) -> approximate scores (N, count), descending, and rows."""

LeftOut = Callable[[int], NDArray[np.integer]]
"""left_out(query number) -> the item rows, ascending, that must not be in the query's answer."""

# Candidates fetched beyond k, so that the k-th score is nearly always clearly above the last one's:
# at least eight, and more for a large k, where scores are close together.
_MARGIN = 8
_MARGIN_SHARE = 8

# If the candidates are too few, this many times more are fetched before all items are scored.
_WIDER = 4

# When all items are scored: the numbers in a block of items, and the queries taken at a time.
_BLOCK_NUMBERS = 1 << 18
_TOGETHER = 64

# The unit roundoff of float32 and of double: the largest relative error of rounding a number.
_FLOAT, _DOUBLE = 2.0**-24, 2.0**-53
# The smallest normal float32: a processor may flush smaller ones to zero.
_SMALLEST = 2.0**-126
# The square of a smaller number is below the smallest normal float32.
_SHORTEST = np.float32(2.0**-63)


@dataclass(frozen=True, eq=False)
class Additions:
    """What is added to the inner products of B queries with some of I items, as CSR by query.

    indptr (B+1,); rows (E,): item rows, distinct and ascending within a query; sums (E,): above 0.
    """

    items: int
    indptr: NDArray[np.int64]
    rows: Rows
    sums: Doubles

    @cached_property
    def largest(self) -> Doubles:
        """The largest addition of each query (B,); 0 where there is none."""
        largest = np.zeros(len(self.indptr) - 1)
        np.maximum.at(largest, self.lines, self.sums)
        return largest

    def at(self, rows: Rows) -> Doubles:
        """Return what is added to items of each query: rows (B, C) -> (B, C); 0 for NO_ROW."""
        if len(self.rows) == 0:
            return np.zeros(rows.shape)
        wanted = rows + np.arange(len(rows))[:, None] * self.items
        places = np.minimum(np.searchsorted(self._keys, wanted), len(self.rows) - 1)
        is_there = (self._keys[places] == wanted) & (rows != NO_ROW)
        return np.where(is_there, self.sums[places], 0.0)

    def take(self, which: NDArray[np.intp]) -> "Additions":
        """Return the additions of some queries, by their numbers (N,)."""
        parts = [np.arange(self.indptr[line], self.indptr[line + 1]) for line in which]
        places = np.concatenate([np.empty(0, np.int64), *parts])
        indptr = np.cumsum([0, *map(len, parts)])
        return Additions(self.items, indptr, self.rows[places], self.sums[places])

    def dense(self, first: int, last: int) -> Doubles:
        """Return what is added to the items from `first` to before `last`: (B, last - first)."""
        dense = np.zeros((len(self.indptr) - 1, last - first))
        inside = (self.rows >= first) & (self.rows < last)
        dense[self.lines[inside], self.rows[inside] - first] = self.sums[inside]
        return dense

    @cached_property
    def lines(self) -> NDArray[np.intp]:
        """The number of the query that each addition is for (E,)."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))

    @cached_property
    def _keys(self) -> Rows:
        keys: Rows = self.lines * self.items + self.rows
        return keys


def nothing(query: int) -> Rows:
    """Return no rows: the query may be answered with every item."""
    return np.empty(0, np.int64)


def top_k(
    find: Find,
    queries: Embeddings,
    items: Embeddings,
    max_item_norm: float,
    k: int,
    left_out: LeftOut = nothing,
    pause: Callable[[], None] = lambda: None,
    added: Additions | None = None,
) -> tuple[Scores, Rows]:
    """Return the k best permitted items of each query, exactly: scores and rows, best first.

    queries (B, D), items (I, D) -> scores (B, k), rows (B, k)

    `find` may compute scores in float32, what is `added` to them included; it must not return rows
    that are `left_out`. Where rounding or ties could hide a member of the top k, `find` is called
    again for more candidates, and if that is not enough every item is scored. `pause` is called
    between steps, and may raise an error to stop.
    """
    count = candidates(k, len(items))
    approximate, rows = find(np.arange(len(queries)), count)
    scores, ranked, settled = settle(queries, items, max_item_norm, k, approximate, rows, added)
    if settled.all():
        return scores, ranked
    wider = min(_WIDER * count, len(items))
    error = _error(queries, max_item_norm, added)
    which = np.flatnonzero(~settled & _may_settle(approximate, k, wider, error))
    if len(which):
        pause()
        found = find(which, wider)
        scores[which], ranked[which], settled[which] = settle(
            queries[which], items, max_item_norm, k, *found, added and added.take(which)
        )
    which = np.flatnonzero(~settled)
    excluded = [left_out(query) for query in which.tolist()]
    scores[which], ranked[which] = rank_all(
        queries[which], items, max_item_norm, k, excluded, pause, added and added.take(which)
    )
    return scores, ranked


def candidates(k: int, items: int) -> int:
    """Return how many candidates to fetch first, for the k best of `items` items."""
    return min(k + max(_MARGIN, k // _MARGIN_SHARE), items)


def settle(
    queries: Embeddings,
    items: Embeddings,
    max_item_norm: float,
    k: int,
    approximate: Scores,
    rows: Rows,
    added: Additions | None = None,
) -> tuple[Scores, Rows, NDArray[np.bool_]]:
    """Rank candidates exactly, and tell for each query whether its top k is certain.

    queries (B, D), items (I, D), approximate scores (B, C), descending, and their rows (B, C)
    -> scores (B, k), rows (B, k), settled (B,)
    """
    scores, ranked = _rank(queries, items, rows, k, None if added is None else added.at(rows))
    with np.errstate(over="ignore", invalid="ignore"):
        error = _error(queries, max_item_norm, added)
        if rows.shape[1] == len(items):
            return scores, ranked, error < np.inf
        return scores, ranked, _is_settled(approximate, k, error)


def rank_all(
    queries: Embeddings,
    items: Embeddings,
    max_item_norm: float,
    k: int,
    left_out: Sequence[NDArray[np.integer]],
    pause: Callable[[], None] = lambda: None,
    added: Additions | None = None,
) -> tuple[Scores, Rows]:
    """Score every item and return the k best of each query that are not left out.

    queries (B, D), items (I, D), left_out: ascending rows for each query
    -> scores (B, k), rows (B, k), padded as those of top_k

    It makes one pass over the items and keeps only the k best so far of each query.
    """
    scores = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), NO_ROW, np.int64)
    if added is None:
        added = Additions(
            len(items), np.zeros(len(queries) + 1, np.int64), rows[:0, 0], np.empty(0)
        )
    for first in range(0, len(queries), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        theirs = added.take(np.arange(len(queries))[some])
        _pass(
            queries[some], items, max_item_norm, left_out[some], pause, theirs,
            scores[some], rows[some],
        )  # fmt: skip
    return scores, rows


def exact_scores(
    queries: Embeddings, items: Embeddings, rows: Rows, added: Doubles | None = None
) -> Scores:
    """Return the score of each query with its own rows; -inf for NO_ROW.

    queries (B, D), items (I, D), rows (B, C), what is added to each (B, C) -> (B, C)
    """
    found = _summed(queries.astype(np.float64), items[rows].astype(np.float64))
    if added is not None:
        found = found + added
    return _rounded(np.where(rows == NO_ROW, -np.inf, found))


def max_norm(items: Embeddings) -> float:
    """Return the largest Euclidean length of a row."""
    largest = 0.0
    step = _block_rows(items)
    for first in range(0, len(items), step):
        block = items[first : first + step].astype(np.float64)
        largest = max(largest, float(np.vecdot(block, block).max()))
    return float(np.sqrt(largest))


def _pass(
    queries: Embeddings,
    items: Embeddings,
    max_item_norm: float,
    left_out: Sequence[NDArray[np.integer]],
    pause: Callable[[], None],
    added: Additions,
    scores: Scores,
    rows: Rows,
) -> None:
    """Go through all items once and write the best of each query into scores and rows (B, k).

    The bar is the k-th best score so far. A later item has a higher row, so it needs a higher score
    to enter the list. A matrix product finds the items that may pass the bar; it rounds differently
    from the exact sums, by at most `error`.
    """
    k = scores.shape[1]
    doubles = queries.astype(np.float64)
    lengths = np.sqrt(np.vecdot(doubles, doubles))
    error = 4 * _DOUBLE * (queries.shape[1] * lengths * max_item_norm + added.largest)
    bars = np.full(len(queries), -np.inf, np.float32)
    found = np.zeros(len(queries), np.int64)
    step = _block_rows(items)
    for first in range(0, len(items), step):
        pause()
        block = items[first : first + step].astype(np.float64)
        addition = added.dense(first, first + len(block))
        highest = _rounded(doubles @ block.T + addition + error[:, None])
        for line in np.flatnonzero((highest.max(axis=1) > bars) | (found < k)).tolist():
            count = int(found[line])
            passing = highest[line] > bars[line] if count == k else np.ones(len(block), bool)
            low, high = np.searchsorted(left_out[line], (first, first + len(block)))
            passing[left_out[line][low:high] - first] = False
            places = np.flatnonzero(passing)
            products = _summed(doubles[line : line + 1], block[places][None])[0]
            some = _rounded(products + addition[line, places])
            all_scores = np.concatenate([scores[line, :count], some])
            all_rows = np.concatenate([rows[line, :count], first + places])
            best = np.argsort(-all_scores, kind="stable")[:k]
            count = len(best)
            scores[line, :count], rows[line, :count] = all_scores[best], all_rows[best]
            found[line] = count
            if count == k:
                bars[line] = scores[line, -1]


def _summed(queries: Doubles, rows: Doubles) -> Doubles:
    """Return inner products: queries (B, D), rows (B, C, D) -> (B, C).

    Equal rows must have equal scores. So the result of a query and a row must not depend on the
    row's position or on its neighbours, as it may in a matrix product.
    """
    products: Doubles = np.vecdot(rows, queries[:, None, :])
    return products


def _rounded(scores: Doubles) -> Scores:
    """Round to float32; numbers beyond its range become infinity, as in IEEE 754."""
    with np.errstate(over="ignore", under="ignore"):
        return scores.astype(np.float32)


def _block_rows(items: Embeddings) -> int:
    return max(1, _BLOCK_NUMBERS // max(1, int(items.shape[1])))


def _rank(
    queries: Embeddings, items: Embeddings, rows: Rows, k: int, added: Doubles | None
) -> tuple[Scores, Rows]:
    """Score candidates (B, C) exactly and return the first k of each line in order, padded to k."""
    scores = exact_scores(queries, items, rows, added)
    best = order(scores, rows)[:, :k]
    scores, rows = np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)
    short = k - scores.shape[1]
    if short > 0:
        scores = np.pad(scores, ((0, 0), (0, short)), constant_values=-np.inf)
        rows = np.pad(rows, ((0, 0), (0, short)), constant_values=NO_ROW)
    return scores, rows


def order(scores: Scores, rows: Rows) -> NDArray[np.intp]:
    """Return the indices that sort each list (B, C), or a single one (C,); NO_ROW comes last."""
    as_unsigned = np.ascontiguousarray(rows).view(np.uint64)  # NO_ROW, -1, becomes the largest
    return np.lexsort((as_unsigned, -scores), axis=-1)


def _error(queries: Embeddings, max_item_norm: float, added: Additions | None) -> Scores:
    """Bound the error of scores in float32 arithmetic, additions included: (B, D) -> (B,).

    To round an addition, to add it, and to round the exact score each cost at most 2^-24 of it
    beside what they cost of the inner product. The bound is infinite where a sum could overflow.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        error = _rounding(queries, max_item_norm)
        if added is not None:
            twice = (2 * added.largest).astype(np.float32)
            error = error + twice * np.float32(4 * _FLOAT) + np.float32(2 * _SMALLEST)
    return error


def _rounding(queries: Embeddings, max_item_norm: float) -> Scores:
    """Bound the rounding error of each query's scores in float32 arithmetic: (B, D) -> (B,).

    The sum of D products, in any order, is off by at most D u / (1 - D u) times the sum of their
    sizes, u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), and that
    sum is at most the product of the lengths. A few more u cover the rounding of the exact score,
    of this bound and of the comparison with it. Numbers below 2^-126 lose precision or are flushed
    to 0, which an absolute term covers. The bound is infinite or NaN where a sum could overflow.
    """
    twice_norm, half_share, small_share, small = _factors(queries.shape[1], max_item_norm)
    root = np.float32(queries.shape[1] ** 0.5)
    lengths = np.sqrt(np.vecdot(queries, queries)) + _SHORTEST * root
    error: Scores = lengths * twice_norm * half_share + lengths * small_share + small
    return error


@lru_cache(64)
def _factors(width: int, max_item_norm: float) -> tuple[np.float32, ...]:
    """Return the factors of the bound in _rounding, which do not depend on the query.

    Twice the largest norm, so that an overflow shows here; half the relative error of a sum; and
    the relative and the absolute term for numbers below 2^-126.
    """
    share = (width + 16) * _FLOAT
    root = float(np.sqrt(width))
    with np.errstate(over="ignore"):
        return (
            np.float32(2 * max_item_norm),
            np.float32(share / (1 - 2 * share) / 2),
            np.float32(_SMALLEST * root),
            np.float32(_SMALLEST * (root * max_item_norm + 2 * width + 1)),
        )


def _is_settled(approximate: Scores, k: int, error: Scores) -> NDArray[np.bool_]:
    """Tell whether the true top k is certain to be among the candidates: (B, C), (B,) -> (B,).

    True if the last candidate is below the k-th by more than the errors of both scores: then no
    item outside the candidates can belong to the top k, ties included. Also true if the candidates
    are all the permitted items.
    """
    last = approximate[:, -1]
    stands_clear = last < approximate[:, k - 1] - 2 * error
    settled: NDArray[np.bool_] = stands_clear | ((last == -np.inf) & (error < np.inf))
    return settled


def _may_settle(approximate: Scores, k: int, wider: int, error: Scores) -> NDArray[np.bool_]:
    """Tell for each query whether `wider` candidates are likely to make its top k certain.

    It assumes that scores go on falling at the rate seen so far; equal scores give False.
    """
    count = approximate.shape[1]
    if count <= k:
        return np.zeros(len(approximate), bool)
    with np.errstate(over="ignore", invalid="ignore"):
        fall = approximate[:, k - 1].astype(np.float64) - approximate[:, -1]
        may: NDArray[np.bool_] = fall * (wider - k) > 2 * error.astype(np.float64) * (count - k)
    return may & np.isfinite(error)
