"""Item lists: for each item a sparse list of items that whoever had it is likely to have next.

With L_j[i] > 0 the weight of item i in the list of item j, the score of a user u with the history
H, the distinct items that the user is known to have had and liked, is

    score(u, i) = float32(<u, e_i> + |H|^-a sum over j in H of L_j[i])

a is the degree_exponent. The inner product and the sum are in double precision, the sum over j in
ascending order; the result is rounded to float32 once. Order is that of `ranking`.

I items, E entries of all lists, B users.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.scoring.ranking import Additions, Doubles, Rows, Scores, order

Added = tuple[Rows, Doubles]
"""Item rows (N,), distinct and ascending, and what is added to the inner product of each (N,)."""

Score = Callable[[Rows, Doubles], Scores]
"""score(item rows (C,), what is added to each (C,)) -> the scores (C,)"""

# So many entries of lists are added up at a time: as many as fit a processor's cache.
_AT_A_TIME = 1 << 15

# Where the entries are fewer than this share of the items, they are sorted and not counted by item.
_SPARSE = 32

# Of the best by inner product, at least so many more than k are found: with k alone most items that
# something is added to could still enter, and would have to be scored.
_DEEPER = 10


@dataclass(frozen=True, eq=False)
class ItemLists:
    """The lists of all items: indptr (I+1,), items (E,) and weights (E,), CSR by item.

    items: rows, distinct and ascending within a list. weights: finite and above 0.
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    weights: NDArray[np.float32]
    degree_exponent: float
    """The sum over a user's items is divided by their number to this power, 0 to 1."""

    def __len__(self) -> int:
        """Count the items."""
        return len(self.indptr) - 1

    @cached_property
    def longest(self) -> int:
        """The length of the longest list."""
        return int(np.diff(self.indptr).max(initial=0))

    def entries(self, history: NDArray[np.integer]) -> int:
        """Return how many entries the lists of some items have together."""
        return int((self.indptr[history + 1] - self.indptr[history]).sum())

    def added(
        self, history: NDArray[np.integer], pause: Callable[[], None] = lambda: None
    ) -> Added:
        """Return what a history of distinct item rows, ascending, adds to which items.

        `pause` is called now and then, and may raise an error to stop.
        """
        starts = self.indptr[history]
        counts = self.indptr[history + 1] - starts
        entries = counts.sum()
        if entries == 0:
            return np.empty(0, np.int64), np.empty(0)
        if _SPARSE * entries < len(self):
            rows, sums = self._sorted(starts, counts)
        else:
            rows, sums = self._counted(starts, counts, pause)
        return rows, sums * float(len(history)) ** -self.degree_exponent

    def additions(self, histories: Sequence[NDArray[np.integer]]) -> Additions:
        """Return what the histories of B users add to the scores of which items."""
        added = [self.added(history) for history in histories]
        ends = np.cumsum([0, *(len(rows) for rows, _ in added)])
        return Additions(
            len(self),
            ends,
            np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in added)]),
            np.concatenate([np.empty(0), *(sums for _, sums in added)]),
        )

    def _sorted(self, starts: Rows, counts: Rows) -> Added:
        """Add up the entries of lists that begin at `starts` and are so long."""
        items, weights = self._gather(starts, counts)
        rows, places = np.unique(items, return_inverse=True)
        sums: Doubles = np.bincount(places, weights).astype(np.float64, copy=False)
        return rows, sums

    def _counted(self, starts: Rows, counts: Rows, pause: Callable[[], None]) -> Added:
        """Do the same in an array of all items, for many entries."""
        sums = np.zeros(len(self))
        ends = np.cumsum(counts)
        cuts = np.searchsorted(ends, np.arange(_AT_A_TIME, ends[-1], _AT_A_TIME))
        for first, last in pairwise(dict.fromkeys([0, *cuts.tolist(), len(ends)])):
            pause()
            np.add.at(sums, *self._gather(starts[first:last], counts[first:last]))
        rows = np.flatnonzero(sums > 0)  # of numbers it takes five times as long
        return rows, sums[rows]

    def _gather(self, starts: Rows, counts: Rows) -> Added:
        """Return the entries of lists, one list after another: items and weights."""
        ends = np.cumsum(counts)
        places = np.repeat(starts - ends + counts, counts)
        places += np.arange(len(places))
        return self.items[places].astype(np.int64), self.weights[places].astype(np.float64)


def added_bytes(items: int) -> int:
    """Return what adding up lists over so many items takes at most, beside the lists."""
    return 60 * items + 40 * _AT_A_TIME


def added_to(rows: NDArray[np.integer], added: Added) -> Doubles:
    """Return what is added to each of some items (C,): 0 where nothing is."""
    there, sums = added
    if len(there) == 0:
        return np.zeros(len(rows))
    places = np.minimum(np.searchsorted(there, rows), len(there) - 1)
    found: Doubles = np.where(there[places] == rows, sums[places], 0.0)
    return found


def depth(k: int, items: int) -> int:
    """Return how many of the best by inner product to find, for the k best of `items` items."""
    return min(k + max(k, _DEEPER), items)


def with_lists(
    score: Score,
    k: int,
    found: tuple[Scores, Rows],
    asked: int,
    added: Added,
    permits: Callable[[Rows], NDArray[np.bool_]],
) -> tuple[Scores, Rows]:
    """Return the k best items with what lists add, from the best by inner product alone.

    found: scores (N,) and rows (N,) by inner product, best first, of which `asked` >= k were asked
    for: fewer where fewer are permitted; permits(rows (C,)) -> which of them are (C,)
    -> scores (k,), rows (k,), fewer where fewer are permitted

    It is exact where `found` is. An item that is neither found nor added to has a total equal to
    its inner product, and k items stand before it by their inner products alone; additions are
    positive and the lower row wins a tie, so the totals of these k stand before it too. Hence the
    best are among what is found and what is added to.

    Of the latter, few can enter. One that was not found has an inner product that rounds to at most
    the last one found, s, so it is below the next float32 s+. Rounding is monotone, so its total is
    at most float32(s+ + what is added to it). The k-th best total so far is the bar: what cannot
    reach it is left out. Where many can, those with the largest additions raise it first.
    """
    scores, rows = found
    if len(added[0]) == 0:
        return scores[:k], rows[:k]
    best = _best(score, k, rows, added)
    limit = scores[-1] if len(rows) == asked else np.float32(np.inf)
    more = _may_enter(limit, best, added)
    if len(more) == 0:
        return best
    more = more[~_is_in(added[0][more], np.sort(rows)) & permits(added[0][more])]
    if len(more) > 2 * (k + _DEEPER) and len(rows) == asked:
        sums = added[1][more]
        first = more[np.argpartition(-sums, k)[:k]]
        best = _best(score, k, np.concatenate([best[1], added[0][first]]), added)
        more = np.setdiff1d(np.intersect1d(more, _may_enter(limit, best, added)), first)
    if len(more) == 0:
        return best
    return _best(score, k, np.concatenate([best[1], added[0][more]]), added)


def _may_enter(limit: np.float32, best: tuple[Scores, Rows], added: Added) -> Rows:
    """Return the places of the additions that may bring an item among the best.

    limit: at most so large are the inner products, once rounded
    """
    with np.errstate(over="ignore"):
        beyond = np.nextafter(limit, np.float32(np.inf)).astype(np.float64)
        totals = (beyond + added[1]).astype(np.float32)
    bar = best[0].min(initial=np.float32(np.inf))
    return np.flatnonzero(totals >= bar)


def _best(score: Score, k: int, rows: Rows, added: Added) -> tuple[Scores, Rows]:
    """Score distinct rows and return the k best, best first."""
    scores = score(rows, added_to(rows, added))
    best = order(scores, rows)[:k]
    return scores[best], rows[best]


def _is_in(rows: Rows, ascending: Rows) -> NDArray[np.bool_]:
    """Return which of the rows are in an ascending array."""
    if len(ascending) == 0:
        return np.zeros(len(rows), bool)
    places = np.minimum(np.searchsorted(ascending, rows), len(ascending) - 1)
    found: NDArray[np.bool_] = ascending[places] == rows
    return found


def problem(lists: ItemLists) -> str | None:
    """Return what is wrong with the weights and the exponent of lists, or None."""
    if not 0 <= lists.degree_exponent <= 1:
        return f"have the degree_exponent {lists.degree_exponent:g}, which is not within 0 and 1"
    if lists.weights.dtype != np.float32 or lists.weights.shape != lists.items.shape:
        return (
            f"have weights of {lists.weights.dtype} {lists.weights.shape}, not float32 "
            f"{lists.items.shape}"
        )
    for start in range(0, len(lists.weights), _AT_A_TIME):
        part = lists.weights[start : start + _AT_A_TIME]
        if not (np.isfinite(part) & (part > 0)).all():
            return "have a weight that is not finite and above 0"
    return None
