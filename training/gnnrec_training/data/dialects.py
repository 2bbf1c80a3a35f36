"""How a text table is written: what separates its fields, whether texts stand in quotes, its names.

A file says so itself, in its first lines; a configuration may say it instead.
"""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol

from gnnrec_training.config_data import Reading
from gnnrec_training.errors import InvalidData

_SEPARATORS = (",", ";", "\t", "|", "::")
_HEAD_LINES = 200
_NAME_AND_TYPE = re.compile(r"(.+):(token|token_seq|float|float_seq)")
_NUMBER = re.compile(r"\s*[-+]?\d+([.,]\d+)?\s*")


class Rows(Protocol):
    """The fields of rows, and how many lines were read for them."""

    @property
    def line_num(self) -> int:
        """Count the lines."""

    def __iter__(self) -> Iterator[list[str]]:
        """Yield the fields of each row."""


@dataclass(frozen=True)
class Dialect:
    """How a text table is written."""

    separator: str
    quote: str | None
    """What texts that hold a separator or a line break stand in; None where nothing does."""
    columns: tuple[str, ...]
    """The names, distinct; without a header the numbers from 1."""
    header: bool
    """Whether the first line has the names."""
    sequences: frozenset[str] = frozenset()
    """Columns whose values are several texts with spaces between, as RecBole's types say."""

    @property
    def named(self) -> str:
        """What the separator is called."""
        return {"\t": "a tab"}.get(self.separator, repr(self.separator))


def dialect_of(
    head: str, name: str, reading: Reading, wanted: Collection[str] | None, whole: bool
) -> Dialect:
    """Return how a table is written, by its first lines.

    `wanted`: the columns that will be asked for, which tell a header from a row; `whole`: whether
    the head is all of the file. Raises InvalidData, which calls the file `name`, for two columns of
    the same name that are wanted.
    """
    lines = [line for line in head.splitlines(keepends=True) if line.strip()]
    if not whole and len(lines) > 1:
        lines.pop()  # it may be cut
    lines = lines[:_HEAD_LINES]
    separator = reading.separator or _separator(lines, wanted or ())
    quote = _quote(lines, separator)
    first = fields_of(lines[0], separator, quote) if lines else []
    named = [_bare(field) for field in first]
    numbered = tuple(str(number + 1) for number in range(len(first)))
    header = reading.header
    if header is None:
        by_number = bool(wanted) and all(each.isdecimal() for each in wanted or ())
        header = not by_number or set(wanted or ()) <= set(named)
    if not header:
        return Dialect(separator, quote, numbered, False)
    for column in wanted or ():
        if named.count(column) > 1:
            raise InvalidData(f"{name} has two columns {column!r}; give each a name of its own")
    columns = _distinct(named, numbered)
    several = {each for each, field in zip(columns, first, strict=True) if _is_sequence(field)}
    return Dialect(separator, quote, columns, True, frozenset(several))


def fields_of(line: str, separator: str, quote: str | None) -> list[str]:
    """Return the fields of one line."""
    if len(separator) > 1:
        return line.rstrip("\r\n").split(separator)
    return next(iter(reader([line], separator, quote)), [])


def reader(lines: Iterable[str], separator: str, quote: str | None) -> "Rows":
    """Return Python's reader of lines; it takes quotes as they come."""
    if quote is None:
        return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=separator, quotechar=quote)


def no_column(name: str, wanted: str, columns: Sequence[str], dialect: Dialect | None) -> str:
    """Say that a table lacks a column, what it has, and what may have been meant."""
    there = ", ".join(columns[:30]) + (", ..." if len(columns) > 30 else "")
    close = get_close_matches(wanted, columns, 1)
    hint = f"; is it {close[0]!r}?" if close else ""
    if not close and dialect is not None and _looks_like_data(dialect):
        hint = (
            "; if its first line is no line of names, name the columns by their numbers, such as "
            "user_column = 1"
        )
    elif not close and len(columns) == 1 and dialect is not None:
        hint = f"; is it separated by something else than {dialect.named}? set data.separator"
    return f"{name} has no column {wanted!r}; its columns: {there}{hint}"


def _separator(lines: list[str], wanted: Collection[str]) -> str:
    best, best_worth = ",", (0, 0.0, 0)
    for separator in _SEPARATORS:
        quote = _quote(lines, separator)
        widths = Counter(len(fields_of(line, separator, quote)) for line in lines)
        if not widths:
            continue
        width, times = widths.most_common(1)[0]
        if width < 2:
            continue
        named = {_bare(field) for field in fields_of(lines[0], separator, quote)}
        worth = (len(named & set(wanted)), times / len(lines), width)
        if worth > best_worth:
            best, best_worth = separator, worth
    return best


def _quote(lines: list[str], separator: str) -> str | None:
    """Return the mark that texts stand in; where a tab separates, a title may begin with one."""
    if separator != "\t":
        return '"' if len(separator) == 1 else None
    for line in lines:
        for field in line.rstrip("\r\n").split(separator):
            if field.startswith('"') and (len(field) == 1 or not field.endswith('"')):
                return None
    return '"'


def _bare(field: str) -> str:
    """Return a column's name without outer spaces, and without RecBole's type behind it."""
    field = field.strip().removeprefix("\ufeff").strip()
    typed = _NAME_AND_TYPE.fullmatch(field)
    return typed[1] if typed else field


def _is_sequence(field: str) -> bool:
    """Tell whether RecBole's type in a header's field is one of several values."""
    typed = _NAME_AND_TYPE.fullmatch(field.strip())
    return typed is not None and typed[2].endswith("_seq")


def _distinct(names: list[str], numbers: Sequence[str]) -> tuple[str, ...]:
    """Return the names, those that are empty or stand twice by their numbers."""
    return tuple(
        name if name and names.count(name) == 1 else f"{name} (column {number})".strip()
        for name, number in zip(names, numbers, strict=True)
    )


def _looks_like_data(dialect: Dialect) -> bool:
    return any(_NUMBER.fullmatch(column) for column in dialect.columns)
