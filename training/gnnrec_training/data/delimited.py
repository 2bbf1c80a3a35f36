"""Text tables with a separator: CSV and its relatives.

polars reads them fast, and refuses some that spreadsheets write and people edit. From where it
does, Python's csv module goes on: it takes quotes as they come, and tells lines from rows.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import polars as pl

from gnnrec_training.config_data import Reading
from gnnrec_training.data.dialects import Dialect, dialect_of, fields_of, reader
from gnnrec_training.data.spool import BLOCK
from gnnrec_training.data.tables import BATCH, Origin, Table
from gnnrec_training.errors import InvalidData

Record = tuple[int, list[str]]
"""The line that a row begins on, and its fields."""


def delimited_tables(
    path: Path, name: str, columns: Sequence[str] | None, reading: Reading
) -> Iterator[Table]:
    """Yield the rows of a file in UTF-8, which errors call `name`, without its blank lines.

    Every value is a text; what is empty is null or "".
    """
    with open(path, "rb") as file:
        head = file.read(BLOCK)
        whole = not file.read(1)
    text = head.decode("utf-8", errors="replace")
    dialect = dialect_of(text, name, reading, columns, whole)
    names = dialect.columns
    wanted = [each for each in names if columns is None or each in columns]
    locate = partial(line_of, path, name, dialect)
    done = 0

    def table(rows: pl.DataFrame) -> Table:
        return Table(name, rows, names, (Origin(name, done + 1, "line", locate=locate),), dialect)

    if len(dialect.separator) == 1:
        try:
            for batch in _fast(path, dialect, wanted):
                yield table(batch)
                done += batch.height
            return
        except pl.exceptions.PolarsError:
            pass  # the careful reader goes on where this one stopped, or says what is wrong
    found = islice(records(path, name, dialect), done, None)
    places = [names.index(each) for each in wanted]
    while some := list(islice(found, BATCH)):
        values = {
            each: [row[place] if place < len(row) else None for _, row in some]
            for each, place in zip(wanted, places, strict=True)
        }
        try:
            yield table(pl.DataFrame(values, dict.fromkeys(wanted, pl.String)))
        except UnicodeEncodeError:
            raise InvalidData(_not_utf8(name, some, values)) from None
        done += len(some)


def records(path: Path, name: str, dialect: Dialect) -> Iterator[Record]:
    """Yield each row of a file but the header and blank ones.

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
                    f"holds {dialect.named} or a quote must stand in quotes"
                )
            del fields[width:]
        yield line, fields


def line_of(path: Path, name: str, dialect: Dialect, row: int) -> int:
    """Return the line that a row, counted from 1, begins on, as an editor counts it."""
    try:
        line, _ = next(islice(records(path, name, dialect), row - 1, None))
    except (StopIteration, InvalidData):
        return row + dialect.header
    return line


def _not_utf8(name: str, rows: list[Record], values: dict[str, list[str | None]]) -> str:
    """Say where a text is not in UTF-8, and in what it may be."""
    for (line, _), texts in zip(rows, zip(*values.values(), strict=True), strict=True):
        for column, text in zip(values, texts, strict=True):
            odd = [letter for letter in text or "" if "\ud800" <= letter <= "\udfff"]
            if odd:
                content = (text or "").encode(errors="surrogateescape")
                guess = content.decode("windows-1252", errors="replace")
                return (
                    f"{name} line {line}, column {column!r}: byte 0x{ord(odd[0]) & 0xFF:02x} is "
                    f"not UTF-8; if this text is {guess!r:.60}, set data.encoding = "
                    '"windows-1252"'
                )
    return f"{name} is not UTF-8; set data.encoding"


def _fast(path: Path, dialect: Dialect, wanted: list[str]) -> Iterator[pl.DataFrame]:
    names = dialect.columns
    is_blank = pl.all_horizontal(
        [pl.col(each).is_null() | (pl.col(each).str.strip_chars() == "") for each in names]
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
    yield from rows.collect_batches(chunk_size=BATCH, maintain_order=True)


def _rows(path: Path, name: str, dialect: Dialect) -> Iterator[Record]:
    csv.field_size_limit(sys.maxsize)  # a row that an unclosed quote opens may be a whole file
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        if len(dialect.separator) > 1:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, fields_of(line, dialect.separator, dialect.quote)
            return
        lines = _Lines(file)
        rows = reader(lines, dialect.separator, dialect.quote)
        begin = 1
        for fields in rows:
            if lines.ended:  # while the row was not
                raise InvalidData(f"{name} line {begin}: a quote is opened and never closed")
            if any(field.strip() for field in fields):
                yield begin, fields
            begin = rows.line_num + 1


class _Lines:
    """Lines, and whether somebody has asked for more than there are."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        yield from self._lines
        self.ended = True
