"""Tables of JSON: an object in each line, or one array of objects.

polars reads lines fast. From the row where it stops, Python's json module goes on, or says what is
wrong. An array is read by Python's json module, and is in memory as a whole.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from gnnrec_training.data.reading.progress import BLOCK_BYTES
from gnnrec_training.data.tables.origins import Origin
from gnnrec_training.data.tables.python_values import table_of_values
from gnnrec_training.data.tables.table import BATCH_ROWS, Table
from gnnrec_training.errors import InvalidData

Record = tuple[int, dict[str, Any]]
"""The line of an object, or its number in an array, counted from 1, and the object."""


def json_tables(
    path: Path, name: str, columns: Sequence[str] | None, exact: Sequence[str]
) -> Iterator[Table]:
    """Yield the objects of a file in UTF-8, which errors call `name`, as rows.

    Tables have those of `columns` that the file has, or all if that is None. Where polars reads the
    file, numbers of `exact` columns are texts as they are written, so that they are not rounded.
    """
    with open(path, "rb") as file:
        head = file.read(BLOCK_BYTES)
    if head.lstrip().startswith(b"["):
        yield from _of_array(path, name, columns)
        return
    done = 0
    try:
        keys = _keys(head)
        for batch in _polars_batches(path, columns, exact, keys):
            origin = Origin(name, done + 1, "line", locate=partial(_line_of, path))
            yield Table(name, batch, tuple(keys), (origin,))
            done += batch.height
        return
    except (pl.exceptions.PolarsError, ValueError):
        pass  # Python's reader goes on from the row where polars stopped, or names the fault
    found = islice(_records(path, name), done, None)
    while batch_records := list(islice(found, BATCH_ROWS)):
        origin = Origin(name, done + 1, "line", locate=partial(_line_of, path))
        yield _table(name, batch_records, columns, origin)
        done += len(batch_records)


def _keys(head: bytes) -> list[str]:
    """Return the keys of the objects in the first block of a file, by first appearance."""
    lines = head.split(b"\n")
    if len(head) == BLOCK_BYTES:
        lines.pop()  # the block may end within it
    keys: dict[str, None] = {}
    for line in lines:
        if line.strip():
            keys |= dict.fromkeys(json.loads(line))
    return list(keys)


def _polars_batches(
    path: Path, columns: Sequence[str] | None, exact: Sequence[str], keys: list[str]
) -> Iterator[pl.DataFrame]:
    """Yield batches, and replace `keys` by those of the whole file where they are found out.

    Raises ValueError for a value of an `exact` column that is a list or an object.
    """
    if columns is not None and set(columns) <= set(exact):
        # all columns are texts, so there is no need to read the file once more for their types
        rows = pl.scan_ndjson(path, schema={key: pl.String for key in columns if key in keys})
    else:
        texts = {key: pl.String for key in exact if key in keys}
        rows = pl.scan_ndjson(path, infer_schema_length=None, schema_overrides=texts)
        keys[:] = rows.collect_schema().names()
        rows = rows.select([key for key in keys if columns is None or key in columns])
    for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
        for key in set(batch.columns) & set(exact):
            # a text, or a list that polars made one: Python's reader tells them apart
            if batch[key].str.contains(r"^[\[{]").any():
                raise ValueError(key)
        yield batch


def _records(path: Path, name: str) -> Iterator[Record]:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except json.JSONDecodeError as error:
                raise InvalidData(
                    f"{name} line {number} is no JSON: something is wrong at character "
                    f"{error.pos + 1}"
                ) from None
            except RecursionError:
                raise InvalidData(f"{name} line {number} is nested too deeply") from None
            if not isinstance(found, dict):
                raise InvalidData(f"{name} line {number} is no JSON object, {{...}}")
            yield number, found


def _line_of(path: Path, row: int) -> int:
    """Return the line of an object; both are counted from 1."""
    with open(path, "rb") as file:
        filled = (number for number, line in enumerate(file, start=1) if line.strip())
        return next(islice(filled, row - 1, None), row)


def _of_array(path: Path, name: str, columns: Sequence[str] | None) -> Iterator[Table]:
    try:
        found = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except json.JSONDecodeError as error:
        raise InvalidData(
            f"{name} line {error.lineno} is no JSON: something is wrong at character {error.colno}"
        ) from None
    except RecursionError:
        raise InvalidData(f"{name} is nested too deeply") from None
    for number, entry in enumerate(found, start=1):
        if not isinstance(entry, dict):
            raise InvalidData(f"{name} object {number} is no JSON object, {{...}}")
    if found:
        objects = list(enumerate(found, start=1))
        yield _table(name, objects, columns, Origin(name, 1, "object"))


def _table(
    name: str, records: list[Record], columns: Sequence[str] | None, origin: Origin
) -> Table:
    keys = list(dict.fromkeys(key for _, found in records for key in found))
    values = {
        key: [found.get(key) for _, found in records]
        for key in keys
        if columns is None or key in columns
    }
    return table_of_values(values, keys, origin)
