"""Tables of JSON: an object a line, or one array of objects.

polars reads lines fast; Python's json module goes on where it refuses, or says what is wrong.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from gnnrec_training.data.rows import table as table_of
from gnnrec_training.data.spool import BLOCK
from gnnrec_training.data.tables import BATCH, Origin, Table
from gnnrec_training.errors import InvalidData

Record = tuple[int, dict[str, Any]]
"""The line that an object stands on, and what it holds."""


def json_tables(
    path: Path, name: str, columns: Sequence[str] | None, exact: Sequence[str]
) -> Iterator[Table]:
    """Yield the objects of a file in UTF-8, which errors call `name`.

    The values of `exact` columns are texts, numbers as they are written: read as numbers they could
    be rounded.
    """
    with open(path, "rb") as file:
        head = file.read(BLOCK)
    if head.lstrip().startswith(b"["):
        yield from _of_array(path, name, columns)
        return
    done = 0
    try:
        keys = _keys(head)
        for batch in _fast(path, columns, exact, keys):
            origin = Origin(name, done + 1, "line", locate=partial(_line_of, path))
            yield Table(name, batch, tuple(keys), (origin,))
            done += batch.height
        return
    except (pl.exceptions.PolarsError, ValueError):
        pass  # the careful reader goes on where this one stopped, or says what is wrong
    found = islice(_records(path, name), done, None)
    while some := list(islice(found, BATCH)):
        yield _table(
            name, some, columns, Origin(name, done + 1, "line", locate=partial(_line_of, path))
        )
        done += len(some)


def _keys(head: bytes) -> list[str]:
    """Return the keys of the objects at the beginning of a file, in order."""
    lines = head.split(b"\n")
    if len(head) == BLOCK:
        lines.pop()  # it is cut
    keys: dict[str, None] = {}
    for line in lines:
        if line.strip():
            keys |= dict.fromkeys(json.loads(line))
    return list(keys)


def _fast(
    path: Path, columns: Sequence[str] | None, exact: Sequence[str], keys: list[str]
) -> Iterator[pl.DataFrame]:
    if columns is not None and set(columns) <= set(exact):
        # all are texts: the file need not be read twice to find out
        rows = pl.scan_ndjson(path, schema={key: pl.String for key in columns if key in keys})
    else:
        texts = {key: pl.String for key in exact if key in keys}
        rows = pl.scan_ndjson(path, infer_schema_length=None, schema_overrides=texts)
        there = rows.collect_schema().names()
        keys[:] = there
        rows = rows.select([key for key in there if columns is None or key in columns])
    for batch in rows.collect_batches(chunk_size=BATCH, maintain_order=True):
        for key in set(batch.columns) & set(exact):
            # text, or a list that became one: the careful reader can tell
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
    """Return the line that an object, counted from 1, stands on."""
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
    for number, each in enumerate(found, start=1):
        if not isinstance(each, dict):
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
    return table_of(values, keys, origin)
