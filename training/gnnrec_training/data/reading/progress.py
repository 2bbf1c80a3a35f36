"""How far the reading of a source is: rows so far, and an estimate of how many there are."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from gnnrec_training.config import FileFormat
from gnnrec_training.reporter import Reporter, Silent

BLOCK_BYTES = 1 << 20
"""How much of a file is read at once: to copy it, or to find out how it is written."""

# A new estimate makes the reporter measure the rate from the start: smaller changes are not told.
_LEAST_CHANGE = 0.02


class ReadProgress:
    """Tells a reporter how many rows of a source are read, and of about how many.

    A source has parts, such as the files of a pattern. The total is estimated from the rows of the
    parts that were begun, and from their share of the size of all parts.
    """

    def __init__(self, reporter: Reporter | None = None, what: str = "") -> None:
        """Begin the step `reading WHAT`, where `what` is such as "interactions"."""
        self._reporter = reporter or Silent()
        self._what = what
        self._sizes: Sequence[float] = (1.0,)
        self._begun = 0
        self._rows = 0
        self._expected: float | None = None
        self._fetching = False
        self._begin()

    def set_part_sizes(self, sizes: Sequence[float]) -> None:
        """Set the sizes of all parts, in any unit; without them there is one part."""
        self._sizes = sizes

    def begin_part(self, rows: float | None) -> None:
        """Begin to read the next part, which has about this many rows; None if that is unknown."""
        self._begun += 1
        if self._fetching:
            self._begin()
        if rows is None:
            return
        begun = sum(self._sizes[: self._begun])
        share = begun / sum(self._sizes) if begun else self._begun / len(self._sizes)
        expected = (self._rows + rows) / share
        if not self._expected or abs(expected / self._expected - 1) > _LEAST_CHANGE:
            self._expected = expected

    def fetched(self, done_bytes: int, size_bytes: int | None) -> None:
        """Tell how many bytes of the next part were copied, of how many where that is known.

        With one part, copying is a step of its own, so that the reporter can tell its rate and the
        time that remains; with several, it is a note beside the count of rows.
        """
        if len(self._sizes) > 1:
            place = (
                f"fetching file {self._begun + 1} of {len(self._sizes)}, {done_bytes / 1e6:,.0f} MB"
            )
            self._reporter.count(self._rows, self._expected, place)
            return
        if not self._fetching:
            self._reporter.start(f"fetching {self._what} (MB)", 1)
            self._fetching = True
        self._reporter.count(done_bytes / 1e6, None if size_bytes is None else size_bytes / 1e6)

    def add_rows(self, rows: int) -> None:
        """Tell that this many more rows were read."""
        self._rows += rows
        if self._expected is not None and self._rows > self._expected:
            self._expected = None if self._begun < len(self._sizes) else self._rows
        self._reporter.count(self._rows, self._expected, f"{self._rows:,} rows")

    def _begin(self) -> None:
        self._reporter.start(f"reading {self._what}", 1)
        self._fetching = False


def estimate_rows(path: Path, file_format: FileFormat | None) -> float | None:
    """Return how many rows a file has: exactly for Parquet, by the first block for texts.

    None for a text without a line break in its first block. Raises a PolarsError for a file that is
    not Parquet and should be.
    """
    if file_format == "parquet":
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        return float(rows.select(pl.len()).collect().item())  # reads the footer alone
    with open(path, "rb") as file:
        head = file.read(BLOCK_BYTES)
    lines = head.count(b"\n")
    found = len(head.split()) - lines if file_format == "lightgcn" else lines
    return found * path.stat().st_size / len(head) if lines else None
