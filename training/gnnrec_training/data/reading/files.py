"""Files of every format to tables, a batch at a time, whatever they are packed in.

Reading a file takes these steps:

1. `locations` finds the files that a path, a pattern or a URL names, in the order of their names.
   A gzipped or remote file is copied, unpacked, to a temporary folder; others are read in place.
2. The format is what the configuration says, or what the first bytes or the suffix of the name say.
   For texts without a telling suffix the first lines decide between LightGCN's format and a table.
3. A text that is not UTF-8 is copied to one that is, so that the readers know UTF-8 alone.
4. The reader of the format yields Tables of about BATCH_ROWS rows: delimited.py (CSV, TSV and
   RecBole's atomic files), jsonlines.py, parquet.py or lightgcn_pairs.py. The first two read with
   polars, which is fast and strict; from the row where it gives up, a reader in Python goes on.

What is promised:

- Lines: an error names the line as an editor counts it, from 1, header and blank lines included;
  in Parquet the row, and in an array of JSON the object. Only an error looks the line up, by
  reading the file again up to it.
- Memory: one batch, whatever the size of the file. Arrays in JSON, which must be parsed whole, are
  the exception. A temporary copy is deleted when the last table that was read from it is gone.
- Change: a file is expected not to change while it is read. Nothing locks or compares it: rows that
  are appended may be read or not, and a line number may be wrong after an edit. Copies, so gzipped
  and remote files, and texts that were not UTF-8, are not affected once the copy is made.
- A file that cannot be read to its end raises InvalidData, also after some batches were yielded;
  a batch is no sign that the next one is good.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from gnnrec_training.addresses import is_url
from gnnrec_training.config import FileFormat, ReadOptions
from gnnrec_training.data.reading.copies import in_utf8, refuse_other_kinds
from gnnrec_training.data.reading.delimited import delimited_tables
from gnnrec_training.data.reading.jsonlines import json_tables
from gnnrec_training.data.reading.lightgcn_pairs import is_pairs, pair_tables
from gnnrec_training.data.reading.locations import local_files
from gnnrec_training.data.reading.parquet import is_parquet, parquet_tables
from gnnrec_training.data.reading.progress import BLOCK_BYTES, ReadProgress, estimate_rows
from gnnrec_training.data.tables.table import Table
from gnnrec_training.errors import InvalidData

FORMAT_OF_SUFFIX: dict[str, FileFormat | None] = {
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
    ".txt": None,
    ".dat": None,
    ".data": None,
}
"""The format that a file's suffix tells; None where its first lines have to tell."""


def file_tables(
    location: str,
    columns: Sequence[str] | None,
    exact: Sequence[str],
    options: ReadOptions,
    progress: ReadProgress,
) -> Iterator[Table]:
    """Yield the rows of a file, or of all files of a pattern in the order of their names.

    `location`: as path_or_url returns it. Tables have those of `columns` that the file has, or all
    columns if that is None. `exact`: the columns whose numbers must keep every digit. `progress` is
    told what is downloaded and how many rows there are. Empty files of a pattern are skipped.
    """
    for file in local_files(location, progress):
        if _is_blank(file.path):
            if not file.is_one_of_several:
                raise InvalidData(f"{file.name} is empty")
            continue
        for table in _tables_of(file.path, file.name, columns, exact, options, progress):
            yield table.holding(file.copy)


def _is_blank(path: Path) -> bool:
    """Tell whether a file has no bytes, or begins with a block of white space alone."""
    with open(path, "rb") as file:
        return not file.read(BLOCK_BYTES).strip()


def _tables_of(
    path: Path,
    name: str,
    columns: Sequence[str] | None,
    exact: Sequence[str],
    options: ReadOptions,
    progress: ReadProgress,
) -> Iterator[Table]:
    """Yield the batches of a local, unpacked file, which errors call `name`."""
    head = _head(path)
    file_format = options.format or _format_of(name, head)
    if file_format == "parquet":
        yield from parquet_tables(path, name, columns, head, progress)
        return
    refuse_other_kinds(head, name)
    copy = in_utf8(path, name, options.encoding)
    if copy is not None:
        path = copy.path
        head = _head(path)
    if file_format is None:
        file_format = "lightgcn" if is_pairs(head, name, options) else "csv"
    progress.begin_part(estimate_rows(path, file_format))
    if file_format == "lightgcn":
        tables = pair_tables(path, name)
    elif file_format == "jsonl":
        tables = json_tables(path, name, columns, exact)
    else:
        if file_format in ("tsv", "recbole") and options.separator is None:
            options = options.model_copy(update={"separator": "\t"})
        tables = delimited_tables(path, name, columns, options)
    for table in tables:
        yield replace(table, decimal=options.decimal).holding(copy)


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(BLOCK_BYTES)


def _format_of(name: str, head: bytes) -> FileFormat | None:
    """Return a file's format by its first bytes or suffix, None where its lines have to tell."""
    if is_parquet(head):
        return "parquet"
    suffix = _suffix(name)
    if suffix not in FORMAT_OF_SUFFIX:
        refuse_other_kinds(head, name)
        raise InvalidData(
            f"{name} is of an unknown format; name it .csv, .tsv, .jsonl, .parquet or .txt, "
            "or set data.format"
        )
    return FORMAT_OF_SUFFIX[suffix]


def _suffix(name: str) -> str:
    """Return the last suffix of a path or URL in lower case, without that of gzip."""
    path = urlsplit(name).path if is_url(name) else name
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix not in (".gz", ".gzip")), "")
