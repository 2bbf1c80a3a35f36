"""What a score is and how items are ordered: the one definition training and serving share.

A score is the inner product of two float32 embeddings, summed in double precision and rounded to
float32. Items are ordered by score descending, equal scores by the lower row. So the order of what
was found does not depend on the matrix library, the batch size or the index that found it; and
where an exact index does, the metrics in a manifest are those of the answers that are served.

B queries, I items, D dimensions, C candidates.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from registry.arrays import Embeddings

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]

NO_ROW = -1
"""Stands where fewer items are permitted than were asked for; its score is -inf."""

Find = Callable[[NDArray[np.intp], int], tuple[Scores, Rows]]
"""find(which queries, count) -> their `count` best candidates by float32 scores, descending."""

# Candidates fetched beyond k, so that the k-th score nearly always stands clear of the last one's.
_MARGIN = 8


def top_k(
    find: Find, queries: Embeddings, items: Embeddings, max_item_norm: float, k: int
) -> tuple[Scores, Rows]:
    """Return the k best permitted items of each query, exactly: scores and rows, best first.

    queries (B, D), items (I, D) -> scores (B, k), rows (B, k)

    `find` decides what is permitted and may round as float32 arithmetic does. Where rounding or
    ties could hide a member of the top k it is asked again for more.
    """
    count = candidates(k, len(items))
    approximate, rows = find(np.arange(len(queries)), count)
    scores, ranked, settled = settle(queries, items, max_item_norm, k, approximate, rows)
    for query in np.flatnonzero(~settled):
        which, wider, done = np.array([query]), count, False
        while not done:
            wider = min(4 * wider, len(items))
            found = find(which, wider)
            one, rows, (done,) = settle(queries[which], items, max_item_norm, k, *found)
        scores[query], ranked[query] = one, rows
    return scores, ranked


def candidates(k: int, items: int) -> int:
    """Return how many candidates to find first for the k best of so many items."""
    return min(k + _MARGIN, items)


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
    if rows.shape[1] == len(items):
        return scores, ranked, np.ones(len(queries), bool)
    return scores, ranked, _is_settled(approximate, k, _rounding(queries, max_item_norm))


def exact_scores(queries: Embeddings, items: Embeddings, rows: Rows) -> Scores:
    """Return the score of each query with its own rows; -inf for NO_ROW.

    queries (B, D), items (I, D), rows (B, C) -> (B, C)
    """
    candidates = items[rows].astype(np.float64)
    scores = np.matmul(candidates, queries.astype(np.float64)[:, :, None])[:, :, 0]
    return np.where(rows == NO_ROW, -np.inf, scores).astype(np.float32)


def max_norm(items: Embeddings) -> float:
    """Return the largest Euclidean length of a row."""
    return float(np.sqrt(np.einsum("id,id->i", items, items).max()))


def _rank(queries: Embeddings, items: Embeddings, rows: Rows, k: int) -> tuple[Scores, Rows]:
    """Score candidates (B, C) exactly and return the first k of each line in order, padded to k."""
    scores = exact_scores(queries, items, rows)
    best = np.lexsort((rows, -scores), axis=-1)[:, :k]
    scores, rows = np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)
    short = k - scores.shape[1]
    if short > 0:
        scores = np.pad(scores, ((0, 0), (0, short)), constant_values=-np.inf)
        rows = np.pad(rows, ((0, 0), (0, short)), constant_values=NO_ROW)
    return scores, rows


def _rounding(queries: Embeddings, max_item_norm: float) -> Scores:
    """Bound what float32 summation can change in a score of each query: (B, D) -> (B,)."""
    width = queries.shape[1]
    lengths = np.sqrt(np.einsum("bd,bd->b", queries, queries))
    bound: Scores = lengths * np.float32(4 * np.sqrt(width) * 2.0**-24 * max_item_norm)
    return bound


def _is_settled(approximate: Scores, k: int, error: Scores) -> NDArray[np.bool_]:
    """Tell whether the true top k surely lies among the candidates: (B, C), (B,) -> (B,).

    True where the last candidate scores below the k-th by more than both can be wrong, so that no
    item left out belongs to the top k, ties included; or where nothing was left out.
    """
    last = approximate[:, -1]
    settled: NDArray[np.bool_] = np.isneginf(last) | (last < approximate[:, k - 1] - 2 * error)
    return settled
