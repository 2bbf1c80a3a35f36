"""Files to tables, a batch at a time: local or remote, one or many, gzipped or not.

CSV, TSV, JSON lines, Parquet and LightGCN's text format. What is gzipped or remote is first copied,
unpacked, to a temporary folder; so memory holds a batch, whatever the file's size.
"""

import glob
import gzip
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import fsspec
import polars as pl

from training.addresses import Address, address, is_url
from training.config_data import Format
from training.data.tables import Origin, Table
from training.data.watch import Watch, rows_about
from training.errors import InvalidData

BATCH = 500_000
"""Rows of a batch."""

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "lightgcn",
}
_BLOCK = 1 << 20

LIGHTGCN_COLUMNS = ("user", "item")
"""What its pairs are called."""


def join(folder: str | Path, name: str | Path) -> str:
    """Return a file's path or URL: one that is relative starts from the folder."""
    if is_url(str(name)):
        return str(name)
    if is_url(str(folder)):
        return f"{str(folder).rstrip('/')}/{name}"
    return str(Path(folder) / name)


def file_tables(
    where: str, columns: Sequence[str] | None, format: Format | None, watch: Watch
) -> Iterator[Table]:
    """Yield the rows of a file, or of all files of a pattern in the order of their names.

    `where` is as `join` returns it. Only the columns named are read, those that are there; all if
    none are. LightGCN's format has `user` and `item`. `watch` hears what is fetched, and how many
    rows there are.
    """
    local = _local(where)
    yield from (
        _local_tables(local, columns, format, watch)
        if local
        else _remote_tables(address(where), columns, format, watch)
    )


def means_lightgcn(name: str) -> bool:
    """Tell whether the name of a file or pattern is that of LightGCN's text format."""
    return _SUFFIXES.get(_suffix(name)) == "lightgcn"


def _suffix(name: str) -> str:
    path = urlsplit(name).path if is_url(name) else name
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), "")


def _format_of(name: str) -> Format:
    format = _SUFFIXES.get(_suffix(name))
    if format is None:
        raise InvalidData(
            f"{name} is of an unknown format; name it .csv, .tsv, .jsonl, .parquet or .txt, "
            "or set data.format"
        )
    return format


def _local(where: str) -> str | None:
    """Return the path of a local file or pattern, None for another's URL."""
    if where.startswith("file://"):
        return unquote(urlsplit(address(where).url).path)
    return None if is_url(where) else where


def _local_tables(
    pattern: str, columns: Sequence[str] | None, format: Format | None, watch: Watch
) -> Iterator[Table]:
    paths = [pattern]
    if not Path(pattern).exists() and glob.has_magic(pattern):
        paths = sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file())
        if not paths:
            raise InvalidData(f"no file {pattern}")
        watch.parts([Path(path).stat().st_size for path in paths])
    for path in paths:
        form = format or _format_of(path)
        try:
            with open(path, "rb") as file:
                # by the magic number, not the name: a browser may have unpacked it, name kept
                packed = file.read(2) == b"\x1f\x8b"
                if not packed:
                    yield from _scan(Path(path), path, columns, form, watch)
                    continue
                with _spooled() as copy:
                    file.seek(0)
                    _copy(file, copy, packed, Path(path).stat().st_size, watch)
                    yield from _scan(copy, path, columns, form, watch)
        except FileNotFoundError:
            raise InvalidData(f"no file {path}") from None
        except IsADirectoryError:
            raise InvalidData(
                f"{path} is a folder; name its files, such as {path.rstrip('/')}/*.parquet"
            ) from None
        except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
            raise InvalidData(f"{path} cannot be read: {error}") from None


def _remote_tables(
    place: Address, columns: Sequence[str] | None, format: Format | None, watch: Watch
) -> Iterator[Table]:
    files = _remote_files(place)
    watch.parts([1] * len(files))
    for name, file_system, path in files:
        form = format or _format_of(name)
        with _spooled() as copy:
            try:
                with file_system.open(path, "rb") as file:
                    packed = file.read(2) == b"\x1f\x8b"
                with file_system.open(path, "rb") as file:
                    _copy(file, copy, packed, getattr(file, "size", None), watch)
            except FileNotFoundError:
                raise InvalidData(f"no file {name}") from None
            except Exception as error:
                # every file system has errors of its own, without a common base
                raise InvalidData(f"{name} cannot be read: {place.clean(error)}") from None
            yield from _scan(copy, name, columns, form, watch)


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


@contextmanager
def _spooled() -> Iterator[Path]:
    """Give the path of a file to be, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="gnnrec-") as folder:
        yield Path(folder) / "data"


def _copy(source: IO[bytes], copy: Path, packed: bool, size: int | None, watch: Watch) -> None:
    """Copy a file, unpacked; `watch` hears how much of its `size` is read."""
    with (
        gzip.open(source) if packed else nullcontext(source) as content,
        open(copy, "wb") as target,
    ):
        while block := content.read(_BLOCK):
            target.write(block)
            watch.fetch(source.tell(), size)


def _scan(
    path: Path, name: str, columns: Sequence[str] | None, format: Format, watch: Watch
) -> Iterator[Table]:
    """Yield the batches of a local, unpacked file; errors call it `name`."""
    with open(path, "rb") as file:
        if not file.read(_BLOCK).strip():
            raise InvalidData(f"{name} is empty")
    if format == "lightgcn":
        watch.part(rows_about(path, format))
        yield from _scan_lightgcn(path, name)
        return
    first = 2 if format in ("csv", "tsv") else 1
    try:
        watch.part(rows_about(path, format))
        rows = _lazy(path, format)
        there = tuple(rows.collect_schema().names())
        wanted = there if columns is None else [name for name in there if name in columns]
        if wanted:
            rows = rows.select(wanted)
        for batch in rows.collect_batches(chunk_size=BATCH, maintain_order=True):
            yield Table(name, batch, there, (Origin(name, first),))
            first += batch.height
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise InvalidData(f"{name} is not readable as {format}: {reason}") from None


def _lazy(path: Path, format: Format) -> pl.LazyFrame:
    # polars takes a path for a pattern where it can
    if format == "parquet":
        return pl.scan_parquet(path, glob=False, hive_partitioning=False)
    if format == "jsonl":
        return pl.scan_ndjson(path, infer_schema_length=None)
    return pl.scan_csv(
        path,
        separator="\t" if format == "tsv" else ",",
        quote_char=None if format == "tsv" else '"',
        infer_schema=False,
        glob=False,
    )


def _scan_lightgcn(path: Path, name: str) -> Iterator[Table]:
    """Yield columns `user` and `item` from lines of `user item item ...`, one row a pair."""
    first = 1
    columns = dict.fromkeys(LIGHTGCN_COLUMNS, pl.String)
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        while lines := list(islice(file, BATCH // 10)):
            fields = [line.split() for line in lines]
            users = [line[0] for line in fields if line for _ in line[1:]]
            items = [item for line in fields for item in line[1:]]
            rows = pl.DataFrame({"user": users, "item": items}, columns)
            yield Table(name, rows, LIGHTGCN_COLUMNS, (Origin(name, first, "pair"),))
            first += rows.height
