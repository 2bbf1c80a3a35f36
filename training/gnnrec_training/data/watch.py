"""How far the reading of a source is: rows so far, and of how many where that can be known."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from gnnrec_training.config_data import Format
from gnnrec_training.reporter import Reporter, Silent

_BLOCK = 1 << 20
# A total that is told anew has the rate measured anew.
_NEWS = 0.02


class Watch:
    """Tells a reporter how many rows of a source are read, and of how many.

    A source has parts, such as the files of a pattern. How many rows all of them have follows from
    those begun so far and the sizes of all.
    """

    def __init__(self, reporter: Reporter | None = None, what: str = "") -> None:
        """Begin the step `reading what`."""
        self._reporter = reporter or Silent()
        self._what = what
        self._sizes: Sequence[float] = (1.0,)
        self._begun = 0
        self._rows = 0
        self._expected: float | None = None
        self._fetching = False
        self._begin()

    def parts(self, sizes: Sequence[float]) -> None:
        """Say how large the parts are, in any unit."""
        self._sizes = sizes

    def part(self, rows: float | None) -> None:
        """Say that the next part is read from now on, and how many rows it has, about."""
        self._begun += 1
        if self._fetching:
            self._begin()
        if rows is None:
            return
        begun = sum(self._sizes[: self._begun])
        share = begun / sum(self._sizes) if begun else self._begun / len(self._sizes)
        expected = (self._rows + rows) / share
        if not self._expected or abs(expected / self._expected - 1) > _NEWS:
            self._expected = expected

    def fetch(self, done: int, size: int | None) -> None:
        """Say how many bytes of the next part are here; `size`: all it has, where that is known.

        The only part is a step of its own, with a rate and the time that remains.
        """
        if len(self._sizes) > 1:
            place = f"fetching file {self._begun + 1} of {len(self._sizes)}, {done / 1e6:,.0f} MB"
            self._reporter.count(self._rows, self._expected, place)
            return
        if not self._fetching:
            self._reporter.start(f"fetching {self._what} (MB)", 1)
            self._fetching = True
        self._reporter.count(done / 1e6, None if size is None else size / 1e6)

    def read(self, rows: int) -> None:
        """Say that so many more rows are read."""
        self._rows += rows
        if self._expected is not None and self._rows > self._expected:
            self._expected = None if self._begun < len(self._sizes) else self._rows
        self._reporter.count(self._rows, self._expected, f"{self._rows:,} rows")

    def _begin(self) -> None:
        self._reporter.start(f"reading {self._what}", 1)
        self._fetching = False


def rows_about(path: Path, format: Format | None) -> float | None:
    """Return how many rows a file has: of Parquet exactly, of texts by their first MiB.

    None where that says nothing. Raises a PolarsError for Parquet that is none.
    """
    if format == "parquet":
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        return float(rows.select(pl.len()).collect().item())  # of the file's footer alone
    with open(path, "rb") as file:
        head = file.read(_BLOCK)
    lines = head.count(b"\n")
    found = len(head.split()) - lines if format == "lightgcn" else lines
    return found * path.stat().st_size / len(head) if lines else None
