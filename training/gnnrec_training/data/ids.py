"""Ids to rows: 0, 1, 2, ... in the order in which ids appear first.

N is the number of values in a batch. "Written" ids are texts as the source has them, spaces and
all.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec_registry.files.arrays import distinct
from gnnrec_training.data.dataset import Rows
from gnnrec_training.data.tables.table import Table
from gnnrec_training.errors import InvalidData

Hashes = NDArray[np.uint64]

MISSING_WORDS = (
    "",
    "nan",
    "NaN",
    "NAN",
    "-nan",
    "null",
    "NULL",
    "Null",
    "None",
    "NaT",
    "<NA>",
    "\\N",
)
"""The texts that programs write for a missing value."""

NO_ROW = -1
"""The row of a missing id."""

_NUMERAL = r"^[-+]?\d+(\.\d+)?$"
_FRACTION = r"^[-+]?\d+\.\d*[1-9]\d*$"


class Numbering:
    """Gives each different text a row, batch after batch.

    Texts are looked up by 64-bit hashes in a sorted array, which is several times as fast as a
    dictionary. Every answer is compared with the texts themselves; if two share a hash, all are
    hashed again with another seed.
    """

    def __init__(self) -> None:
        self.ids = pl.Series("id", [], pl.String)
        """The texts by row."""
        self._seed = 0
        self._hashes: Hashes = np.empty(0, np.uint64)
        """Of all texts, ascending."""
        self._rows: Rows = np.empty(0, np.int32)
        """The row of each hash."""

    def number(self, ids: pl.Series) -> Rows:
        """Return the row of each text (N,); new ones get the next rows. No text may be null."""
        while True:
            known, hashes, rows_of, rows = self._number(ids)
            if len(ids) == 0 or bool((known.gather(rows) == ids).all()):
                self.ids, self._hashes, self._rows = known, hashes, rows_of
                return rows
            self._hash_anew()

    def _number(self, ids: pl.Series) -> tuple[pl.Series, Hashes, Rows, Rows]:
        """Return all texts by row, all hashes, the row of each hash, and the rows (N,) of `ids`.

        The rows are wrong where two texts share a hash, which the caller checks.
        """
        distinct, first, inverse = np.unique(
            self._hash(ids), return_index=True, return_inverse=True
        )
        places = np.searchsorted(self._hashes, distinct)
        found = places < len(self._hashes)
        found[found] = self._hashes[places[found]] == distinct[found]
        rows = np.empty(len(distinct), np.int32)
        rows[found] = self._rows[places[found]]
        order = np.argsort(first[~found])  # new texts by first appearance, not by hash
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
        """Choose another seed, with which all texts so far have different hashes."""
        while True:
            self._seed += 1
            hashes = self._hash(self.ids)
            order = np.argsort(hashes)
            if len(distinct(hashes)) == len(hashes):
                self._hashes, self._rows = hashes[order], order.astype(np.int32)
                return


class NodeIds:
    """The ids of the users, or of the items: from written ids to rows.

    A written id loses its outer spaces. The words for a missing value get NO_ROW or are refused.
    When all batches are read, `settle` makes 3.0 and 3 one id. Each different text is looked at
    once, however many rows have it.
    """

    def __init__(
        self, missing: Literal["error", "drop", "keep"] = "error", *, numbers: bool = True
    ) -> None:
        """Begin without ids.

        missing: what to do with a missing id, as data.missing_ids; numbers: whether 3.0 and 3 are
        the same id where all ids are numbers.
        """
        self._missing = missing
        self._numbers = numbers
        self._written = Numbering()
        self._cleaned: Numbering | None = None
        """The ids, from the first written text on that is not an id as it is; None before, when the
        written texts are the ids."""
        self._row_of: Rows = np.empty(0, np.int32)
        """The row of each written text, by its row in _written; NO_ROW for a missing id. Used once
        _cleaned is set."""
        self.settled = False
        """Whether `settle` has written ids such as 3.0 as 3."""
        self._fraction = ""
        """The place and column of the first number with decimals, such as 3.5."""

    @property
    def ids(self) -> pl.Series:
        """The ids by row."""
        return self._numbering.ids

    @property
    def written(self) -> int:
        """How many different written texts became ids."""
        if self._cleaned is None:
            return len(self.ids)
        return int((self._row_of != NO_ROW).sum())

    @property
    def _numbering(self) -> Numbering:
        return self._written if self._cleaned is None else self._cleaned

    def number(self, table: Table, column: str) -> Rows:
        """Return the row of each id of a column (N,), NO_ROW where one is missing.

        Raises InvalidData, with its place, for an id with a control character, and for a missing
        one unless missing ids are to be dropped or kept.
        """
        texts = table.id_texts(column)
        before = len(self._written.ids)
        rows = self._written.number(texts)
        new = self._written.ids[before:]
        if len(new):
            self._clean_new(new, texts, table, column)
        if self._cleaned is None:
            return rows
        found: Rows = self._row_of[rows]
        return found

    def add(self, ids: Sequence[str]) -> Rows:
        """Return the rows of ids that are clean already; new ones get the next rows."""
        return self._numbering.number(pl.Series("id", ids, pl.String))

    def settle(self, others: Iterable[pl.Series] = ()) -> Rows:
        """Make 3.0 and 3 one id if all ids are numbers, and return the new row of each old row.

        others: ids of tables about the same users or items, which must be numbers as well. Raises
        InvalidData for a number with decimals among whole ones.
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

    def _clean_new(self, new: pl.Series, texts: pl.Series, table: Table, column: str) -> None:
        """Clean and check the texts that appear for the first time, and give them rows.

        new: those texts; texts (N,): the column they are in, to name the place of a bad one.
        """
        cleaned = clean(new)
        odd = cleaned.str.contains(CONTROL_CHARACTER)
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


CONTROL_CHARACTER = r"[\x00-\x1f\x7f-\x{9f}\x{2028}\x{2029}]"
"""No id may have one: it would break the files of one id a line, and logs."""


def clean(texts: pl.Series) -> pl.Series:
    """Return written ids without outer spaces."""
    return texts.str.strip_chars()


def is_missing(texts: pl.Series) -> pl.Series:
    """Tell which texts (N,) are words for a missing value."""
    return texts.is_in(list(MISSING_WORDS))


def is_numeric(series: Iterable[pl.Series]) -> bool:
    """Tell whether all ids of several series are numbers."""
    return all(bool(ids.str.contains(_NUMERAL).all()) for ids in series)


def whole_numbers(ids: pl.Series) -> pl.Series:
    """Return ids with those such as 3.0 written as 3."""
    return ids.str.replace(r"^([-+]?\d+)\.0+$", "$1")
