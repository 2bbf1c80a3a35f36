"""Times, however they are written, as Unix seconds.

The unit of numbers is told by their size: 100,000,000,000 seconds would be the year 5138, so
numbers from there on are milliseconds, and so on by steps of a thousand. All values of a column are
of one unit.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec_training.data.tables.table import Table
from gnnrec_training.errors import InvalidData

Unit = Literal[
    "seconds", "milliseconds", "microseconds", "nanoseconds", "dates", "moments", "order"
]
Seconds = NDArray[np.float64]

_LEAST_UNIX_TIME = 1e8
"""Smaller numbers (before March 1973 in seconds) are not Unix time: they only give an order."""
# Up to which number a unit goes, and how many of it are a second.
_UNITS: tuple[tuple[float, Unit, float], ...] = (
    (1e11, "seconds", 1.0),
    (1e14, "milliseconds", 1e3),
    (1e17, "microseconds", 1e6),
    (np.inf, "nanoseconds", 1e9),
)
_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M",
    "%Y%m%d %H%M%S",
)
_ZONED = ("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z", "%Y%m%d %H%M%S%#z")
_HINT = (
    "is no moment: numbers (Unix time) and ISO 8601 such as 2024-01-31T10:00:00Z are read; for "
    'another form set data.time_format, such as "%d.%m.%Y %H:%M"'
)


@dataclass
class TimeReader:
    """Reads the times of one column, batch after batch, and demands one unit for all of them."""

    column: str
    format: str | None = None
    """How times are written, in the codes of strftime; None for numbers or ISO 8601."""
    unit: Unit | None = None
    """What the values are; None before the first batch."""
    zoneless: bool = False
    """Whether any time had no time zone and was taken as UTC."""

    def read(self, table: Table) -> Seconds:
        """Return the times of a batch in Unix seconds (N,).

        Numbers that only give an order are returned as they are.

        Raises InvalidData, with its place, for one that is missing, cannot be read, or is of
        another unit than those before.
        """
        column = table.column(self.column)
        empty = column.is_null()
        if column.dtype == pl.String:
            column = column.str.strip_chars()
            empty |= column == ""
        table.refuse(column, empty, "is empty")
        if isinstance(column.dtype, pl.Duration | pl.Time):
            raise InvalidData(
                f"{table.name}, column {self.column!r}: durations and times of day are no moments"
            )
        if column.dtype == pl.Date or isinstance(column.dtype, pl.Datetime):
            self._settle("moments", table, 0)
            self.zoneless |= getattr(column.dtype, "time_zone", None) is None
            return _epoch(column)
        if column.dtype == pl.String:
            is_number = column.cast(pl.Float64, strict=False).is_not_null()
            if self.format is not None or not is_number.all():
                return self._texts(table, column, is_number)
        return self._scaled(table, table.numbers(self.column).to_numpy())

    def _texts(self, table: Table, column: pl.Series, is_number: pl.Series) -> Seconds:
        """Return texts in Unix seconds (N,); raises InvalidData for one that is not a time."""
        if self.format is not None:
            found = _parsed(column, self.format)
            table.refuse(column, found.is_null(), f"is not written as {self.format!r}")
            self.zoneless |= re.search(r"%[:#]*z", self.format) is None
        else:
            found = self._parse(column)
            table.refuse(column, found.is_null() & ~is_number, _HINT)
            table.refuse(column, is_number, "is a number among dates and times")
        self._settle("moments", table, 0)
        return _epoch(found)

    def _parse(self, column: pl.Series) -> pl.Series:
        """Return texts of ISO 8601 as times in UTC, null for other texts."""
        plain = (
            column.str.replace(r"^(\d{4}-?\d{2}-?\d{2})[Tt](\d)", "$1 $2")
            .str.replace(r"\s*(UTC|GMT|[Zz])$", "+00:00")
            .str.replace(r"\s+([+-]\d{2}:?(\d{2})?)$", "$1")
            .str.replace(r"(:\d{2}),(\d)", "$1.$2")
        )
        zoned = plain.str.contains(r"\d:?\d{2}(\.\d+)?[+-]\d{2}:?(\d{2})?$")
        zoned &= ~plain.str.contains(r"^\d{4}-\d{2}-\d{2}$")
        found = _parsed(plain, _FORMATS[0])
        for form in _FORMATS[1:]:
            if not found.is_null().any():
                break
            found = found.fill_null(_parsed(plain, form))
        if zoned.any():
            found = found.set(zoned, None)
            for form in _ZONED:
                found = found.fill_null(_parsed(plain, form))
        self.zoneless |= not zoned.all()
        return found

    def _scaled(self, table: Table, numbers: Seconds) -> Seconds:
        """Return numbers in seconds (N,), by the unit that their size tells."""
        large = np.abs(numbers) >= _LEAST_UNIX_TIME
        if len(numbers) and self.unit in (None, "dates") and _are_dates(numbers):
            self._settle("dates", table, 0)
            self.zoneless = True
            return _of_dates(numbers)
        if not large.any():
            self._settle(self.unit or "order", table, 0)
            factor = next((factor for _, unit, factor in _UNITS if unit == self.unit), 1.0)
            return numbers / factor
        limits = [limit for limit, _, _ in _UNITS]
        units = np.searchsorted(limits, np.abs(numbers), side="right")
        first = int(np.argmax(large))
        for row in (first, int(np.argmax(large & (units != units[first])))):
            if large[row]:
                self._settle(_UNITS[units[row]][1], table, row)
        seconds: Seconds = numbers / _UNITS[units[first]][2]
        return seconds

    def _settle(self, unit: Unit, table: Table, row: int) -> None:
        """Set the column's unit, or raise InvalidData, at `row`, if it has another already."""
        if self.unit not in (None, unit):
            raise InvalidData(
                f"{table.place(row)}, column {self.column!r}: "
                f"{table.column(self.column)[row]!r:.80} is of {_UNIT_NAMES[unit]}, and others are "
                f"of {_UNIT_NAMES[self.unit]}; a column of moments is of one unit throughout"
            )
        self.unit = unit


_UNIT_NAMES: dict[Unit | None, str] = {
    "seconds": "Unix seconds",
    "milliseconds": "Unix milliseconds",
    "microseconds": "Unix microseconds",
    "nanoseconds": "Unix nanoseconds",
    "dates": "dates as numbers (YYYYMMDD)",
    "moments": "dates and times",
    "order": "numbers too small for Unix time",
}


def unit_name(unit: Unit) -> str:
    """Return what printed lines and errors call a unit."""
    return _UNIT_NAMES[unit]


def _parsed(texts: pl.Series, form: str) -> pl.Series:
    """Return texts as times in UTC, without a zone in their type; null where the form differs."""
    try:
        found = texts.str.to_datetime(form, strict=False, time_unit="us")
    except pl.exceptions.PolarsError:  # polars refuses a form that cannot give a time
        return pl.Series(texts.name, [None] * len(texts), pl.Datetime("us"))
    return found.dt.replace_time_zone(None) if found.dtype.time_zone else found  # type: ignore[attr-defined]


def _epoch(moments: pl.Series) -> Seconds:
    seconds: Seconds = (moments.dt.epoch("us") / 1e6).to_numpy()
    return seconds


def _parts(numbers: Seconds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return dates YYYYMMDD (N,) and times of day HHMMSS (N,) of numbers of 8 or 14 digits."""
    whole = np.where(np.isfinite(numbers) & (np.abs(numbers) < 1e15), numbers, 0).astype(np.int64)
    long = whole >= 10**13
    return np.where(long, whole // 10**6, whole), np.where(long, whole % 10**6, 0)


def _are_dates(numbers: Seconds) -> bool:
    """Tell whether all numbers can be dates YYYYMMDD, or with a time of day YYYYMMDDHHMMSS."""
    dates, times = _parts(numbers)
    year, month, day = dates // 10_000, dates // 100 % 100, dates % 100
    return bool(
        (
            (numbers == np.floor(numbers))
            & (year >= 1970) & (year <= 2100)
            & (month >= 1) & (month <= 12)
            & (day >= 1) & (day <= 31)
            & (times // 10_000 < 24) & (times // 100 % 100 < 60) & (times % 100 < 60)
        ).all()
    )  # fmt: skip


def _of_dates(numbers: Seconds) -> Seconds:
    """Return such dates in Unix seconds, taken as UTC."""
    dates, times = _parts(numbers)
    months = ((dates // 10_000 - 1970) * 12 + dates // 100 % 100 - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]").astype(np.int64) + dates % 100 - 1
    seconds = times // 10_000 * 3600 + times // 100 % 100 * 60 + times % 100
    return (days * 86_400 + seconds).astype(np.float64)
