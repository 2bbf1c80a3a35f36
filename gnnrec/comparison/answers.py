"""How alike two versions answer the same users. B users, I items, D dimensions."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import Version
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import NO_ROW, Additions, Rows, Scores, max_norm, top_k

_USERS = 1000
_AT_A_TIME = 64
_EXTREMES = 10


@dataclass(frozen=True)
class Overlap:
    """The overlap of two versions' lists: the mean over users of the share of items in both.

    histogram: how many users have an overlap of 0 to 10%, of 10 to 20%, ..., of 90 to 100%.
    """

    k: int
    users: int
    mean: float
    histogram: tuple[int, ...]


@dataclass(frozen=True)
class Shift:
    """An item, and the number of compared lists of A and of B that contain it."""

    item_id: str
    title: str
    a: int
    b: int

    @property
    def change(self) -> int:
        """By how many lists B has the item more often than A."""
        return self.b - self.a


@dataclass(frozen=True)
class Answers:
    """The overlap of answers, and the items whose number of lists rises and falls most."""

    overlap: Overlap
    winners: tuple[Shift, ...]
    losers: tuple[Shift, ...]


def compare_answers(
    a: Version, b: Version, variants: tuple[str, str], k: int, advance: Callable[[float], None]
) -> Answers | None:
    """Ask both versions for the k best unseen items of the same users; None if they share none.

    At most 1000 users are asked, evenly spaced among those that both versions know.
    """
    place = {user: row for row, user in enumerate(b.user_ids)}
    common = [(row, place[user]) for row, user in enumerate(a.user_ids) if user in place]
    if not common:
        return None
    chosen = np.array(common)[np.unique(np.linspace(0, len(common) - 1, _USERS).astype(int))]
    item_ids = [*a.item_ids, *sorted(set(b.item_ids) - set(a.item_ids))]
    number = {item: row for row, item in enumerate(item_ids)}
    b_number = np.array([number[item] for item in b.item_ids])
    ours = _lists(a, variants[0], chosen[:, 0], k, lambda share: advance(share / 2))
    theirs = _lists(b, variants[1], chosen[:, 1], k, lambda share: advance((1 + share) / 2))
    theirs = np.where(theirs == NO_ROW, NO_ROW, b_number[theirs])
    counts = [np.bincount(rows[rows != NO_ROW], minlength=len(item_ids)) for rows in (ours, theirs)]
    change = counts[1] - counts[0]
    best = np.argsort(-change, kind="stable")[:_EXTREMES]
    worst = np.argsort(change, kind="stable")[:_EXTREMES]
    titles = _titles(a) | _titles(b)

    def shift(row: int) -> Shift:
        item = item_ids[row]
        return Shift(item, titles.get(item, ""), int(counts[0][row]), int(counts[1][row]))

    return Answers(
        overlap(ours, theirs, k),
        tuple(shift(row) for row in best if change[row] > 0),
        tuple(shift(row) for row in worst if change[row] < 0),
    )


def overlap(ours: Rows, theirs: Rows, k: int) -> Overlap:
    """Return the overlap of two lists of each user: ours (B, k), theirs (B, k)."""
    shared = ((ours[:, :, None] == theirs[:, None, :]) & (ours != NO_ROW)[:, :, None]).any(2)
    longest = np.maximum((ours != NO_ROW).sum(1), (theirs != NO_ROW).sum(1))
    shares = np.where(longest > 0, shared.sum(1) / np.maximum(longest, 1), 1.0)
    tenths = np.minimum((shares * 10 + 1e-9).astype(int), 9)
    histogram = tuple(int(count) for count in np.bincount(tenths, minlength=10))
    return Overlap(k, len(ours), float(shares.mean()), histogram)


def _lists(
    version: Version,
    variant: str,
    user_rows: NDArray[np.int64],
    k: int,
    advance: Callable[[float], None],
) -> Rows:
    """Return the k best unseen items of users (B,) as a server would: rows (B, k)."""
    users, items = (np.asarray(half) for half in version.embeddings(variant))
    indptr, seen = version.seen
    lists, liked = version.lists(variant), version.liked
    longest = max_norm(items)
    answers = []
    for start in range(0, len(user_rows), _AT_A_TIME):
        which = user_rows[start : start + _AT_A_TIME]
        places = [slice(indptr[row], indptr[row + 1]) for row in which]
        had = [seen[place] for place in places]
        added = None
        if lists is not None:
            marks = [slice(None) if liked is None else liked[place] for place in places]
            added = lists.additions([rows[mark] for rows, mark in zip(had, marks, strict=True)])
        answers.append(_best(users[which], items, had, longest, min(k, len(items)), added))
        advance((start + len(which)) / len(user_rows))
    return np.concatenate(answers)


def _best(
    queries: Embeddings,
    items: Embeddings,
    had: list[NDArray[np.int32]],
    longest: float,
    k: int,
    added: Additions | None,
) -> Rows:
    scores = queries @ items.T  # (B, I)
    if added is not None:
        scores[added.lines, added.rows] += added.sums.astype(np.float32)
    for line, rows in zip(scores, had, strict=True):
        line[rows] = -np.inf

    def find(which: NDArray[np.intp], count: int) -> tuple[Scores, Rows]:
        part = scores[which]
        rows = np.argpartition(-part, count - 1, axis=1)[:, :count]
        found = np.take_along_axis(part, rows, 1)
        order = np.argsort(-found, axis=1, kind="stable")
        found, rows = np.take_along_axis(found, order, 1), np.take_along_axis(rows, order, 1)
        return found, np.where(found == -np.inf, NO_ROW, rows)

    return top_k(find, queries, items, longest, k, lambda query: had[query], added=added)[1]


def _titles(version: Version) -> dict[str, str]:
    given = version.item_titles
    return {} if given is None else dict(zip(version.item_ids, given, strict=True))
