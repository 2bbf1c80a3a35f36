"""One way to read a table, wherever it is: files, URLs, queries, collections.

Every table comes in batches and is checked by the same rules; see tables.py.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from gnnrec_training.addresses import redact, shown
from gnnrec_training.config_data import Reading
from gnnrec_training.config_sources import MongoSource, Source, SqlSource
from gnnrec_training.data.files import file_tables, join
from gnnrec_training.data.tables import Table, concat
from gnnrec_training.data.watch import Watch
from gnnrec_training.errors import InvalidData

AS_IT_SAYS = Reading()
"""Of a source about which nothing is told but where it is."""


def read_tables(
    source: Source | Path,
    folder: str | Path = "",
    columns: Sequence[str] | None = None,
    reading: Reading = AS_IT_SAYS,
    watch: Watch | None = None,
    exact: Sequence[str] = (),
) -> Iterator[Table]:
    """Yield a source's rows in batches, in order, with the columns named that it has.

    Relative files start from `folder`; `watch` hears how far it is; numbers in `exact` columns keep
    every digit. Raises InvalidData for a source that cannot be read, also midway, and for one
    without rows.
    """
    rows = 0
    watch = watch or Watch()
    for table in _open(source, folder, columns, reading, watch, exact):
        rows += table.rows.height
        watch.read(table.rows.height)
        yield table
    if rows == 0:
        raise InvalidData(f"{describe(source, folder)} has no rows")


def open_table(
    source: Source | Path,
    folder: str | Path = "",
    columns: Sequence[str] | None = None,
    reading: Reading = AS_IT_SAYS,
    watch: Watch | None = None,
    exact: Sequence[str] = (),
) -> Table:
    """Return a source with columns and at least one row, whole."""
    table = concat(read_tables(source, folder, columns, reading, watch, exact))
    assert table is not None  # read_tables refuses a source without rows
    if table.is_pairs:
        raise InvalidData(
            f"{describe(source, folder)} is in the LightGCN format, which has no columns"
        )
    return table


def describe(source: Source | Path, folder: str | Path = "") -> str:
    """Return what errors call a source: without passwords."""
    if isinstance(source, SqlSource):
        query = " ".join(source.query.split())
        short = query if len(query) <= 60 else f"{query[:57]}..."
        return f"query {short!r} at {redact(source.sql)}"
    if isinstance(source, MongoSource):
        return f"collection {source.collection!r} at {redact(source.mongo)}"
    return shown(join(folder, source))


def _open(
    source: Source | Path,
    folder: str | Path,
    columns: Sequence[str] | None,
    reading: Reading,
    watch: Watch,
    exact: Sequence[str],
) -> Iterator[Table]:
    """Call the reader of a source; those of databases are extras."""
    name = describe(source, folder)
    if isinstance(source, SqlSource):
        try:
            from gnnrec_training.data.sql import sql_tables
        except ModuleNotFoundError:
            raise InvalidData(f"{name} needs SQLAlchemy: pip install 'gnnrec[sql]'") from None
        return sql_tables(source, name, folder, columns)
    if isinstance(source, MongoSource):
        try:
            from gnnrec_training.data.mongo import mongo_tables
        except ModuleNotFoundError:
            raise InvalidData(f"{name} needs PyMongo: pip install 'gnnrec[mongo]'") from None
        return mongo_tables(source, name, columns, watch)
    return file_tables(join(folder, source), columns, exact, reading, watch)
