"""Queries of SQL databases to tables, a batch at a time. Nothing is ever written to a database."""

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
from gnnrec_training.config_sources import SqlSource
from gnnrec_training.data.rows import table
from gnnrec_training.data.tables import Origin, Table
from gnnrec_training.errors import InvalidData

_BATCH = 100_000
_CONNECT_S = 10


def sql_tables(
    source: SqlSource, name: str, folder: str | Path, columns: Sequence[str] | None = None
) -> Iterator[Table]:
    """Yield the rows of a query, which errors call `name`; the columns named, or all if none are.

    A file of SQLite is looked for from `folder`. Raises InvalidData, which names the query and the
    database without its password, when the query cannot be answered to the end.
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
            # SQLAlchemy leaves it open when the connection breaks
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
    there = list(result.keys())
    wanted = [
        (place, column)
        for place, column in enumerate(there)
        if columns is None or column in columns
    ]
    names = [column for _, column in wanted]
    for column in names:
        if names.count(column) > 1:
            raise InvalidData(f"{name} has two columns {column!r}; name them apart with AS")
    first = 1
    for rows in result.partitions(_BATCH):
        parts = list(zip(*rows, strict=True))
        values = {column: parts[place] for place, column in wanted}
        yield table(values, there, Origin(name, first))
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
    """Return an engine for a file that is there, opened to be read alone."""
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
    # no_parameters: a per cent sign in the query is one; stream_results: a cursor in the server
    options: dict[str, Any] = {"no_parameters": True, "stream_results": True}
    if connection.dialect.name == "postgresql":
        options["postgresql_readonly"] = True
    return connection.execution_options(max_row_buffer=_BATCH, **options)
