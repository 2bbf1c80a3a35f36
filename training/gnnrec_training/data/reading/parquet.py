"""Parquet files, a batch of rows at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from gnnrec_training.data.reading.progress import ReadProgress, estimate_rows
from gnnrec_training.data.tables.origins import Origin
from gnnrec_training.data.tables.table import BATCH_ROWS, Table
from gnnrec_training.errors import InvalidData

_MAGIC = b"PAR1"


def is_parquet(head: bytes) -> bool:
    """Tell by its first bytes whether a file is Parquet."""
    return head.startswith(_MAGIC)


def parquet_tables(
    path: Path, name: str, columns: Sequence[str] | None, head: bytes, progress: ReadProgress
) -> Iterator[Table]:
    """Yield the rows of a file, which errors call `name`, with those of `columns` that it has.

    All columns if `columns` is None. `head`: the first bytes of the file. Raises InvalidData for a
    file that is not Parquet, is damaged, or is encrypted.
    """
    first = 1
    try:
        progress.begin_part(estimate_rows(path, "parquet"))
        # glob: brackets in a path are part of its name, and not a pattern
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        all_columns = tuple(rows.collect_schema().names())
        wanted = [column for column in all_columns if columns is None or column in columns]
        if wanted:
            rows = rows.select(wanted)
        for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            yield Table(name, batch, all_columns, (Origin(name, first),))
            first += batch.height
    except pl.exceptions.PolarsError:
        if not is_parquet(head):
            raise InvalidData(f"{name} is no Parquet file") from None
        raise InvalidData(
            f"{name} is not readable as parquet: it is cut off, damaged, or encrypted"
        ) from None
