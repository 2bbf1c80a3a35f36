"""Ids to rows: the numbers 0, 1, 2, ... in the order of first appearance."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.data.dataset import Rows

Hashes = NDArray[np.uint64]


class Numbering:
    """Gives each id its row, batch after batch.

    Ids are looked up by 64-bit hashes, several times as fast as in a dictionary, and every answer
    is compared with the ids themselves; should two ever share a hash, all are hashed anew.
    """

    def __init__(self) -> None:
        self.ids = pl.Series("id", [], pl.String)
        """The ids by row."""
        self._seed = 0
        self._hashes: Hashes = np.empty(0, np.uint64)
        """Ascending, and the row of each."""
        self._rows: Rows = np.empty(0, np.int32)

    def number(self, ids: pl.Series) -> Rows:
        """Return the row of each id (N,); those not seen before get the next ones."""
        while True:
            known, hashes, rows_of, rows = self._number(ids)
            if len(ids) == 0 or bool((known.gather(rows) == ids).all()):
                self.ids, self._hashes, self._rows = known, hashes, rows_of
                return rows
            self._hash_anew()

    def _number(self, ids: pl.Series) -> tuple[pl.Series, Hashes, Rows, Rows]:
        distinct, first, inverse = np.unique(
            self._hash(ids), return_index=True, return_inverse=True
        )
        places = np.searchsorted(self._hashes, distinct)
        found = places < len(self._hashes)
        found[found] = self._hashes[places[found]] == distinct[found]
        rows = np.empty(len(distinct), np.int32)
        rows[found] = self._rows[places[found]]
        order = np.argsort(first[~found])  # by appearance, not by hash
        new = np.empty(len(order), np.int32)
        new[order] = np.arange(len(self.ids), len(self.ids) + len(order), dtype=np.int32)
        rows[~found] = new
        return (
            pl.concat([self.ids, ids.gather(first[~found][order]).alias("id")]),
            np.insert(self._hashes, places[~found], distinct[~found]),
            np.insert(self._rows, places[~found], new),
            rows[inverse],
        )

    def _hash(self, ids: pl.Series) -> Hashes:
        return ids.hash(self._seed).to_numpy()

    def _hash_anew(self) -> None:
        """Take another seed, under which the known ids have distinct hashes."""
        while True:
            self._seed += 1
            hashes = self._hash(self.ids)
            order = np.argsort(hashes)
            if len(np.unique(hashes)) == len(hashes):
                self._hashes, self._rows = hashes[order], order.astype(np.int32)
                return
