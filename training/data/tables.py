"""A table in memory, wherever it came from: its columns are checked as they are taken.

A bad value raises InvalidData with the place it stands at: the file and line, or the query and row.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.errors import InvalidData

Vectors = NDArray[np.float64]

_BETWEEN_NUMBERS = r"[\s,;|]+"


@dataclass(frozen=True)
class Origin:
    """Where the rows of a table from `start` on come from, so that errors can say it."""

    name: str
    """The file, or the query or collection."""
    first: int
    """The number that the first of them has there."""
    unit: str = "line"
    """What is counted there."""
    start: int = 0

    def place(self, row: int) -> str:
        """Return where a row of the table stands."""
        return f"{self.name} {self.unit} {row - self.start + self.first}"


@dataclass(frozen=True)
class Table:
    """Rows of a source."""

    name: str
    """The source, as errors speak of it."""
    rows: pl.DataFrame
    columns: tuple[str, ...]
    """Every column that the source has; `rows` may have fewer."""
    origins: tuple[Origin, ...]
    """By ascending start."""

    def texts(self, name: str) -> pl.Series:
        """Return a column as strings; none is missing or empty."""
        texts = self._as_text(self._column(name))
        self.refuse(texts, texts.is_null() | (texts == ""), "is empty")
        self.refuse(texts, texts.str.contains(r"[\x00-\x1f]"), "holds a control character")
        return texts

    def ids(self, name: str) -> pl.Series:
        """Return a column as strings, no two alike."""
        ids = self.texts(name)
        if ids.is_duplicated().any():
            twice = ids.filter(ids.is_duplicated())[0]
            raise InvalidData(f"{self.name}, column {name!r}: {twice!r} stands twice")
        return ids

    def numbers(self, name: str) -> pl.Series:
        """Return a column as float64; none is missing, NaN or infinite.

        Dates and moments become Unix seconds, those without a time zone taken as UTC.
        """
        column = self._column(name)
        self.refuse(column, column.is_null(), "is empty")
        return self._as_number(column)

    def numeric_columns(self, but: str) -> list[str]:
        """Return the columns that hold numbers throughout, in order, without `but`."""
        return [
            name
            for name in self.rows.columns
            if name != but
            and not self.rows[name].dtype.is_nested()
            and not self.rows[name].cast(pl.Float64, strict=False).is_null().any()
        ]

    def optional_texts(self, name: str, pattern: str | None = None) -> pl.Series:
        """Return a column as strings without outer spaces, null where nothing is left.

        With a regular expression, its first group wherever it is found; null elsewhere.
        """
        texts = self._as_text(self._column(name))
        if pattern is not None:
            found = [re.search(pattern, text or "") for text in texts]
            groups = [match and match.group(1) for match in found]
            texts = pl.Series(name, groups, pl.String)
        texts = texts.str.strip_chars()
        return texts.set(texts == "", None)

    def optional_numbers(self, name: str, pattern: str | None = None) -> pl.Series:
        """Return a column as float64, null where it is empty; none is NaN or infinite."""
        column = self._column(name)
        if pattern is not None or column.dtype == pl.String:
            column = self.optional_texts(name, pattern)
        return self._as_number(column)

    def text_lists(self, name: str, separator: str) -> list[list[str]]:
        """Return the texts of each row: parted by `separator`, or a list in the source already."""
        column = self._column(name)
        if isinstance(column.dtype, pl.List):
            try:
                rows = column.cast(pl.List(pl.String)).to_list()
            except pl.exceptions.PolarsError:
                raise self._not_text(column) from None
        else:
            rows = self._as_text(column).str.split(separator).to_list()
        return [[text.strip() for text in row or [] if text and text.strip()] for row in rows]

    def vectors(self, name: str, width: int | None) -> list[Vectors | None]:
        """Return the numbers of each row (W,), all equally many, None where a row has none.

        Lists, or texts such as "[0.1, 0.2]" or "0.1 0.2". W is `width` where given, and what the
        first row has elsewhere.
        """
        column = self._column(name)
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

    def has(self, name: str) -> bool:
        """Return whether the source has a column."""
        return name in self.rows.columns

    def place(self, row: int) -> str:
        """Return where a row stands in the source."""
        at = bisect_right(self.origins, row, key=lambda origin: origin.start) - 1
        return self.origins[at].place(row)

    def refuse(self, column: pl.Series, bad: pl.Series, problem: str) -> None:
        """Raise InvalidData for the first value where `bad` holds."""
        first = bad.fill_null(False).arg_true().head(1)
        if len(first):
            row = int(first[0])
            value = "" if column[row] in (None, "") else f": {column[row]!r}"
            raise InvalidData(f"{self.place(row)}, column {column.name!r}{value} {problem}")

    def _column(self, name: str) -> pl.Series:
        if not self.has(name):
            raise InvalidData(
                f"{self.name} has no column {name!r}; its columns: {', '.join(self.columns)}"
            )
        return self.rows[name]

    def _as_text(self, column: pl.Series) -> pl.Series:
        try:
            return column.cast(pl.String)
        except pl.exceptions.PolarsError:
            raise self._not_text(column) from None

    def _as_number(self, column: pl.Series) -> pl.Series:
        stripped = column.str.strip_chars() if column.dtype == pl.String else column
        if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
            stripped = column.dt.epoch("us") / 1e6
        try:
            numbers = stripped.cast(pl.Float64, strict=False)
        except pl.exceptions.PolarsError:
            raise InvalidData(
                f"{self.name}, column {column.name!r}: {column.dtype} values are no numbers"
            ) from None
        self.refuse(column, numbers.is_null() & column.is_not_null(), "is not a number")
        self.refuse(column, ~numbers.is_finite(), "is not a finite number")
        return numbers

    def _as_lists(self, column: pl.Series) -> pl.Series:
        """Return a list for each row, null for one without numbers."""
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
    """Return the tables of one source as one; None if there is none.

    Raises InvalidData for two that do not have the same columns.
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
        origins += [replace(each, start=each.start + start) for each in table.origins]
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
    return Table(parts[0].name, rows, parts[0].columns, tuple(origins))
