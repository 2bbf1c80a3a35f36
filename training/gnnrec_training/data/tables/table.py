"""A table in memory, or a batch of its rows, with checks that name the place of a bad value.

Every source, be it a file, a URL, a database or a data frame, is read into Tables, so every value
passes the same checks:

1. A reader fills `rows` with a batch of about BATCH_ROWS rows, and `origins` with the places that
   they were read from. Values have the type of the source: everything in a CSV file is a text.
2. Who needs a column asks for what it is to be: `id_texts` for ids, `numbers` for weights,
   `optional_texts`, `text_lists` or `vectors` for features. The values are converted and checked
   then, and not before; a column that nobody asks for may hold anything.
3. A value that does not fit raises InvalidData. Its message names the file and line (or the query
   and row, the collection and document), the column, the value and what to do about it.

Memory holds a batch, unless `concat` joins all batches of a source: interactions become numbers
batch by batch, but tables about users and items are needed whole.

N is the number of rows, W the width of a vector.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec_training.data.tables.binary_texts import texts_of_bytes
from gnnrec_training.data.tables.dialects import Dialect, missing_column
from gnnrec_training.data.tables.origins import Origin
from gnnrec_training.errors import InvalidData

Vectors = NDArray[np.float64]

BATCH_ROWS = 500_000
"""About how many rows a file's reader puts into one batch."""

LARGEST_WHOLE = 2.0**53
"""Above this, a floating-point number may have been rounded from several different integers."""

_BETWEEN_NUMBERS = r"[\s,;|]+"


@dataclass(frozen=True)
class Table:
    """Some rows of a source, or all of them."""

    name: str
    """What errors call the source."""
    rows: pl.DataFrame
    """The rows that were read, with the columns that were asked for."""
    columns: tuple[str, ...]
    """The names of all columns of the source; `rows` may have fewer."""
    origins: tuple[Origin, ...]
    """Where the rows were read, by ascending start."""
    dialect: Dialect | None = None
    """How the text is written, for a text table such as CSV."""
    decimal: str = "."
    """The decimal mark of numbers that stand in text."""
    kept: NDArray[np.int64] | None = None
    """(N,): the position of each row among those that were read; None where all were kept."""
    is_pairs: bool = False
    """Whether the source is in LightGCN's format, which has pairs of user and item and no columns
    with names."""

    def id_texts(self, name: str) -> pl.Series:
        """Return a column of ids as texts (N,), as they are written, "" where one is missing.

        Whole numbers are written as integers, also where the column is floating-point; the 16 bytes
        of a UUID become its usual text. Raises InvalidData for a floating-point number that is not
        whole, or so large that it may have been rounded, and for a type that cannot be an id.
        """
        column = self.column(name)
        if column.dtype.is_float():
            there = column.is_not_nan() & column.is_not_null()
            self.refuse(
                column, there & (column != column.round(0)),
                "is not whole, and an id that is a number must be",
            )  # fmt: skip
            self.refuse(
                column, there & (column.abs() > LARGEST_WHOLE),
                "is too large for a floating-point number to be told from its neighbours; export "
                "ids as integers or as texts",
            )  # fmt: skip
            column = column.fill_nan(None).cast(pl.Int64)
        return self._as_text(column).fill_null("")

    def texts(self, name: str) -> pl.Series:
        """Return a column as texts (N,) without outer spaces.

        Raises InvalidData for one that is missing, empty or has a control character.
        """
        texts = self.id_texts(name).str.strip_chars()
        self.refuse(texts, texts == "", "is empty")
        self.refuse(texts, texts.str.contains(r"[\x00-\x1f]"), "holds a control character")
        return texts

    def titles(self, name: str) -> list[str]:
        """Return a column as one-line texts (N,): spaces for line breaks, "" where missing."""
        texts = self._as_text(self.column(name)).fill_null("")
        return texts.str.replace_all(r"[\s\x00-\x1f\x7f-\x{9f}]+", " ").str.strip_chars().to_list()

    def numbers(self, name: str) -> pl.Series:
        """Return a column as float64 (N,); raises InvalidData for one missing, NaN or infinite.

        Dates and times become Unix seconds; without a time zone they are taken as UTC.
        """
        column = self.column(name)
        empty = column.is_null()
        if column.dtype == pl.String:
            empty |= column.str.strip_chars() == ""
        self.refuse(column, empty, "is empty")
        return self._as_number(column)

    def numeric_columns(self, but: str) -> list[str]:
        """Return the columns in which every value is a number, in order, without column `but`."""
        return [
            name
            for name in self.rows.columns
            if name != but
            and not self.rows[name].dtype.is_nested()
            and not self.rows[name].cast(pl.Float64, strict=False).is_null().any()
        ]

    def optional_texts(self, name: str, pattern: str | None = None) -> pl.Series:
        """Return a column as texts (N,) without outer spaces, null where nothing is left.

        With a regular expression, return its first group, null where it is not found.
        """
        texts = self._as_text(self.column(name))
        if pattern is not None:
            found = [re.search(pattern, text or "") for text in texts]
            groups = [match and match.group(1) for match in found]
            texts = pl.Series(name, groups, pl.String)
        texts = texts.str.strip_chars()
        return texts.set(texts == "", None)

    def optional_numbers(self, name: str, pattern: str | None = None) -> pl.Series:
        """Return a column as float64 (N,), null where it is empty or `pattern` is not found.

        Raises InvalidData for one that is no number, NaN or infinite.
        """
        column = self.column(name)
        if pattern is not None or column.dtype == pl.String:
            column = self.optional_texts(name, pattern)
        return self._as_number(column)

    def text_lists(self, name: str, separator: str) -> list[list[str]]:
        """Return the texts of each row (N lists), without outer spaces and empty ones.

        A text is split at `separator`; a list of the source is taken as it is.
        """
        column = self.column(name)
        if isinstance(column.dtype, pl.List):
            try:
                rows = column.cast(pl.List(pl.String)).to_list()
            except pl.exceptions.PolarsError:
                raise self._not_text(column) from None
        else:
            rows = self._as_text(column).str.split(separator).to_list()
        return [[text.strip() for text in row or [] if text and text.strip()] for row in rows]

    def vectors(self, name: str, width: int | None) -> list[Vectors | None]:
        """Return the vector of each row: N arrays (W,), None where a row has none.

        A value is a list, or a text such as "[0.1, 0.2]" or "0.1 0.2". W is `width`; without it,
        the length of the first vector. Raises InvalidData for a vector of another length, and for a
        number that is missing, NaN or infinite.
        """
        column = self.column(name)
        lists = self._as_lists(column)
        lengths = lists.list.len()
        known = lengths.drop_nulls()
        if len(known) == 0:
            return [None] * len(column)
        width = width or int(known[0])
        self._refuse_vector(lengths.is_not_null() & (lengths != width), name, lengths, width)
        there = lengths.is_not_null()
        flat = lists.drop_nulls().explode()
        owners = np.repeat(np.flatnonzero(there.to_numpy()), width)
        numbers = flat.cast(pl.Float64, strict=False)
        bad = (numbers.is_null() | ~numbers.is_finite()).fill_null(True).arg_true().head(1)
        if len(bad):
            row, place = int(owners[bad[0]]), int(bad[0]) % width
            value = "is missing" if flat[bad[0]] is None else f"is {flat[bad[0]]}"
            raise InvalidData(
                f"{self.place(row)}, column {name!r}: number {place + 1} of its {width} {value}; "
                "each must be a finite number"
            )
        matrix = numbers.to_numpy().reshape(-1, width)
        rows = iter(matrix)
        return [next(rows) if has else None for has in there]

    def holding(self, copy: object) -> "Table":
        """Return the same table, which keeps a temporary copy from being deleted while it lives.

        Errors look the line of a bad row up in that copy.
        """
        origins = [replace(origin, held=(origin.held, copy)) for origin in self.origins]
        return replace(self, origins=tuple(origins))

    def where(self, which: NDArray[np.bool_]) -> "Table":
        """Return the rows where `which` (N,) is true; errors still name their true places."""
        kept = np.flatnonzero(which)
        return replace(self, rows=self.rows.filter(pl.Series(which)), kept=kept)

    def has(self, name: str) -> bool:
        """Tell whether a column was read."""
        return name in self.rows.columns

    def is_sequence(self, name: str) -> bool:
        """Tell whether a column's header says that its values are several texts, by spaces."""
        return self.dialect is not None and name in self.dialect.sequences

    def column(self, name: str) -> pl.Series:
        """Return a column as it was read; raises InvalidData, with the columns there are."""
        if not self.has(name):
            raise InvalidData(missing_column(self.name, name, self.columns, self.dialect))
        return self.rows[name]

    def place(self, row: int) -> str:
        """Return where a row was read, such as `x.csv line 7`."""
        if self.kept is not None:
            row = int(self.kept[row])
        return self._origin(row).place(row)

    def places(self, first: int, second: int) -> str:
        """Return where two rows were read, such as `items.csv lines 5 and 17`."""
        one, other = self._origin(first), self._origin(second)
        if one.name != other.name:
            return f"{one.place(first)} and {other.place(second)}"
        return f"{one.name} {one.unit}s {one.number(first)} and {other.number(second)}"

    def refuse(self, column: pl.Series, bad: pl.Series, problem: str) -> None:
        """Raise InvalidData for the first value (N,) where `bad` (N,) is true, if any is.

        The message is the place, the column, the value and then `problem`.
        """
        first = bad.fill_null(False).arg_true().head(1)
        if len(first):
            row = int(first[0])
            text = column[row].strip() if isinstance(column[row], str) else column[row]
            value = "" if text in (None, "") else f": {text!r:.80}"
            raise InvalidData(f"{self.place(row)}, column {column.name!r}{value} {problem}")

    def _origin(self, row: int) -> Origin:
        return self.origins[bisect_right(self.origins, row, key=lambda origin: origin.start) - 1]

    def _as_text(self, column: pl.Series) -> pl.Series:
        if column.dtype == pl.Binary:
            return texts_of_bytes(column)
        if isinstance(column.dtype, pl.Decimal):
            # the type may demand decimals of whole numbers as well: 3.00 is the id 3
            return column.cast(pl.String).str.replace(r"^(-?\d+)\.0+$", "$1")
        if column.dtype.is_nested() or isinstance(column.dtype, pl.Duration | pl.Object):
            raise self._not_text(column)
        try:
            return column.cast(pl.String)
        except pl.exceptions.PolarsError:
            raise self._not_text(column) from None

    def _as_number(self, column: pl.Series) -> pl.Series:
        stripped = column.str.strip_chars() if column.dtype == pl.String else column
        if column.dtype == pl.String and self.decimal != ".":
            stripped = stripped.str.replace(self.decimal, ".", literal=True)
        if isinstance(column.dtype, pl.Duration | pl.Time):
            raise InvalidData(
                f"{self.name}, column {column.name!r}: durations and times of day are no numbers"
            )
        if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
            stripped = column.dt.epoch("us") / 1e6
        try:
            numbers = stripped.cast(pl.Float64, strict=False)
        except pl.exceptions.PolarsError:
            raise InvalidData(
                f"{self.name}, column {column.name!r}: {column.dtype} values are no numbers"
            ) from None
        bad = numbers.is_null() & stripped.is_not_null()
        if column.dtype == pl.String and bool(
            (bad & stripped.str.contains(r"^[-+]?\d*,\d+$")).any()
        ):
            self.refuse(column, bad, 'is not a number; for a decimal comma set data.decimal = ","')
        self.refuse(column, bad, "is not a number")
        self.refuse(column, ~numbers.is_finite(), "is not a finite number")
        return numbers

    def _as_lists(self, column: pl.Series) -> pl.Series:
        """Return a list of numbers or texts for each row (N,), null for one without any."""
        if column.dtype == pl.Null:
            return pl.Series(column.name, [None] * len(column), pl.List(pl.Float64))
        if isinstance(column.dtype, pl.Array):
            column = column.arr.to_list()
        inner = column.dtype.inner if isinstance(column.dtype, pl.List) else None
        if column.dtype != pl.String and (inner is None or inner.is_nested()):
            raise InvalidData(
                f"{self.name}, column {column.name!r}: {column.dtype} values are no vectors"
            )
        if inner is None:
            texts = column.str.strip_chars("[](){} \t").str.replace_all(_BETWEEN_NUMBERS, " ")
            column = texts.set(texts == "", None).str.split(" ")
        return column.set(column.list.len() == 0, None)

    def _refuse_vector(self, bad: pl.Series, name: str, lengths: pl.Series, width: int) -> None:
        first = bad.arg_true().head(1)
        if len(first):
            row = int(first[0])
            raise InvalidData(
                f"{self.place(row)}, column {name!r} has {lengths[row]} numbers in place of {width}"
            )

    def _not_text(self, column: pl.Series) -> InvalidData:
        return InvalidData(
            f"{self.name}, column {column.name!r}: {column.dtype} values are no texts"
        )


def concat(tables: Iterable[Table]) -> Table | None:
    """Return the batches of one source as one table, None if there are no batches.

    A column that is text in one batch and of another type in another becomes text. Raises
    InvalidData for batches, such as the files of a pattern, that do not have the same columns.
    """
    parts: list[Table] = []
    origins: list[Origin] = []
    start = 0
    for table in tables:
        if parts and set(table.rows.columns) != set(parts[0].rows.columns):
            odd = sorted(set(table.rows.columns) ^ set(parts[0].rows.columns))[0]
            raise InvalidData(
                f"{table.origins[0].name} and {parts[0].origins[0].name} do not have the same "
                f"columns; only one of them has {odd!r}"
            )
        parts.append(table)
        origins += [replace(origin, start=origin.start + start) for origin in table.origins]
        start += table.rows.height
    if not parts:
        return None
    names = parts[0].rows.columns
    mixed = [
        pl.col(name).cast(pl.String)
        for name in names
        if len(kinds := {part.rows.schema[name] for part in parts}) > 1 and pl.String in kinds
    ]
    try:
        rows = pl.concat(
            [part.rows.select(names).with_columns(mixed) for part in parts], how="vertical_relaxed"
        )
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise InvalidData(f"{parts[0].name}: its parts do not fit together: {reason}") from None
    first = parts[0]
    return replace(first, rows=rows, origins=tuple(origins))
