"""Counts of what was read from the data: printed when it is read, and recorded in the manifest."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gnnrec_training.data.moments import Unit, unit_name


@dataclass
class DataSummary:
    """What became of the rows of interactions.

    rows = sum of missing + low + repeats + interactions.
    """

    rows: int = 0
    """Rows of interactions that were read, without blank lines."""
    missing: Counter[str] = field(default_factory=Counter)
    """Rows left out because an id is missing, by the column that it is missing in."""
    missing_at: str = ""
    """Where the first of these rows was read, such as `x.csv line 7`."""
    low: int = 0
    """Rows below data.min_weight."""
    low_are_seen: bool = True
    """Whether data.low_weights is "seen": such pairs are not recommended."""
    repeats: int = 0
    """Rows whose pair of user and item another row has already."""
    merged: str = ""
    """How the weights of such rows became one, in words."""
    interactions: int = 0
    """Pairs of user and item that are interactions."""
    seen_only: int = 0
    """Pairs that are not interactions, but are not recommended either."""
    users: int = 0
    """Users with interactions."""
    items: int = 0
    """Items with interactions."""
    joined_ids: dict[str, int] = field(default_factory=dict)
    """For "users" and "items": how many texts are another form of an id, such as 3.0 for 3, or
    "u1 " for "u1"."""
    unit: Unit | None = None
    """What the values of the time column are; None without one."""
    zoneless: bool = False
    """Whether any time had no time zone and was taken as UTC."""
    first_at: float | None = None
    """The earliest interaction in Unix seconds; None where times only give an order."""
    last_at: float | None = None
    """The latest interaction in Unix seconds; None where times only give an order."""
    weights: tuple[float, float] | None = None
    """The least and the largest weight of an interaction; None without a weight column."""
    known: dict[str, tuple[int, int]] = field(default_factory=dict)
    """For "users" and "items": how many of those with interactions are in the table about them, and
    how many have interactions."""
    warnings: list[str] = field(default_factory=list)
    """What the user should look at, in sentences."""

    def lines(self) -> list[str]:
        """Return what was read, in sentences without a full stop."""
        lines = [
            f"{self.rows:,} rows: {self.interactions:,} interactions of {self.users:,} users and "
            f"{self.items:,} items"
        ]
        if self.repeats:
            lines.append(f"{self.repeats:,} rows repeat a pair; merged: {self.merged}")
        if self.low:
            as_what = (
                f"{self.seen_only:,} pairs are seen and not recommended"
                if self.low_are_seen
                else "left out"
            )
            lines.append(f"{self.low:,} rows below min_weight: {as_what}")
        if self.weights is not None:
            least, most = self.weights
            lines.append(f"weights from {least:g} to {most:g}")
        if (when := self._when()) is not None:
            lines.append(when)
        for side, count in self.joined_ids.items():
            lines.append(f"{count:,} {side} were written in more than one way and are one each")
        for side, (known, all_of_them) in self.known.items():
            lines.append(f"the table of {side} knows {known:,} of {all_of_them:,}")
        return lines

    def record(self) -> dict[str, object]:
        """Return the counts as JSON values, for the manifest."""
        return {
            "rows": self.rows,
            "missing_ids": dict(self.missing),
            "below_min_weight": self.low,
            "repeats": self.repeats,
            "seen_only": self.seen_only,
            "moments": self.unit,
            "known": {side: list(counts) for side, counts in self.known.items()},
        }

    def _when(self) -> str | None:
        if self.unit is None:
            return None
        if self.unit == "order":
            return "times are numbers too small for Unix time: they give an order, no moments"
        zone = "; those without a time zone are taken as UTC" if self.zoneless else ""
        if self.first_at is None or self.last_at is None:
            return f"moments are {unit_name(self.unit)}{zone}"
        return (
            f"moments are {unit_name(self.unit)}, from {_day(self.first_at)} to "
            f"{_day(self.last_at)}{zone}"
        )


def _day(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g}"
