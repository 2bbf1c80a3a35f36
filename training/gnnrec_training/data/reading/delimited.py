"""Text tables with a separator: CSV, TSV, RecBole's atomic files and the like.

polars reads them fast, but refuses some files that spreadsheets write and people edit, such as with
quotes in the middle of a field. From the row where it stops, Python's csv module goes on. It is
slower, accepts such quotes, and knows the line that each row begins on.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import polars as pl

from gnnrec_training.config import ReadOptions
from gnnrec_training.data.reading.progress import BLOCK_BYTES
from gnnrec_training.data.tables.dialects import (
    CsvReader,
    Dialect,
    csv_reader,
    detect_dialect,
    fields_of,
)
from gnnrec_training.data.tables.origins import Origin
from gnnrec_training.data.tables.table import BATCH_ROWS, Table
from gnnrec_training.errors import InvalidData

Record = tuple[int, list[str]]
"""The line that a row begins on, counted from 1, and its fields."""


def delimited_tables(
    path: Path, name: str, columns: Sequence[str] | None, options: ReadOptions
) -> Iterator[Table]:
    """Yield the rows of a file in UTF-8, which errors call `name`, without its blank lines.

    Tables have those of `columns` that the file has, or all if that is None. Every value is a text;
    an empty field is null or "". Raises InvalidData for a row with too many fields, a quote that is
    never closed, and bytes that are not UTF-8.
    """
    with open(path, "rb") as file:
        head = file.read(BLOCK_BYTES)
        whole = not file.read(1)
    text = head.decode("utf-8", errors="replace")
    dialect = detect_dialect(text, name, options, columns, whole)
    names = dialect.columns
    wanted = [column for column in names if columns is None or column in columns]
    locate = partial(line_of, path, name, dialect)
    done = 0

    def table(rows: pl.DataFrame) -> Table:
        return Table(name, rows, names, (Origin(name, done + 1, "line", locate=locate),), dialect)

    if len(dialect.separator) == 1:
        try:
            for batch in _polars_batches(path, dialect, wanted):
                yield table(batch)
                done += batch.height
            return
        except pl.exceptions.PolarsError:
            pass  # Python's reader goes on from the row where polars stopped, or names the fault
    found = islice(records(path, name, dialect), done, None)
    places = [names.index(column) for column in wanted]
    while batch_records := list(islice(found, BATCH_ROWS)):
        values = {
            column: [row[place] if place < len(row) else None for _, row in batch_records]
            for column, place in zip(wanted, places, strict=True)
        }
        try:
            yield table(pl.DataFrame(values, dict.fromkeys(wanted, pl.String)))
        except UnicodeEncodeError:
            raise InvalidData(_not_utf8(name, batch_records, values)) from None
        done += len(batch_records)


def records(path: Path, name: str, dialect: Dialect) -> Iterator[Record]:
    """Yield each row of a file but the header and blank lines, by Python's csv module.

    Raises InvalidData for a row with more fields than there are columns, and for a quote that is
    never closed.
    """
    width = len(dialect.columns)
    found = _rows(path, name, dialect)
    if dialect.header:
        next(found, None)
    for line, fields in found:
        if len(fields) > width:
            if any(field.strip() for field in fields[width:]):
                raise InvalidData(
                    f"{name} line {line} has {len(fields)} fields in place of {width}; a text that "
                    f"holds {dialect.separator_name} or a quote must stand in quotes"
                )
            del fields[width:]
        yield line, fields


def line_of(path: Path, name: str, dialect: Dialect, row: int) -> int:
    """Return the line, as an editor counts it, that a row begins on; both are counted from 1."""
    try:
        line, _ = next(islice(records(path, name, dialect), row - 1, None))
    except (StopIteration, InvalidData):
        return row + dialect.header
    return line


def _not_utf8(name: str, rows: list[Record], values: dict[str, list[str | None]]) -> str:
    """Return the error for the first byte that is not UTF-8, with the encoding it may be of."""
    for (line, _), texts in zip(rows, zip(*values.values(), strict=True), strict=True):
        for column, text in zip(values, texts, strict=True):
            odd = [character for character in text or "" if "\ud800" <= character <= "\udfff"]
            if odd:
                content = (text or "").encode(errors="surrogateescape")
                guess = content.decode("windows-1252", errors="replace")
                return (
                    f"{name} line {line}, column {column!r}: byte 0x{ord(odd[0]) & 0xFF:02x} is "
                    f"not UTF-8; if this text is {guess!r:.60}, set data.encoding = "
                    '"windows-1252"'
                )
    return f"{name} is not UTF-8; set data.encoding"


def _polars_batches(path: Path, dialect: Dialect, wanted: list[str]) -> Iterator[pl.DataFrame]:
    names = dialect.columns
    is_blank = pl.all_horizontal(
        [pl.col(column).is_null() | (pl.col(column).str.strip_chars() == "") for column in names]
    )
    rows = pl.scan_csv(
        path,
        separator=dialect.separator,
        quote_char=dialect.quote,
        has_header=dialect.header,
        schema=dict.fromkeys(names, pl.String),
        glob=False,
    )
    rows = rows.filter(~is_blank)
    if wanted:
        rows = rows.select(wanted)
    yield from rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)


def _rows(path: Path, name: str, dialect: Dialect) -> Iterator[Record]:
    """Yield every row that is not blank, the header included."""
    csv.field_size_limit(sys.maxsize)  # a row that an unclosed quote opens may be a whole file
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        if len(dialect.separator) > 1:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, fields_of(line, dialect.separator, dialect.quote)
            return
        lines = _Lines(file)
        rows: CsvReader = csv_reader(lines, dialect.separator, dialect.quote)
        begin = 1
        for fields in rows:
            if lines.ended:  # the csv reader asked for more, so the row is not complete
                raise InvalidData(f"{name} line {begin}: a quote is opened and never closed")
            if any(field.strip() for field in fields):
                yield begin, fields
            begin = rows.line_num + 1


class _Lines:
    """The lines of a file; `ended` tells whether a line was asked for after the last one."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        yield from self._lines
        self.ended = True
