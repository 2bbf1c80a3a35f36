"""What was understood of the data: told when it is read, and recorded with the version."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gnnrec_training.data.moments import Unit, called


@dataclass
class Account:
    """Counts of what was read; every row is in one of them."""

    rows: int = 0
    """Rows of interactions, without blank lines."""
    missing: Counter[str] = field(default_factory=Counter)
    """Rows left out, by the column in which the id is missing."""
    missing_at: str = ""
    """Where the first of them stands."""
    low: int = 0
    """Rows below data.min_weight."""
    low_are_seen: bool = True
    """Whether those count as seen."""
    repeats: int = 0
    """Rows of pairs that stand several times, beyond the first of each."""
    merged: str = ""
    """How their weights became one."""
    interactions: int = 0
    """Pairs of user and item that are left."""
    seen_only: int = 0
    """Pairs that are no interactions, and yet are not recommended."""
    users: int = 0
    items: int = 0
    joined_ids: dict[str, int] = field(default_factory=dict)
    """How many texts were another writing of an id, such as 3.0 of 3 or "u1 " of "u1", by side."""
    unit: Unit | None = None
    zoneless: bool = False
    first_at: float | None = None
    last_at: float | None = None
    """Unix seconds, where the moments are any."""
    weights: tuple[float, float] | None = None
    """The least and the largest."""
    known: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of users and items with interactions: how many a table has, and how many there are."""
    warnings: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return what was understood, in sentences without a full stop."""
        said = [
            f"{self.rows:,} rows: {self.interactions:,} interactions of {self.users:,} users and "
            f"{self.items:,} items"
        ]
        if self.repeats:
            said.append(f"{self.repeats:,} rows repeat a pair; merged: {self.merged}")
        if self.low:
            as_what = (
                f"{self.seen_only:,} pairs are seen and not recommended"
                if self.low_are_seen
                else "left out"
            )
            said.append(f"{self.low:,} rows below min_weight: {as_what}")
        if self.weights is not None:
            least, most = self.weights
            said.append(f"weights from {least:g} to {most:g}")
        if (when := self._when()) is not None:
            said.append(when)
        for side, count in self.joined_ids.items():
            said.append(f"{count:,} {side} were written in more than one way and are one each")
        for side, (known, all_of_them) in self.known.items():
            said.append(f"the table of {side} knows {known:,} of {all_of_them:,}")
        return said

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
            return f"moments are {called(self.unit)}{zone}"
        return (
            f"moments are {called(self.unit)}, from {_day(self.first_at)} to "
            f"{_day(self.last_at)}{zone}"
        )


def _day(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g}"
