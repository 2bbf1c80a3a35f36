"""Files to tables, a batch at a time: local or remote, one or many, gzipped or not.

Text tables, JSON, Parquet, RecBole's atomic files and LightGCN's text format. What is gzipped or
remote is first copied, unpacked, to a temporary folder; so memory holds a batch, whatever the
file's size.
"""

import glob
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec_training.addresses import Address, address, is_frame, is_url, shown
from gnnrec_training.config_data import Format, Reading
from gnnrec_training.data.delimited import delimited_tables
from gnnrec_training.data.jsonlines import json_tables
from gnnrec_training.data.spool import BLOCK, Copy, in_utf8, is_gzipped, refuse_other_kinds, unpack
from gnnrec_training.data.tables import BATCH, Origin, Table
from gnnrec_training.data.watch import Watch, rows_about
from gnnrec_training.errors import InvalidData

_SUFFIXES: dict[str, Format | None] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".inter": "recbole",
    ".user": "recbole",
    ".item": "recbole",
    # by their first lines
    ".txt": None,
    ".dat": None,
    ".data": None,
}
_PARQUET = b"PAR1"
_SEPARATES = re.compile(r'[,;|\t"]|::')

LIGHTGCN_COLUMNS = ("user", "item")
"""What its pairs are called."""


def join(folder: str | Path, name: str | Path) -> str:
    """Return a file's path or URL: one that is relative starts from the folder."""
    if is_url(str(name)) or is_frame(str(name)):
        return str(name)
    if is_url(str(folder)):
        return f"{str(folder).rstrip('/')}/{name}"
    return str(Path(folder) / name)


def file_tables(
    where: str,
    columns: Sequence[str] | None,
    exact: Sequence[str],
    reading: Reading,
    watch: Watch,
) -> Iterator[Table]:
    """Yield the rows of a file, or of all files of a pattern in the order of their names.

    `where` is as `join` returns it. Only the columns named are read, those that are there; all if
    none are. `exact`: the columns whose numbers must keep every digit. `watch` hears what is
    fetched, and how many rows there are. Files of a pattern that are empty are passed over.
    """
    local = _local(where)
    found = _local_files(local, watch) if local else _remote_copies(address(where), watch)
    empty = []
    for path, name, several, held in found:
        if path.stat().st_size == 0 or _is_blank(path):
            if not several:
                raise InvalidData(f"{name} is empty")
            empty.append(name)
            continue
        for table in _scan(path, name, columns, exact, reading, watch):
            yield table.holding(held)


def _is_blank(path: Path) -> bool:
    with open(path, "rb") as file:
        return not file.read(BLOCK).strip()


def _suffix(name: str) -> str:
    path = urlsplit(name).path if is_url(name) else name
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix not in (".gz", ".gzip")), "")


def _local(where: str) -> str | None:
    """Return the path of a local file or pattern, None for another's URL."""
    if where.startswith("file://"):
        return unquote(urlsplit(address(where).url).path)
    return None if is_url(where) else where


Found = tuple[Path, str, bool, Copy | None]
"""A local, unpacked file, its name, whether it is one of several, and its Copy if it is one."""


def _local_files(pattern: str, watch: Watch) -> Iterator[Found]:
    paths = [pattern]
    several = not Path(pattern).exists() and glob.has_magic(pattern)
    if several:
        paths = sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file())
        if not paths:
            raise InvalidData(f"no file {pattern}")
        watch.parts([Path(path).stat().st_size for path in paths])
    for path in paths:
        copy = None
        try:
            with open(path, "rb") as file:
                # by the magic number, not the name: a browser may have unpacked it, name kept
                packed = is_gzipped(file.read(2))
                file.seek(0)
                if packed:
                    copy = unpack(file, packed, Path(path).stat().st_size, watch)
        except FileNotFoundError:
            raise InvalidData(f"no file {path}") from None
        except IsADirectoryError:
            raise InvalidData(
                f"{path} is a folder; name its files, such as {path.rstrip('/')}/*.parquet"
            ) from None
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidData(f"{path} cannot be read: {_reason(error)}") from None
        yield copy.path if copy else Path(path), shown(path), several, copy


def _remote_copies(place: Address, watch: Watch) -> Iterator[Found]:
    files = _remote_files(place)
    watch.parts([1] * len(files))
    for name, file_system, path in files:
        try:
            with file_system.open(path, "rb") as file:
                packed = is_gzipped(file.read(2))
            with file_system.open(path, "rb") as file:
                copy = unpack(file, packed, getattr(file, "size", None), watch)
        except FileNotFoundError:
            raise InvalidData(f"no file {name}") from None
        except Exception as error:
            # every file system has errors of its own, without a common base
            raise InvalidData(f"{name} cannot be read: {place.clean(error)}") from None
        yield copy.path, name, len(files) > 1, copy


def _reason(error: Exception) -> str:
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        return "it is cut off or damaged"
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _remote_files(place: Address) -> list[tuple[str, Any, str]]:
    """Return the name to show, the file system and the path of each file that a URL means."""
    try:
        file_system, path = fsspec.core.url_to_fs(place.url)
        # a question mark begins the query of a web address
        magic = "[*[]" if place.shown.startswith("http") else "[*?[]"
        if not re.search(magic, path) or file_system.exists(path):
            return [(place.shown, file_system, path)]
        paths = sorted(file_system.glob(path))
    except Exception as error:
        raise InvalidData(f"{place.shown} cannot be read: {place.clean(error)}") from None
    if not paths:
        raise InvalidData(f"no file {place.shown}")
    return [(place.clean(file_system.unstrip_protocol(each)), file_system, each) for each in paths]


def _scan(
    path: Path,
    name: str,
    columns: Sequence[str] | None,
    exact: Sequence[str],
    reading: Reading,
    watch: Watch,
) -> Iterator[Table]:
    """Yield the batches of a local, unpacked file; errors call it `name`."""
    with open(path, "rb") as file:
        head = file.read(BLOCK)
    form = reading.format or _format_of(name, head)
    if form == "parquet":
        yield from _parquet_tables(path, name, columns, head, watch)
        return
    refuse_other_kinds(head, name)
    copy = in_utf8(path, name, reading.encoding)
    if copy is not None:
        path = copy.path
        with open(path, "rb") as file:
            head = file.read(BLOCK)
    if form is None:
        form = "lightgcn" if _means_pairs(head, name, reading) else "csv"
    watch.part(rows_about(path, form))
    if form == "lightgcn":
        tables = _pairs(path, name)
    elif form == "jsonl":
        tables = json_tables(path, name, columns, exact)
    else:
        tabbed = form in ("tsv", "recbole") and reading.separator is None
        how = reading.model_copy(update={"separator": "\t"}) if tabbed else reading
        tables = delimited_tables(path, name, columns, how)
    for table in tables:
        yield replace(table, decimal=reading.decimal).holding(copy)


def _format_of(name: str, head: bytes) -> Format | None:
    """Return a file's format by its name, None where its first lines have to tell."""
    if head.startswith(_PARQUET):
        return "parquet"
    suffix = _suffix(name)
    if suffix not in _SUFFIXES:
        refuse_other_kinds(head, name)
        raise InvalidData(
            f"{name} is of an unknown format; name it .csv, .tsv, .jsonl, .parquet or .txt, "
            "or set data.format"
        )
    return _SUFFIXES[suffix]


def _means_pairs(head: bytes, name: str, reading: Reading) -> bool:
    """Tell whether a text is LightGCN's `user item item ...`, and no table with a separator.

    Raises InvalidData for one that could be either.
    """
    if reading.separator is not None or reading.header is not None:
        return False
    lines = [line for line in head.decode("utf-8", errors="replace").splitlines() if line.strip()]
    if len(head) == BLOCK:
        lines.pop()
    if any(_SEPARATES.search(line) for line in lines[:1000]):
        return False
    fields = [line.split() for line in lines]
    first, rest = fields[0], fields[1:]
    named = not any(map(str.isdigit, first)) and len(rest) > 0
    if named and all(map(str.isdigit, (field for line in rest for field in line))):
        raise InvalidData(
            f"{name} begins with a line of names and is separated by spaces; "
            'set data.separator = " "'
        )
    widths, users = {len(line) for line in fields}, [line[0] for line in fields]
    if len(widths) == 1 and widths <= {3, 4, 5} and len(set(users)) < len(users):
        raise InvalidData(
            f"{name} has {widths.pop()} fields in every line and users that stand twice: for a "
            'table set data.separator = " " and name columns by number, such as user_column = 1; '
            'for LightGCN\'s format set data.format = "lightgcn"'
        )
    return True


def _parquet_tables(
    path: Path, name: str, columns: Sequence[str] | None, head: bytes, watch: Watch
) -> Iterator[Table]:
    first = 1
    try:
        watch.part(rows_about(path, "parquet"))
        # polars takes a path for a pattern where it can
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        there = tuple(rows.collect_schema().names())
        wanted = there if columns is None else [name for name in there if name in columns]
        if wanted:
            rows = rows.select(wanted)
        for batch in rows.collect_batches(chunk_size=BATCH, maintain_order=True):
            yield Table(name, batch, there, (Origin(name, first),))
            first += batch.height
    except pl.exceptions.PolarsError:
        if not head.startswith(_PARQUET):
            raise InvalidData(f"{name} is no Parquet file") from None
        raise InvalidData(
            f"{name} is not readable as parquet: it is cut off, damaged, or encrypted"
        ) from None


def _pairs(path: Path, name: str) -> Iterator[Table]:
    """Yield columns `user` and `item` from lines of `user item item ...`, one row a pair."""
    line = 1
    columns = dict.fromkeys(LIGHTGCN_COLUMNS, pl.String)
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        while lines := list(islice(file, BATCH // 10)):
            for number, text in enumerate(lines, start=line):
                if odd := _SEPARATES.search(text):
                    raise InvalidData(
                        f"{name} line {number} holds {odd[0]!r}, and LightGCN's format is a user "
                        "and their items with spaces between; for a table set data.separator"
                    )
            fields = [text.split() for text in lines]
            users = [fields_[0] for fields_ in fields if fields_ for _ in fields_[1:]]
            items = [item for fields_ in fields for item in fields_[1:]]
            rows = pl.DataFrame({"user": users, "item": items}, columns)
            lengths = np.array([max(0, len(fields_) - 1) for fields_ in fields])
            yield Table(
                name, rows, LIGHTGCN_COLUMNS,
                (Origin(name, 1, "line", locate=partial(_line, line, np.cumsum(lengths))),),
                is_pairs=True,
            )  # fmt: skip
            line += len(lines)


def _line(first: int, ends: NDArray[np.int64], pair: int) -> int:
    """Return the line of a batch's pair, counted from 1, where lines end after so many pairs."""
    return first + int(np.searchsorted(ends, pair))
