"""Ids to rows: the numbers 0, 1, 2, ... in the order of first appearance."""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec_registry.arrays import distinct
from gnnrec_training.data.dataset import Rows
from gnnrec_training.data.tables import Table
from gnnrec_training.errors import InvalidData

Hashes = NDArray[np.uint64]

MISSING = ("", "nan", "NaN", "NAN", "-nan", "null", "NULL", "Null", "None", "NaT", "<NA>", "\\N")
"""What programs write where there is no value."""

NO_ROW = -1
"""Stands where an id is missing."""

_NUMERAL = r"^[-+]?\d+(\.\d+)?$"
_FRACTION = r"^[-+]?\d+\.\d*[1-9]\d*$"


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
        """Return the row of each id (N,), none of them null; new ones get the next rows."""
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
            if len(distinct(hashes)) == len(hashes):
                self._hashes, self._rows = hashes[order], order.astype(np.int32)
                return


class Side:
    """The ids of users, or of items: from texts as they were written to rows.

    A text is cleaned once, however many rows have it.
    """

    def __init__(
        self, missing: Literal["error", "drop", "keep"] = "error", *, numbers: bool = True
    ) -> None:
        """`numbers`: whether 3.0 is 3 where all ids are numbers."""
        self._missing = missing
        self._numbers = numbers
        self._written = Numbering()
        self._cleaned: Numbering | None = None
        """The ids, once a text was met that is no id as it is written; until then those are."""
        self._row_of: Rows = np.empty(0, np.int32)
        """The row of each text as written; NO_ROW of those that stand for a missing value."""
        self.settled = False
        """Whether numbers such as 3.0 were made whole."""
        self._fraction = ""
        """Where the first number that is not whole stands."""

    @property
    def ids(self) -> pl.Series:
        """The ids by row."""
        return self._numbering.ids

    @property
    def written(self) -> int:
        """How many different texts became ids."""
        if self._cleaned is None:
            return len(self.ids)
        return int((self._row_of != NO_ROW).sum())

    @property
    def _numbering(self) -> Numbering:
        return self._written if self._cleaned is None else self._cleaned

    def number(self, table: Table, column: str) -> Rows:
        """Return the row of each of a column's ids (N,), NO_ROW where one is missing.

        Raises InvalidData, with its place, for an id that holds a control character, and for a
        missing one where that is an error.
        """
        texts = table.id_texts(column)
        before = len(self._written.ids)
        rows = self._written.number(texts)
        new = self._written.ids[before:]
        if len(new):
            self._take(new, texts, table, column)
        if self._cleaned is None:
            return rows
        found: Rows = self._row_of[rows]
        return found

    def add(self, ids: Sequence[str]) -> Rows:
        """Return the rows of ids that are clean and settled already."""
        return self._numbering.number(pl.Series("id", ids, pl.String))

    def settle(self, others: Iterable[pl.Series] = ()) -> Rows:
        """Make 3.0 and 3 one id, where all ids of this side are numbers; return each row's new one.

        others: the ids that tables have of the same side, which decide with these. Raises
        InvalidData for a number that is not whole among whole ones.
        """
        ids = self.ids
        same = np.arange(len(ids), dtype=np.int32)
        if not self._numbers or not is_numeric([ids, *others]):
            return same
        fractions = ids.filter(ids.str.contains(_FRACTION))
        if len(fractions):
            if len(fractions) == len(ids):
                return same
            raise InvalidData(
                f"{self._fraction}: {fractions[0]!r} stands among whole numbers, and an id that is "
                'a number must be whole; set data.ids = "text" to take ids as they are written'
            )
        whole = whole_numbers(ids)
        self.settled = True
        if (whole == ids).all():
            return same
        self._cleaned = Numbering()
        return self._cleaned.number(whole)

    def _take(self, new: pl.Series, texts: pl.Series, table: Table, column: str) -> None:
        """Take in texts not met before."""
        cleaned = clean(new)
        odd = cleaned.str.contains(CONTROL)
        if odd.any():
            bad = texts.is_in(new.filter(odd).implode())
            table.refuse(texts.alias(column), bad, "holds a control character")
        missing = is_missing(cleaned) if self._missing != "keep" else cleaned == ""
        if self._missing != "drop" and missing.any():
            bad = texts.is_in(new.filter(missing).implode())
            hint = 'data.missing_ids = "drop" leaves such rows out'
            is_empty = texts.str.strip_chars() == ""
            table.refuse(texts.alias(column), bad & is_empty, f"is empty; {hint}")
            problem = f'stands for a missing id; {hint}, "keep" takes it for one'
            table.refuse(texts.alias(column), bad, problem)
        if not self._fraction and (is_fraction := cleaned.str.contains(_FRACTION)).any():
            first = texts.is_in(new.filter(is_fraction).implode()).arg_true()[0]
            self._fraction = f"{table.place(int(first))}, column {column!r}"
        if self._cleaned is None:
            if not missing.any() and bool((cleaned == new).all()):
                return
            self._cleaned = Numbering()
            self._row_of = self._cleaned.number(self._written.ids[: -len(new)])
        rows = np.full(len(new), NO_ROW, np.int32)
        rows[~missing.to_numpy()] = self._cleaned.number(cleaned.filter(~missing))
        self._row_of = np.concatenate([self._row_of, rows])


CONTROL = r"[\x00-\x1f\x7f-\x{9f}\x{2028}\x{2029}]"
"""What no id may hold: it would break lines and logs."""


def clean(texts: pl.Series) -> pl.Series:
    """Return ids without outer spaces."""
    return texts.str.strip_chars()


def is_missing(texts: pl.Series) -> pl.Series:
    """Tell which texts stand for a missing value."""
    return texts.is_in(list(MISSING))


def is_numeric(sides: Iterable[pl.Series]) -> bool:
    """Tell whether all ids are numbers."""
    return all(bool(ids.str.contains(_NUMERAL).all()) for ids in sides)


def whole_numbers(ids: pl.Series) -> pl.Series:
    """Return ids of which those such as 3.0 become 3."""
    return ids.str.replace(r"^([-+]?\d+)\.0+$", "$1")
