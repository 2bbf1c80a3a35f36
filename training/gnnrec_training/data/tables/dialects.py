"""How a text table is written: its separator, its quotes, and the names of its columns.

Found out from its first lines, unless the configuration says it.
"""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol

from gnnrec_training.config import ReadOptions
from gnnrec_training.errors import InvalidData

_SEPARATORS = (",", ";", "\t", "|", "::")
_HEAD_LINES = 200
_NAME_AND_TYPE = re.compile(r"(.+):(token|token_seq|float|float_seq)")
_NUMBER = re.compile(r"\s*[-+]?\d+([.,]\d+)?\s*")


class CsvReader(Protocol):
    """What Python's csv.reader returns: the fields of each row."""

    @property
    def line_num(self) -> int:
        """How many lines were read so far; a row may span several."""

    def __iter__(self) -> Iterator[list[str]]:
        """Yield the fields of each row."""


@dataclass(frozen=True)
class Dialect:
    """How a text table is written."""

    separator: str
    quote: str | None
    """The mark around texts that hold a separator or a line break; None if there are no quotes."""
    columns: tuple[str, ...]
    """The names of the columns, all different; without a header their numbers, from 1."""
    header: bool
    """Whether the first line has the names of the columns."""
    sequences: frozenset[str] = frozenset()
    """Columns whose values are several texts with spaces between, by RecBole's type in the header
    (token_seq, float_seq)."""

    @property
    def separator_name(self) -> str:
        """What errors call the separator."""
        return {"\t": "a tab"}.get(self.separator, repr(self.separator))


def detect_dialect(
    head: str, name: str, options: ReadOptions, wanted: Collection[str] | None, whole: bool
) -> Dialect:
    """Return how a text table is written, by its first lines `head`.

    `wanted`: the columns that will be asked for; they help to tell the separator and whether there
    is a header. `whole`: whether the head is the whole file. Raises InvalidData, which calls the
    file `name`, where a wanted column's name is there twice.
    """
    lines = [line for line in head.splitlines(keepends=True) if line.strip()]
    if not whole and len(lines) > 1:
        lines.pop()  # the head may end within it
    lines = lines[:_HEAD_LINES]
    separator = options.separator or _separator(lines, wanted or ())
    quote = _quote(lines, separator)
    first = fields_of(lines[0], separator, quote) if lines else []
    names = [_column_name(field) for field in first]
    numbers = tuple(str(number + 1) for number in range(len(first)))
    header = options.header
    if header is None:
        by_number = bool(wanted) and all(column.isdecimal() for column in wanted or ())
        header = not by_number or set(wanted or ()) <= set(names)
    if not header:
        return Dialect(separator, quote, numbers, False)
    for column in wanted or ():
        if names.count(column) > 1:
            raise InvalidData(f"{name} has two columns {column!r}; give each a name of its own")
    columns = _distinct(names, numbers)
    sequences = {
        column for column, field in zip(columns, first, strict=True) if _is_sequence(field)
    }
    return Dialect(separator, quote, columns, True, frozenset(sequences))


def fields_of(line: str, separator: str, quote: str | None) -> list[str]:
    """Return the fields of one line."""
    if len(separator) > 1:
        return line.rstrip("\r\n").split(separator)
    return next(iter(csv_reader([line], separator, quote)), [])


def csv_reader(lines: Iterable[str], separator: str, quote: str | None) -> "CsvReader":
    """Return Python's csv reader, which also accepts quotes within a field that has none around."""
    if quote is None:
        return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=separator, quotechar=quote)


def missing_column(name: str, wanted: str, columns: Sequence[str], dialect: Dialect | None) -> str:
    """Return the error for a column that a table does not have: what it has, what may be meant."""
    there = ", ".join(columns[:30]) + (", ..." if len(columns) > 30 else "")
    close = get_close_matches(wanted, columns, 1)
    hint = f"; is it {close[0]!r}?" if close else ""
    if not close and dialect is not None and _looks_like_data(dialect):
        hint = (
            "; if its first line is no line of names, name the columns by their numbers, such as "
            "user_column = 1"
        )
    elif not close and len(columns) == 1 and dialect is not None:
        hint = (
            f"; is it separated by something else than {dialect.separator_name}? set data.separator"
        )
    return f"{name} has no column {wanted!r}; its columns: {there}{hint}"


def _separator(lines: list[str], wanted: Collection[str]) -> str:
    """Return the likeliest separator: a comma, unless another one splits the lines better.

    Better is one that yields more of the wanted columns, then one that splits more lines into the
    same number of fields, then one that yields more fields.
    """
    best, best_worth = ",", (0, 0.0, 0)
    for separator in _SEPARATORS:
        quote = _quote(lines, separator)
        widths = Counter(len(fields_of(line, separator, quote)) for line in lines)
        if not widths:
            continue
        width, times = widths.most_common(1)[0]
        if width < 2:
            continue
        names = {_column_name(field) for field in fields_of(lines[0], separator, quote)}
        worth = (len(names & set(wanted)), times / len(lines), width)
        if worth > best_worth:
            best, best_worth = separator, worth
    return best


def _quote(lines: list[str], separator: str) -> str | None:
    """Return the quotation mark of a table, None if it has none.

    Tab-separated files often have no quotes: a field that begins with the mark and does not end
    with it is a text, such as a title, that holds one.
    """
    if separator != "\t":
        return '"' if len(separator) == 1 else None
    for line in lines:
        for field in line.rstrip("\r\n").split(separator):
            if field.startswith('"') and (len(field) == 1 or not field.endswith('"')):
                return None
    return '"'


def _column_name(field: str) -> str:
    """Return a header's field without outer spaces, a byte order mark, and RecBole's `:type`."""
    field = field.strip().removeprefix("\ufeff").strip()
    typed = _NAME_AND_TYPE.fullmatch(field)
    return typed[1] if typed else field


def _is_sequence(field: str) -> bool:
    """Tell whether a header's field has a RecBole type of several values, such as `x:token_seq`."""
    typed = _NAME_AND_TYPE.fullmatch(field.strip())
    return typed is not None and typed[2].endswith("_seq")


def _distinct(names: list[str], numbers: Sequence[str]) -> tuple[str, ...]:
    """Return names that are all different: an empty or repeated one gets its column's number."""
    return tuple(
        name if name and names.count(name) == 1 else f"{name} (column {number})".strip()
        for name, number in zip(names, numbers, strict=True)
    )


def _looks_like_data(dialect: Dialect) -> bool:
    """Tell whether a name in the header is a number, as if the first line were data."""
    return any(_NUMBER.fullmatch(column) for column in dialect.columns)
