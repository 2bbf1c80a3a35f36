"""A table in memory, wherever it came from: its columns are checked as they are taken.

A bad value raises InvalidData with the place it stands at: the file and line, or the query and row.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec_training.data.dialects import Dialect, no_column
from gnnrec_training.errors import InvalidData

Vectors = NDArray[np.float64]

BATCH = 500_000
"""Rows of a batch."""

_BETWEEN_NUMBERS = r"[\s,;|]+"
_UUID = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
"""Where the parts of a UUID's text begin in its digits, and how long they are."""
_LARGEST_WHOLE = 2.0**53
"""Beyond it a floating-point number may stand for several whole ones."""


@dataclass(frozen=True)
class Origin:
    """Where the rows of a table from `start` on come from, so that errors can say it."""

    name: str
    """The file, or the query or collection."""
    first: int
    """The number that the first of them has there."""
    unit: str = "row"
    """What is counted there."""
    start: int = 0
    locate: Callable[[int], int] | None = None
    """From a row's number to its line; looked for only where an error names it."""
    held: object = None
    """What must stay for `locate`: the copies that were made of a file."""

    def place(self, row: int) -> str:
        """Return where a row of the table stands, such as `x.csv line 7`."""
        return f"{self.name} {self.unit} {self.number(row)}"

    def number(self, row: int) -> int:
        """Return the number alone."""
        number = row - self.start + self.first
        return number if self.locate is None else self.locate(number)


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
    dialect: Dialect | None = None
    """How a text table is written."""
    decimal: str = "."
    """What stands before the decimals of numbers in texts."""
    kept: NDArray[np.int64] | None = None
    """Which of the rows read these are, where some were left out."""
    is_pairs: bool = False
    """Whether the source has pairs of user and item and no columns: LightGCN's format."""

    def id_texts(self, name: str) -> pl.Series:
        """Return a column of ids as they are written, "" where one is missing.

        Numbers are those of integers, of floating-point ones as well; the 16 bytes of a UUID become
        its text. Raises InvalidData, with its place, for a number that is not whole or too large to
        be told from its neighbours, and for what no id can be.
        """
        column = self.column(name)
        if column.dtype.is_float():
            there = column.is_not_nan() & column.is_not_null()
            self.refuse(
                column, there & (column != column.round(0)),
                "is not whole, and an id that is a number must be",
            )  # fmt: skip
            self.refuse(
                column, there & (column.abs() > _LARGEST_WHOLE),
                "is too large for a floating-point number to be told from its neighbours; export "
                "ids as integers or as texts",
            )  # fmt: skip
            column = column.fill_nan(None).cast(pl.Int64)
        return self._as_text(column).fill_null("")

    def texts(self, name: str) -> pl.Series:
        """Return a column as strings without outer spaces; none is missing or empty."""
        texts = self.id_texts(name).str.strip_chars()
        self.refuse(texts, texts == "", "is empty")
        self.refuse(texts, texts.str.contains(r"[\x00-\x1f]"), "holds a control character")
        return texts

    def titles(self, name: str) -> list[str]:
        """Return a column as texts of one line: "" where one is missing, spaces for line breaks."""
        texts = self._as_text(self.column(name)).fill_null("")
        return texts.str.replace_all(r"[\s\x00-\x1f\x7f-\x{9f}]+", " ").str.strip_chars().to_list()

    def numbers(self, name: str) -> pl.Series:
        """Return a column as float64; none is missing, NaN or infinite.

        Dates and moments become Unix seconds, those without a time zone taken as UTC.
        """
        column = self.column(name)
        empty = column.is_null()
        if column.dtype == pl.String:
            empty |= column.str.strip_chars() == ""
        self.refuse(column, empty, "is empty")
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
        texts = self._as_text(self.column(name))
        if pattern is not None:
            found = [re.search(pattern, text or "") for text in texts]
            groups = [match and match.group(1) for match in found]
            texts = pl.Series(name, groups, pl.String)
        texts = texts.str.strip_chars()
        return texts.set(texts == "", None)

    def optional_numbers(self, name: str, pattern: str | None = None) -> pl.Series:
        """Return a column as float64, null where it is empty; none is NaN or infinite."""
        column = self.column(name)
        if pattern is not None or column.dtype == pl.String:
            column = self.optional_texts(name, pattern)
        return self._as_number(column)

    def text_lists(self, name: str, separator: str) -> list[list[str]]:
        """Return the texts of each row: parted by `separator`, or a list in the source already."""
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
        """Return the numbers of each row (W,), all equally many, None where a row has none.

        Lists, or texts such as "[0.1, 0.2]" or "0.1 0.2". W is `width` where given, and what the
        first row has elsewhere.
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

    def holding(self, what: object) -> "Table":
        """Return the table; what is held is there as long as it is."""
        held = [replace(each, held=(each.held, what)) for each in self.origins]
        return replace(self, origins=tuple(held))

    def where(self, which: NDArray[np.bool_]) -> "Table":
        """Return the rows where `which` (N,) holds; they still know where they stand."""
        kept = np.flatnonzero(which)
        return replace(self, rows=self.rows.filter(pl.Series(which)), kept=kept)

    def has(self, name: str) -> bool:
        """Return whether the source has a column."""
        return name in self.rows.columns

    def is_sequence(self, name: str) -> bool:
        """Return whether a column's values are several texts each, with spaces between."""
        return self.dialect is not None and name in self.dialect.sequences

    def column(self, name: str) -> pl.Series:
        """Return a column as it was read, or raise InvalidData with those that there are."""
        if not self.has(name):
            raise InvalidData(no_column(self.name, name, self.columns, self.dialect))
        return self.rows[name]

    def place(self, row: int) -> str:
        """Return where a row stands in the source."""
        if self.kept is not None:
            row = int(self.kept[row])
        return self._origin(row).place(row)

    def places(self, first: int, second: int) -> str:
        """Return where two rows stand, such as `items.csv lines 5 and 17`."""
        one, other = self._origin(first), self._origin(second)
        if one.name != other.name:
            return f"{one.place(first)} and {other.place(second)}"
        return f"{one.name} {one.unit}s {one.number(first)} and {other.number(second)}"

    def refuse(self, column: pl.Series, bad: pl.Series, problem: str) -> None:
        """Raise InvalidData for the first value where `bad` holds."""
        first = bad.fill_null(False).arg_true().head(1)
        if len(first):
            row = int(first[0])
            text = column[row].strip() if isinstance(column[row], str) else column[row]
            value = "" if text in (None, "") else f": {text!r:.80}"
            raise InvalidData(f"{self.place(row)}, column {column.name!r}{value} {problem}")

    def _origin(self, row: int) -> Origin:
        return self.origins[bisect_right(self.origins, row, key=lambda each: each.start) - 1]

    def _as_text(self, column: pl.Series) -> pl.Series:
        if column.dtype == pl.Binary:
            return texts_of_bytes(column)
        if isinstance(column.dtype, pl.Decimal):
            # whole where it is, whatever the scale of its type
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


def texts_of_bytes(values: pl.Series) -> pl.Series:
    """Return bytes that are texts as they are; those of UUIDs, 16 each, as the UUIDs' texts.

    What is neither stays as its hexadecimal digits.
    """
    texts = _decoded(values)
    plain = texts.is_not_null() & ~texts.str.contains(r"[\x00-\x1f\x7f-\x{9f}]")
    if (plain | values.is_null()).all():
        return texts
    is_uuid = values.bin.size() == 16
    digits = values.bin.encode("hex")
    parts = [pl.col(values.name).str.slice(*part) for part in _UUID]
    joined = digits.to_frame().select(pl.concat_str(parts, separator="-")).to_series()
    if is_uuid.all():
        return joined
    uuids = joined.zip_with(is_uuid, digits)
    others = _decoded(values.set(is_uuid, None))
    return uuids.zip_with(is_uuid | others.is_null(), others)


def _decoded(values: pl.Series) -> pl.Series:
    """Return bytes as texts if all of them are, null for all if not."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.PolarsError:
        return pl.Series(values.name, [None] * len(values), pl.String)


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
    first = parts[0]
    return replace(first, rows=rows, origins=tuple(origins))
