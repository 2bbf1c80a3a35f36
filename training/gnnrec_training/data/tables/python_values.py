"""A table from columns of Python values, as databases and JSON give them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from gnnrec_training.data.tables.binary_texts import texts_of_bytes
from gnnrec_training.data.tables.origins import Origin
from gnnrec_training.data.tables.table import LARGEST_WHOLE, Table
from gnnrec_training.errors import InvalidData

_PLAIN = {int, float, str, bool, bytes, type(None)}


def table_of_values(
    values: Mapping[str, Sequence[Any]], columns: Sequence[str], origin: Origin
) -> Table:
    """Return a table of `values`: for each column's name N values.

    `columns`: the names of all columns of the source. Numbers, texts, truth values, times and lists
    keep their type, integers their every digit. A value of another type, such as an exact decimal
    or a UUID, becomes a text, and so does a column of several types. Raises InvalidData for a
    mapping, or for a list within a list.
    """
    rows = pl.DataFrame([_series(name, column, origin) for name, column in values.items()])
    return Table(origin.name, rows, tuple(columns), (origin,))


def _series(name: str, values: Sequence[Any], origin: Origin) -> pl.Series:
    kinds = set(map(type, values))
    if not kinds <= _PLAIN:
        values = [_plain(value) for value in values]
        kinds = set(map(type, values))
    kinds -= {type(None)}
    if kinds & {list, dict}:
        return _lists(name, values, origin)
    if kinds == {int, float}:
        # floating-point, unless that would round an integer
        if all(type(value) is not int or abs(value) <= LARGEST_WHOLE for value in values):
            return pl.Series(name, values, pl.Float64, strict=False)
    elif len(kinds) <= 1:
        try:
            return pl.Series(name, values)
        except (pl.exceptions.PolarsError, OverflowError, TypeError, UnicodeEncodeError):
            pass  # an integer of more than 64 bits, or times with and without a zone: texts
    texts = [None if value is None else _text(value) for value in values]
    try:
        return pl.Series(name, texts, pl.String)
    except UnicodeEncodeError:
        row = next(place for place, text in enumerate(texts) if text and not _is_unicode(text))
        raise InvalidData(
            f"{origin.place(row)}, column {name!r} holds half a character: it is no Unicode text"
        ) from None


def _text(value: Any) -> str:
    """Return a value as a text; a whole floating-point number is written as an integer."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_WHOLE:
        return str(int(value))
    if isinstance(value, bytes):
        return str(texts_of_bytes(pl.Series([value]))[0])
    return str(value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, bool | str | None | dict):
        return value
    if isinstance(value, int):
        return int(value)  # MongoDB's long is a class of its own
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Decimal):
        whole = value.is_finite() and value == value.to_integral_value()
        return str(int(value)) if whole else str(value)
    if isinstance(value, datetime):
        return value if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, timedelta):
        return value
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return str(value)


def _lists(name: str, values: Sequence[Any], origin: Origin) -> pl.Series:
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, list):
            raise InvalidData(
                f"{origin.place(row)}, column {name!r}: {value!r:.60} stands among lists"
            )
        for entry in value or ():
            if isinstance(entry, list | dict):
                raise InvalidData(
                    f"{origin.place(row)}, column {name!r}: {value!r:.60} is a value of values"
                )
    kinds = {type(entry) for value in values for entry in value or ()} - {type(None)}
    if kinds == {int}:
        try:
            return pl.Series(name, values, pl.List(pl.Int64))
        except (pl.exceptions.PolarsError, OverflowError):
            pass  # an integer of more than 64 bits: texts
    elif kinds <= {int, float}:
        return pl.Series(name, values, pl.List(pl.Float64), strict=False)
    texts = [
        None if value is None else [None if entry is None else str(entry) for entry in value]
        for value in values
    ]
    return pl.Series(name, texts, pl.List(pl.String))
