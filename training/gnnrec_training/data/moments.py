"""Moments, however they are written, to Unix seconds.

Numbers are told apart by size: nobody's interactions are of the year 5138, so 100,000,000,000 and
more are no seconds but milliseconds, and so on. All of a column are of one unit.
"""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec_training.data.tables import Table
from gnnrec_training.errors import InvalidData

Unit = Literal[
    "seconds", "milliseconds", "microseconds", "nanoseconds", "dates", "moments", "order"
]
Seconds = NDArray[np.float64]

_LEAST = 1e8
"""Numbers below are no Unix seconds of today's: they give an order alone."""
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
class Clock:
    """Reads the moments of one column, batch after batch, all of one unit."""

    column: str
    format: str | None = None
    """How texts are written, as strftime has it; ISO 8601 if not set."""
    unit: Unit | None = None
    """What the values are, once some were read."""
    zoneless: bool = False
    """Whether any had no time zone, and was taken as UTC."""

    def read(self, table: Table) -> Seconds:
        """Return a batch's moments in Unix seconds; numbers of unit `order` as they are.

        Raises InvalidData, with its place, for one that is missing, that cannot be read, or is of
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
        """Return the moments that texts of ISO 8601 stand for, null for others."""
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
        """Return numbers in seconds, by the unit that their sizes tell."""
        large = np.abs(numbers) >= _LEAST
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
        """Take a unit for that of the column, or raise InvalidData where it has another."""
        if self.unit not in (None, unit):
            raise InvalidData(
                f"{table.place(row)}, column {self.column!r}: "
                f"{table.column(self.column)[row]!r:.80} is of {_CALLED[unit]}, and others are of "
                f"{_CALLED[self.unit]}; a column of moments is of one unit throughout"
            )
        self.unit = unit


_CALLED: dict[Unit | None, str] = {
    "seconds": "Unix seconds",
    "milliseconds": "Unix milliseconds",
    "microseconds": "Unix microseconds",
    "nanoseconds": "Unix nanoseconds",
    "dates": "dates as numbers (YYYYMMDD)",
    "moments": "dates and times",
    "order": "numbers too small for Unix time",
}


def called(unit: Unit) -> str:
    """Return what a unit is called in a sentence."""
    return _CALLED[unit]


def _parsed(texts: pl.Series, form: str) -> pl.Series:
    """Return texts as moments in UTC without a zone, null where they are not of the form."""
    try:
        found = texts.str.to_datetime(form, strict=False, time_unit="us")
    except pl.exceptions.PolarsError:  # a form that no text could be of
        return pl.Series(texts.name, [None] * len(texts), pl.Datetime("us"))
    return found.dt.replace_time_zone(None) if found.dtype.time_zone else found  # type: ignore[attr-defined]


def _epoch(moments: pl.Series) -> Seconds:
    seconds: Seconds = (moments.dt.epoch("us") / 1e6).to_numpy()
    return seconds


def _parts(numbers: Seconds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the dates YYYYMMDD and times HHMMSS that numbers of 8 or 14 digits are of."""
    whole = np.where(np.isfinite(numbers) & (np.abs(numbers) < 1e15), numbers, 0).astype(np.int64)
    long = whole >= 10**13
    return np.where(long, whole // 10**6, whole), np.where(long, whole % 10**6, 0)


def _are_dates(numbers: Seconds) -> bool:
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
    dates, times = _parts(numbers)
    months = ((dates // 10_000 - 1970) * 12 + dates // 100 % 100 - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]").astype(np.int64) + dates % 100 - 1
    seconds = times // 10_000 * 3600 + times // 100 % 100 * 60 + times % 100
    return (days * 86_400 + seconds).astype(np.float64)
