"""The neighbourhood of a new user in the graph of training, as far as two SAGE layers reach.

A layer of GraphSAGE takes the mean over a node's neighbours, so two layers see the new user's items
and the users of these items. Of an item with n users, at most m are taken, evenly spaced: those at
floor(t n / c) for t = 0 .. c - 1, with c = min(n, m).

I items of the catalogue, U users, E interactions; P items that the new user has interacted with,
A users of those items.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.scoring.ranking import Rows

# However many items a new user has, about so many users of them are looked at in all: the model
# runs in one piece, so its work is bounded beforehand.
_MOST_USERS = 16_384

MOST_NODES = 1 + 10_000 + _MOST_USERS
"""The most nodes of a neighbourhood, with as many items as a list may name by default."""


@dataclass(frozen=True)
class Neighbourhood:
    """Nodes: the new user, its items (P), their users (A), in this order.

    users (A,): user rows. edges (2, *): sources and targets, counted as the nodes are.
    """

    users: Rows
    edges: NDArray[np.int64]


class ItemUsers:
    """Who has interacted with each item: the interactions turned around, CSR by item."""

    def __init__(
        self,
        seen_indptr: NDArray[np.int64],
        seen_items: NDArray[np.int32],
        item_count: int,
        liked: NDArray[np.bool_] | None = None,
    ) -> None:
        """Turn the interactions around: indptr (U+1,), item rows (E,), those that are `liked` (E,).

        What users have had and not liked is no edge of the graph.
        """
        users = np.repeat(np.arange(len(seen_indptr) - 1, dtype=np.int32), np.diff(seen_indptr))
        if liked is not None:
            users, seen_items = users[liked], seen_items[liked]
        self._users = users[np.argsort(seen_items, kind="stable")]
        counts = np.bincount(seen_items, minlength=item_count)
        self._indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def around(self, item_rows: Rows, max_neighbours: int) -> Neighbourhood:
        """Return the graph around a new user of distinct items (P,).

        An item with more than `max_neighbours` users gives as many of them, evenly spaced; where
        that would be more than 16,384 in all each gives fewer, and one at least. Messages flow
        from users to items and from items to the new user, and none from the new user: the
        catalogue is what training saw.
        """
        starts, totals = self._indptr[item_rows], np.diff(self._indptr)[item_rows]
        counts = np.minimum(totals, max_neighbours)
        if counts.sum() > _MOST_USERS:
            counts = np.minimum(counts, max(1, _MOST_USERS // len(item_rows)))
        item = np.repeat(np.arange(len(item_rows)), counts)
        place = np.arange(len(item)) - np.repeat(np.cumsum(counts) - counts, counts)
        picked = self._users[starts[item] + place * totals[item] // counts[item]]
        users, user = np.unique(picked, return_inverse=True)
        items = 1 + np.arange(len(item_rows))
        sources = np.concatenate([items, 1 + len(item_rows) + user])
        targets = np.concatenate([np.zeros(len(items), np.int64), 1 + item])
        return Neighbourhood(users.astype(np.int64), np.stack([sources, targets]).astype(np.int64))
