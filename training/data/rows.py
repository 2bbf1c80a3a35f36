"""Rows of Python values, as databases give them, to a table."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from training.data.tables import Origin, Table
from training.errors import InvalidData

_PLAIN = {int, float, str, bool, type(None)}


def table(values: Mapping[str, Sequence[Any]], columns: Sequence[str], origin: Origin) -> Table:
    """Return a table of columns of equally many values; `columns`: all that the source has.

    Numbers, texts, truth values, moments and lists stay what they are; anything else, such as an
    exact decimal or a UUID, becomes its text, as does a column of several types. Raises InvalidData
    for a value within a value.
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
    if len(kinds) > 1 and not kinds <= {int, float}:
        values = [None if value is None else str(value) for value in values]
    try:
        return pl.Series(name, values, pl.Float64 if kinds == {int, float} else None)
    except (pl.exceptions.PolarsError, OverflowError, TypeError):
        # an integer of more than 64 bits
        return pl.Series(name, [None if value is None else str(value) for value in values])


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float | str | None | dict):
        return value
    if isinstance(value, datetime):
        return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", errors="replace")
    return str(value)


def _lists(name: str, values: Sequence[Any], origin: Origin) -> pl.Series:
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, list):
            raise InvalidData(
                f"{origin.place(row)}, column {name!r}: {value!r:.60} stands among lists"
            )
        for each in value or ():
            if isinstance(each, list | dict):
                raise InvalidData(
                    f"{origin.place(row)}, column {name!r}: {value!r:.60} is a value of values"
                )
    kinds = {type(each) for value in values for each in value or ()} - {type(None)}
    if kinds <= {int, float}:
        return pl.Series(name, values, pl.List(pl.Float64), strict=False)
    texts = [
        None if value is None else [None if each is None else str(each) for each in value]
        for value in values
    ]
    return pl.Series(name, texts, pl.List(pl.String))
