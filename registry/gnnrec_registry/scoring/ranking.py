"""What a score is and how items are ordered: the one definition training and serving share.

A score is the inner product of two float32 embeddings, summed in double precision and rounded to
float32. Items are ordered by score descending, equal scores by the lower row. So the order of what
was found does not depend on the matrix library, the batch size or the index that found it; and
where an exact index does, the metrics in a manifest are those of the answers that are served.

B queries, I items, D dimensions, C candidates.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.files.arrays import Embeddings

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]
Doubles = NDArray[np.float64]

NO_ROW = -1
"""Stands where fewer items are permitted than were asked for; its score is -inf."""

Find = Callable[[NDArray[np.intp], int], tuple[Scores, Rows]]
"""find(which queries, count) -> their `count` best candidates by float32 scores, descending."""

LeftOut = Callable[[int], NDArray[np.integer]]
"""Returns the rows, ascending, that the query of a number may not be answered with."""

# Candidates fetched beyond k, so that the k-th score nearly always stands clear of the last one's:
# eight, or more where k is large, for there scores lie close together.
_MARGIN = 8
_MARGIN_SHARE = 8

# Where the candidates are too few, so many times as many are found before all items are scored.
_WIDER = 4

# All items are scored in blocks of so many numbers, for so many queries at a time.
_BLOCK_NUMBERS = 1 << 18
_TOGETHER = 64

# Half of what a float32 or a double changes at most when it rounds, as a share of the number.
_FLOAT, _DOUBLE = 2.0**-24, 2.0**-53
# The smallest float32 that every processor, in every mode, tells from zero.
_SMALLEST = 2.0**-126
# The square of a smaller number is below that.
_SHORTEST = np.float32(2.0**-63)


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
) -> tuple[Scores, Rows]:
    """Return the k best permitted items of each query, exactly: scores and rows, best first.

    queries (B, D), items (I, D) -> scores (B, k), rows (B, k)

    `find` may round as float32 arithmetic does; it finds none of the rows that are `left_out`.
    Where rounding or ties could hide a member of the top k it is asked once more, for more, and
    then every item is scored. `pause` is called now and then, and may raise to end it.
    """
    count = candidates(k, len(items))
    approximate, rows = find(np.arange(len(queries)), count)
    scores, ranked, settled = settle(queries, items, max_item_norm, k, approximate, rows)
    if settled.all():
        return scores, ranked
    wider = min(_WIDER * count, len(items))
    which = np.flatnonzero(~settled & _may_settle(approximate, k, wider, queries, max_item_norm))
    if len(which):
        pause()
        found = find(which, wider)
        scores[which], ranked[which], settled[which] = settle(
            queries[which], items, max_item_norm, k, *found
        )
    which = np.flatnonzero(~settled)
    excluded = [left_out(query) for query in which.tolist()]
    scores[which], ranked[which] = rank_all(
        queries[which], items, max_item_norm, k, excluded, pause
    )
    return scores, ranked


def candidates(k: int, items: int) -> int:
    """Return how many candidates to find first for the k best of so many items."""
    return min(k + max(_MARGIN, k // _MARGIN_SHARE), items)


def settle(
    queries: Embeddings,
    items: Embeddings,
    max_item_norm: float,
    k: int,
    approximate: Scores,
    rows: Rows,
) -> tuple[Scores, Rows, NDArray[np.bool_]]:
    """Rank candidates exactly, and tell for each query whether none can be missing.

    queries (B, D), items (I, D), approximate scores, descending, and rows (B, C), which are all
    there are or the best -> scores (B, k), rows (B, k), settled (B,)
    """
    scores, ranked = _rank(queries, items, rows, k)
    with np.errstate(over="ignore", invalid="ignore"):
        error = _rounding(queries, max_item_norm)
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
) -> tuple[Scores, Rows]:
    """Score every item and return the k best of each query that are not left out.

    queries (B, D), items (I, D), left_out: ascending rows for each query
    -> scores (B, k), rows (B, k), padded as those of top_k

    It takes one pass over the items, whatever their scores, and keeps no more than the best of
    what it has passed.
    """
    scores = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), NO_ROW, np.int64)
    for first in range(0, len(queries), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        _pass(queries[some], items, max_item_norm, left_out[some], pause, scores[some], rows[some])
    return scores, rows


def exact_scores(queries: Embeddings, items: Embeddings, rows: Rows) -> Scores:
    """Return the score of each query with its own rows; -inf for NO_ROW.

    queries (B, D), items (I, D), rows (B, C) -> (B, C)
    """
    found = _summed(queries.astype(np.float64), items[rows].astype(np.float64))
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
    scores: Scores,
    rows: Rows,
) -> None:
    """Go through all items once and write the best of each query into scores and rows (B, k).

    Of the k best so far the last is the bar: of what comes later only a higher score belongs among
    them, for its row is higher. A matrix product tells which items may pass the bar; that rounds
    otherwise than the definition's sums, by no more than `error`.
    """
    k = scores.shape[1]
    doubles = queries.astype(np.float64)
    lengths = np.sqrt(np.vecdot(doubles, doubles))
    error = 4 * queries.shape[1] * _DOUBLE * lengths * max_item_norm
    bars = np.full(len(queries), -np.inf, np.float32)
    found = np.zeros(len(queries), np.int64)
    step = _block_rows(items)
    for first in range(0, len(items), step):
        pause()
        block = items[first : first + step].astype(np.float64)
        highest = _rounded(doubles @ block.T + error[:, None])
        for line in np.flatnonzero((highest.max(axis=1) > bars) | (found < k)).tolist():
            count = int(found[line])
            passing = highest[line] > bars[line] if count == k else np.ones(len(block), bool)
            low, high = np.searchsorted(left_out[line], (first, first + len(block)))
            passing[left_out[line][low:high] - first] = False
            places = np.flatnonzero(passing)
            some = _rounded(_summed(doubles[line : line + 1], block[places][None]))[0]
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

    The sum of a query and a row is the same bits wherever the row stands and whatever stands beside
    it, which is not so of a matrix product: rows that are equal must have equal scores.
    """
    products: Doubles = np.vecdot(rows, queries[:, None, :])
    return products


def _rounded(scores: Doubles) -> Scores:
    """Round to float32; what is beyond its range becomes infinity, as IEEE 754 has it."""
    with np.errstate(over="ignore", under="ignore"):
        return scores.astype(np.float32)


def _block_rows(items: Embeddings) -> int:
    return max(1, _BLOCK_NUMBERS // max(1, int(items.shape[1])))


def _rank(queries: Embeddings, items: Embeddings, rows: Rows, k: int) -> tuple[Scores, Rows]:
    """Score candidates (B, C) exactly and return the first k of each line in order, padded to k."""
    scores = exact_scores(queries, items, rows)
    best = order(scores, rows)[:, :k]
    scores, rows = np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)
    short = k - scores.shape[1]
    if short > 0:
        scores = np.pad(scores, ((0, 0), (0, short)), constant_values=-np.inf)
        rows = np.pad(rows, ((0, 0), (0, short)), constant_values=NO_ROW)
    return scores, rows


def order(scores: Scores, rows: Rows) -> NDArray[np.intp]:
    """Return what puts each line (B, C), or a single one (C,), in order; NO_ROW comes last."""
    as_unsigned = np.ascontiguousarray(rows).view(np.uint64)  # where NO_ROW is the largest
    return np.lexsort((as_unsigned, -scores), axis=-1)


def _rounding(queries: Embeddings, max_item_norm: float) -> Scores:
    """Bound how far float32 arithmetic can take a score of each query: (B, D) -> (B,).

    The sum of D products, in any order, is off by at most D u / (1 - D u) times the sum of their
    sizes, u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), and that
    sum is at most the product of the lengths. Some more u pay for what the definition itself, this
    bound and the comparison with it round. Below 2^-126 numbers are rounded in steps, or to 0 where
    the processor is told to flush them: factors, products and sums, and the squares of a length.
    Infinity, or NaN, where a sum could overflow.
    """
    twice_norm, half_share, each, small = _factors(queries.shape[1], max_item_norm)
    root = np.float32(queries.shape[1] ** 0.5)
    lengths = np.sqrt(np.vecdot(queries, queries)) + _SHORTEST * root
    error: Scores = lengths * twice_norm * half_share + lengths * each + small
    return error


@lru_cache(64)
def _factors(width: int, max_item_norm: float) -> tuple[np.float32, ...]:
    """Return what lengths are multiplied by for _rounding, and what is added.

    Twice the largest norm, so that what may overflow overflows here; half the share of the length's
    product by which a sum may be off; and two for numbers below 2^-126.
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
    """Tell whether the true top k surely lies among the candidates: (B, C), (B,) -> (B,).

    True where the last candidate scores below the k-th by more than both can be wrong, so that no
    item left out belongs to the top k, ties included; or where nothing was left out.
    """
    last = approximate[:, -1]
    stands_clear = last < approximate[:, k - 1] - 2 * error
    settled: NDArray[np.bool_] = stands_clear | ((last == -np.inf) & (error < np.inf))
    return settled


def _may_settle(
    approximate: Scores, k: int, wider: int, queries: Embeddings, max_item_norm: float
) -> NDArray[np.bool_]:
    """Tell for each query whether `wider` candidates would settle it if scores fell on as they do.

    Not where all candidates score alike: there may be no end of them.
    """
    count = approximate.shape[1]
    if count <= k:
        return np.zeros(len(approximate), bool)
    with np.errstate(over="ignore", invalid="ignore"):
        fall = approximate[:, k - 1].astype(np.float64) - approximate[:, -1]
        error = _rounding(queries, max_item_norm).astype(np.float64)
        may: NDArray[np.bool_] = fall * (wider - k) > 2 * error * (count - k)
    return may & np.isfinite(error)
