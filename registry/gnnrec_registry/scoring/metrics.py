"""The metrics of ranked lists, as training and comparisons compute them.

V users with held-out items, H hits, K the length of the longest list.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Packed = NDArray[np.unsignedinteger]


@dataclass(frozen=True)
class Hits:
    """The ranks of the held-out items in users' lists, from which metrics at any k <= K follow.

    places (H,): the user of each hit, 0 to V - 1; ranks (H,): the hit's rank in that user's list,
    from 1; sorted by user, then rank. held_out (V,): the number of held-out items of each user.
    """

    places: NDArray[np.int64]
    ranks: NDArray[np.int64]
    held_out: NDArray[np.int64]

    def metrics(self, k: int) -> dict[str, NDArray[np.float64]]:
        """Return every metric at k, by name such as "recall@20": one value per user (V,)."""
        near = self.ranks <= k
        places, ranks, users = self.places[near], self.ranks[near], len(self.held_out)
        found = np.bincount(places, minlength=users)
        gains = np.bincount(places, 1 / np.log2(ranks + 1), users)
        ideal = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
        first = np.full(users, np.inf)
        np.minimum.at(first, places, ranks)
        return {
            f"recall@{k}": found / self.held_out,
            f"ndcg@{k}": gains / ideal[np.minimum(k, self.held_out) - 1],
            f"precision@{k}": found / k,
            f"hit_rate@{k}": (found > 0).astype(np.float64),
            f"mrr@{k}": 1 / first,
        }

    def packed(self) -> Packed:
        """Return all ranks in one array, with a 0 after those of each user: (H + V,)."""
        packed = np.zeros(len(self.ranks) + len(self.held_out), np.int64)
        packed[np.arange(len(self.ranks)) + self.places] = self.ranks
        return narrow(packed)

    @classmethod
    def unpacked(cls, packed: Packed, held_out: NDArray[np.integer]) -> "Hits":
        """Return the hits that `packed` gave; ValueError if the number of users differs."""
        ends = packed == 0
        if np.count_nonzero(ends) != len(held_out):
            raise ValueError(f"{np.count_nonzero(ends)} lists of hits for {len(held_out)} users")
        return cls(
            np.cumsum(ends)[~ends], packed[~ends].astype(np.int64), held_out.astype(np.int64)
        )


def narrow(counts: NDArray[np.int64]) -> Packed:
    """Return counts in the smallest unsigned type that holds them."""
    kind = np.min_scalar_type(int(counts.max(initial=0)))
    return counts.astype(kind)
