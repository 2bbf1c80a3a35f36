"""The way to read a table from any source: files, URLs, database queries, MongoDB collections."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from gnnrec_training.addresses import redact, shown
from gnnrec_training.config import MongoSource, ReadOptions, Source, SqlSource
from gnnrec_training.data.reading.files import file_tables
from gnnrec_training.data.reading.locations import path_or_url
from gnnrec_training.data.reading.progress import ReadProgress
from gnnrec_training.data.tables.table import Table, concat
from gnnrec_training.errors import InvalidData

DETECT_ALL = ReadOptions()
"""The options that leave it to the files' content how they are written."""


def read_tables(
    source: Source | Path,
    folder: str | Path = "",
    columns: Sequence[str] | None = None,
    options: ReadOptions = DETECT_ALL,
    progress: ReadProgress | None = None,
    exact: Sequence[str] = (),
) -> Iterator[Table]:
    """Yield the rows of a source in batches, in their order.

    Tables have those of `columns` that the source has, or all if that is None. Relative paths start
    from `folder`. `progress` is told how many rows were read. Numbers in `exact` columns, such as
    ids, keep every digit. Raises InvalidData for a source that cannot be read, also after some
    batches, and for one without rows.
    """
    rows = 0
    progress = progress or ReadProgress()
    for table in _open(source, folder, columns, options, progress, exact):
        rows += table.rows.height
        progress.add_rows(table.rows.height)
        yield table
    if rows == 0:
        raise InvalidData(f"{source_name(source, folder)} has no rows")


def open_table(
    source: Source | Path,
    folder: str | Path = "",
    columns: Sequence[str] | None = None,
    options: ReadOptions = DETECT_ALL,
    progress: ReadProgress | None = None,
    exact: Sequence[str] = (),
) -> Table:
    """Return all rows of a source as one table; arguments and errors as for read_tables.

    Raises InvalidData for a file in LightGCN's format as well, which has no columns.
    """
    table = concat(read_tables(source, folder, columns, options, progress, exact))
    assert table is not None  # read_tables refuses a source without rows
    if table.is_pairs:
        raise InvalidData(
            f"{source_name(source, folder)} is in the LightGCN format, which has no columns"
        )
    return table


def source_name(source: Source | Path, folder: str | Path = "") -> str:
    """Return what errors and logs call a source, without passwords."""
    if isinstance(source, SqlSource):
        query = " ".join(source.query.split())
        short = query if len(query) <= 60 else f"{query[:57]}..."
        return f"query {short!r} at {redact(source.sql)}"
    if isinstance(source, MongoSource):
        return f"collection {source.collection!r} at {redact(source.mongo)}"
    return shown(path_or_url(folder, source))


def _open(
    source: Source | Path,
    folder: str | Path,
    columns: Sequence[str] | None,
    options: ReadOptions,
    progress: ReadProgress,
    exact: Sequence[str],
) -> Iterator[Table]:
    """Call the reader of a source; those of databases are imported here, for they are extras."""
    name = source_name(source, folder)
    if isinstance(source, SqlSource):
        try:
            from gnnrec_training.data.reading.sql import sql_tables
        except ModuleNotFoundError:
            raise InvalidData(f"{name} needs SQLAlchemy: pip install 'gnnrec[sql]'") from None
        return sql_tables(source, name, folder, columns)
    if isinstance(source, MongoSource):
        try:
            from gnnrec_training.data.reading.mongo import mongo_tables
        except ModuleNotFoundError:
            raise InvalidData(f"{name} needs PyMongo: pip install 'gnnrec[mongo]'") from None
        return mongo_tables(source, name, columns, progress)
    return file_tables(path_or_url(folder, source), columns, exact, options, progress)
