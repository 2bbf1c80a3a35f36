"""Files to tables: CSV, TSV, JSON lines, Parquet and LightGCN's text format, gzipped or not.

A bad value raises InvalidData with the file, the line and the column.
"""

import gzip
import io
import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from training.config_data import Format
from training.errors import InvalidData

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "lightgcn",
}


@dataclass(frozen=True)
class Table:
    """A file in memory, whose columns are checked as they are taken."""

    path: Path
    rows: pl.DataFrame
    first_line: int
    """The line of row 0, counted from 1."""

    def texts(self, name: str) -> pl.Series:
        """Return a column as strings; none is missing or empty."""
        texts = self._as_text(self._column(name))
        self._refuse(texts, texts.is_null() | (texts == ""), "is empty")
        self._refuse(texts, texts.str.contains(r"[\x00-\x1f]"), "holds a control character")
        return texts

    def ids(self, name: str) -> pl.Series:
        """Return a column as strings, no two alike."""
        ids = self.texts(name)
        if ids.is_duplicated().any():
            twice = ids.filter(ids.is_duplicated())[0]
            raise InvalidData(f"{self.path}, column {name!r}: {twice!r} stands twice")
        return ids

    def numbers(self, name: str) -> pl.Series:
        """Return a column as float64; none is missing, NaN or infinite."""
        column = self._column(name)
        self._refuse(column, column.is_null(), "is empty")
        return self._as_number(column)

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
        """Return the texts of each row: parted by `separator`, or a list in the file already."""
        column = self._column(name)
        if isinstance(column.dtype, pl.List):
            try:
                rows = column.cast(pl.List(pl.String)).to_list()
            except pl.exceptions.PolarsError:
                raise self._not_text(column) from None
        else:
            rows = self._as_text(column).str.split(separator).to_list()
        return [[text.strip() for text in row or [] if text and text.strip()] for row in rows]

    def has(self, name: str) -> bool:
        """Return whether the file has a column."""
        return name in self.rows.columns

    def _column(self, name: str) -> pl.Series:
        if not self.has(name):
            raise InvalidData(
                f"{self.path} has no column {name!r}; its columns: {', '.join(self.rows.columns)}"
            )
        return self.rows[name]

    def _as_text(self, column: pl.Series) -> pl.Series:
        try:
            return column.cast(pl.String)
        except pl.exceptions.PolarsError:
            raise self._not_text(column) from None

    def _as_number(self, column: pl.Series) -> pl.Series:
        stripped = column.str.strip_chars() if column.dtype == pl.String else column
        try:
            numbers = stripped.cast(pl.Float64, strict=False)
        except pl.exceptions.PolarsError:
            raise InvalidData(
                f"{self.path}, column {column.name!r}: {column.dtype} values are no numbers"
            ) from None
        self._refuse(column, numbers.is_null() & column.is_not_null(), "is not a number")
        self._refuse(column, ~numbers.is_finite(), "is not a finite number")
        return numbers

    def _not_text(self, column: pl.Series) -> InvalidData:
        return InvalidData(
            f"{self.path}, column {column.name!r}: {column.dtype} values are no texts"
        )

    def _refuse(self, column: pl.Series, bad: pl.Series, problem: str) -> None:
        """Raise InvalidData for the first value where `bad` holds."""
        first = bad.fill_null(False).arg_true().head(1)
        if len(first):
            row = int(first[0])
            value = "" if column[row] in (None, "") else f": {column[row]!r}"
            raise InvalidData(
                f"{self.path} line {row + self.first_line}, column {column.name!r}{value} {problem}"
            )


def open_table(path: Path, format: Format | None = None) -> Table:
    """Read a file with columns and at least one row."""
    format = format or format_of(path)
    if format == "lightgcn":
        raise InvalidData(f"{path} is in the LightGCN format, which has no columns")
    rows = _parse(path, format)
    if rows.height == 0:
        raise InvalidData(f"{path} has no rows")
    return Table(path, rows, 2 if format in ("csv", "tsv") else 1)


def read_table(
    path: Path, texts: list[str], numbers: list[str], format: Format | None = None
) -> pl.DataFrame:
    """Return the named columns of a file, `texts` as strings and `numbers` as float64.

    No value is missing, no text empty, no number NaN or infinite.
    """
    table = open_table(path, format)
    return pl.DataFrame(
        [*(table.texts(name) for name in texts), *(table.numbers(name) for name in numbers)]
    )


def numeric_columns(path: Path, but: str) -> list[str]:
    """Return the columns of a file that hold numbers throughout, in order, without `but`."""
    table = _parse(path, format_of(path))
    return [
        name
        for name in table.columns
        if name != but and not table[name].cast(pl.Float64, strict=False).is_null().any()
    ]


def read_lightgcn(path: Path) -> pl.DataFrame:
    """Return columns `user` and `item` from lines of `user item item ...`, one row a pair."""
    users: list[str] = []
    items: list[str] = []
    for line in _read(path).decode("utf-8", errors="replace").split("\n"):
        fields = line.split()
        if fields:
            users.extend([fields[0]] * (len(fields) - 1))
            items.extend(fields[1:])
    if not users:
        raise InvalidData(f"{path} has no rows")
    return pl.DataFrame({"user": users, "item": items})


def format_of(path: Path) -> Format:
    """Return the format that a file's name tells; .gz does not count."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    format = _SUFFIXES.get(suffixes[-1] if suffixes else "")
    if format is None:
        raise InvalidData(
            f"{path} is of an unknown format; name it .csv, .tsv, .jsonl, .parquet or .txt, "
            "or set data.format"
        )
    return format


def _parse(path: Path, format: Format) -> pl.DataFrame:
    content = _read(path)
    if not content.strip():
        raise InvalidData(f"{path} is empty")
    try:
        if format == "parquet":
            return pl.read_parquet(io.BytesIO(content))
        if format == "jsonl":
            return pl.read_ndjson(io.BytesIO(content), infer_schema_length=None)
        return pl.read_csv(
            io.BytesIO(content),
            separator="\t" if format == "tsv" else ",",
            quote_char=None if format == "tsv" else '"',
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise InvalidData(f"{path} is not readable as {format}: {reason}") from None


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        # by the magic number, not the name: a browser may have unpacked it and kept the name
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError:
        raise InvalidData(f"no file {path}") from None
    except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise InvalidData(f"{path} cannot be read: {error}") from None
