"""One way to read a table, wherever it is: files, URLs, queries, collections.

Every table comes in batches and is checked by the same rules; see tables.py.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from training.addresses import redact
from training.config_data import Format
from training.config_sources import MongoSource, Source, SqlSource
from training.data.files import LIGHTGCN_COLUMNS, file_tables, join, means_lightgcn
from training.data.tables import Table, concat
from training.data.watch import Watch
from training.errors import InvalidData


def read_tables(
    source: Source | Path,
    folder: str | Path = "",
    columns: Sequence[str] | None = None,
    format: Format | None = None,
    watch: Watch | None = None,
) -> Iterator[Table]:
    """Yield a source's rows in batches, in order, with the columns named that it has.

    Relative files start from `folder`; `watch` hears how far it is. Raises InvalidData for a source
    that cannot be read, also midway, and for one without rows.
    """
    rows = 0
    watch = watch or Watch()
    for table in _open(source, folder, columns, format, watch):
        rows += table.rows.height
        watch.read(table.rows.height)
        yield table
    if rows == 0:
        raise InvalidData(f"{describe(source, folder)} has no rows")


def open_table(
    source: Source | Path,
    folder: str | Path = "",
    columns: Sequence[str] | None = None,
    format: Format | None = None,
    watch: Watch | None = None,
) -> Table:
    """Return a source with columns and at least one row, whole."""
    if is_lightgcn(source, format):
        raise InvalidData(
            f"{describe(source, folder)} is in the LightGCN format, which has no columns"
        )
    table = concat(read_tables(source, folder, columns, format, watch))
    assert table is not None  # read_tables refuses a source without rows
    return table


def read_table(
    path: Path, texts: list[str], numbers: list[str], format: Format | None = None
) -> pl.DataFrame:
    """Return the named columns of a file, `texts` as strings and `numbers` as float64.

    No value is missing, no text empty, no number NaN or infinite.
    """
    table = open_table(path, "", [*texts, *numbers], format)
    return pl.DataFrame(
        [*(table.texts(name) for name in texts), *(table.numbers(name) for name in numbers)]
    )


def read_lightgcn(path: Path) -> pl.DataFrame:
    """Return columns `user` and `item` from lines of `user item item ...`, one row a pair."""
    table = concat(read_tables(path, "", LIGHTGCN_COLUMNS, "lightgcn"))
    assert table is not None  # read_tables refuses a source without rows
    return table.rows


def is_lightgcn(source: Source | Path, format: Format | None) -> bool:
    """Tell whether a source has pairs of user and item and no named columns."""
    if not isinstance(source, str | Path):
        return False
    return means_lightgcn(str(source)) if format is None else format == "lightgcn"


def describe(source: Source | Path, folder: str | Path = "") -> str:
    """Return what errors call a source: without passwords."""
    if isinstance(source, SqlSource):
        query = " ".join(source.query.split())
        short = query if len(query) <= 60 else f"{query[:57]}..."
        return f"query {short!r} at {redact(source.sql)}"
    if isinstance(source, MongoSource):
        return f"collection {source.collection!r} at {redact(source.mongo)}"
    return redact(join(folder, source))


def _open(
    source: Source | Path,
    folder: str | Path,
    columns: Sequence[str] | None,
    format: Format | None,
    watch: Watch,
) -> Iterator[Table]:
    """Call the reader of a source; those of databases are extras."""
    name = describe(source, folder)
    if isinstance(source, SqlSource):
        try:
            from training.data.sql import sql_tables
        except ModuleNotFoundError:
            raise InvalidData(f"{name} needs SQLAlchemy: pip install 'gnnrec[sql]'") from None
        return sql_tables(source, name, folder, columns)
    if isinstance(source, MongoSource):
        try:
            from training.data.mongo import mongo_tables
        except ModuleNotFoundError:
            raise InvalidData(f"{name} needs PyMongo: pip install 'gnnrec[mongo]'") from None
        return mongo_tables(source, name, columns, watch)
    return file_tables(join(folder, source), columns, format, watch)
