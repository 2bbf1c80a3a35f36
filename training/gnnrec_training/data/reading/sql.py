"""Queries of SQL databases, a batch of rows at a time. Nothing is ever written to a database."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy
from sqlalchemy.engine import URL, Connection, CursorResult, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from gnnrec_training.addresses import Address, address
from gnnrec_training.config import SqlSource
from gnnrec_training.data.tables.origins import Origin
from gnnrec_training.data.tables.python_values import table_of_values
from gnnrec_training.data.tables.table import Table
from gnnrec_training.errors import InvalidData

_BATCH_ROWS = 100_000
_CONNECT_S = 10


def sql_tables(
    source: SqlSource, name: str, folder: str | Path, columns: Sequence[str] | None = None
) -> Iterator[Table]:
    """Yield the rows of a query, which errors call `name`.

    Tables have those of `columns` that the query returns, or all if that is None. A relative path
    of a SQLite file starts from `folder`. Raises InvalidData, which names the query and the
    database without its password, where the rows cannot be read to the end.
    """
    place = address(source.sql)
    engine = None
    done = 0
    try:
        engine = _engine(place, folder)
        with closing(engine.connect()) as connection:
            result = _readonly(connection).exec_driver_sql(source.query)
            if result.cursor is None or not result.returns_rows:
                raise InvalidData(f"{name} returns no rows; write a SELECT")
            # SQLAlchemy leaves the cursor open when the connection breaks
            with closing(result.cursor):
                for batch in _batches(result, name, columns):
                    yield batch
                    done += batch.rows.height
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        after = f" after {done} rows" if done else ""
        raise InvalidData(f"{name} failed{after}: {place.clean(cause)}") from None
    except ImportError as error:
        raise InvalidData(
            f"{place.shown} needs a driver: {place.clean(error)}; "
            "pip install 'gnnrec[sql]' brings that of PostgreSQL"
        ) from None
    finally:
        if engine is not None:
            engine.dispose()


def _batches(
    result: CursorResult[Any], name: str, columns: Sequence[str] | None
) -> Iterator[Table]:
    all_columns = list(result.keys())
    wanted = [
        (place, column)
        for place, column in enumerate(all_columns)
        if columns is None or column in columns
    ]
    names = [column for _, column in wanted]
    for column in names:
        if names.count(column) > 1:
            raise InvalidData(f"{name} has two columns {column!r}; name them apart with AS")
    first = 1
    for rows in result.partitions(_BATCH_ROWS):
        parts = list(zip(*rows, strict=True))
        values = {column: parts[place] for place, column in wanted}
        yield table_of_values(values, all_columns, Origin(name, first))
        first += len(rows)


def _engine(place: Address, folder: str | Path) -> sqlalchemy.Engine:
    url = make_url(place.url)
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, place, folder)
    options: dict[str, Any] = {}
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername == "postgresql+psycopg" and "connect_timeout" not in url.query:
        options["connect_timeout"] = _CONNECT_S
    return sqlalchemy.create_engine(url, connect_args=options, poolclass=sqlalchemy.NullPool)


def _sqlite(url: URL, place: Address, folder: str | Path) -> sqlalchemy.Engine:
    """Return an engine that opens an existing file read-only; raises InvalidData for none there."""
    path = Path(folder) / (url.database or "")
    if not path.is_file():
        raise InvalidData(f"{place.shown}: no file {path}")
    where = f"file:{quote(str(path.resolve()))}?mode=ro"
    return sqlalchemy.create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(where, uri=True),
        poolclass=sqlalchemy.NullPool,
    )


def _readonly(connection: Connection) -> Connection:
    # no_parameters: a per cent sign in the query begins no parameter; stream_results: the server
    # keeps the result, and sends a batch at a time
    options: dict[str, Any] = {"no_parameters": True, "stream_results": True}
    if connection.dialect.name == "postgresql":
        options["postgresql_readonly"] = True
    return connection.execution_options(max_row_buffer=_BATCH_ROWS, **options)
