"""Files to tables: CSV, TSV, JSON lines, Parquet and LightGCN's text format, gzipped or not.

Every table comes out as text columns beside number columns, checked: a bad value raises
InvalidData with the file, the line and the column.
"""

import gzip
import io
from pathlib import Path

import polars as pl

from training.config import Format
from training.errors import InvalidData

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "lightgcn",
}


def read_table(
    path: Path, texts: list[str], numbers: list[str], format: Format | None = None
) -> pl.DataFrame:
    """Return the named columns of a file, `texts` as strings and `numbers` as float64.

    No value is missing, no text empty, no number NaN or infinite.
    """
    format = format or format_of(path)
    if format == "lightgcn":
        raise InvalidData(f"{path} is in the LightGCN format, which has no columns")
    table = _parse(path, format)
    if table.height == 0:
        raise InvalidData(f"{path} has no rows")
    for column in [*texts, *numbers]:
        if column not in table.columns:
            raise InvalidData(
                f"{path} has no column {column!r}; its columns: {', '.join(table.columns)}"
            )
    header = 2 if format in ("csv", "tsv") else 1
    return table.select(
        *(_text(path, table[column], header) for column in texts),
        *(_number(path, table[column], header) for column in numbers),
    )


def numeric_columns(path: Path, but: str) -> list[str]:
    """Return the columns of a file that hold numbers throughout, in order, without `but`."""
    table = _parse(path, format_of(path))
    return [
        name
        for name in table.columns
        if name != but and not table[name].cast(pl.Float64, strict=False).is_null().any()
    ]


def read_lightgcn(path: Path) -> pl.DataFrame:
    """Return columns `user` and `item` from lines of `user item item ...`, one row a pair."""
    users: list[str] = []
    items: list[str] = []
    for line in _read(path).decode("utf-8", errors="replace").split("\n"):
        fields = line.split()
        if fields:
            users.extend([fields[0]] * (len(fields) - 1))
            items.extend(fields[1:])
    if not users:
        raise InvalidData(f"{path} has no rows")
    return pl.DataFrame({"user": users, "item": items})


def format_of(path: Path) -> Format:
    """Return the format that a file's name tells; .gz does not count."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    format = _SUFFIXES.get(suffixes[-1] if suffixes else "")
    if format is None:
        raise InvalidData(
            f"{path} is of an unknown format; name it .csv, .tsv, .jsonl, .parquet or .txt, "
            "or set data.format"
        )
    return format


def _parse(path: Path, format: Format) -> pl.DataFrame:
    content = _read(path)
    if not content.strip():
        raise InvalidData(f"{path} is empty")
    try:
        if format == "parquet":
            return pl.read_parquet(io.BytesIO(content))
        if format == "jsonl":
            return pl.read_ndjson(io.BytesIO(content), infer_schema_length=None)
        return pl.read_csv(
            io.BytesIO(content),
            separator="\t" if format == "tsv" else ",",
            quote_char=None if format == "tsv" else '"',
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise InvalidData(f"{path} is not readable as {format}: {reason}") from None


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        # by the magic number, not the name: a browser may have unpacked it and kept the name
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError:
        raise InvalidData(f"no file {path}") from None
    except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise InvalidData(f"{path} cannot be read: {error}") from None


def _text(path: Path, column: pl.Series, header: int) -> pl.Series:
    try:
        texts = column.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise InvalidData(
            f"{path}, column {column.name!r}: {column.dtype} values are no ids"
        ) from None
    _refuse(path, texts, texts.is_null() | (texts == ""), header, "is empty")
    _refuse(path, texts, texts.str.contains(r"[\x00-\x1f]"), header, "holds a control character")
    return texts


def _number(path: Path, column: pl.Series, header: int) -> pl.Series:
    stripped = column.str.strip_chars() if column.dtype == pl.String else column
    numbers = stripped.cast(pl.Float64, strict=False)
    _refuse(path, column, numbers.is_null() & column.is_null(), header, "is empty")
    _refuse(path, column, numbers.is_null(), header, "is not a number")
    _refuse(path, column, ~numbers.is_finite(), header, "is not a finite number")
    return numbers


def _refuse(path: Path, column: pl.Series, bad: pl.Series, header: int, problem: str) -> None:
    """Raise InvalidData for the first value where `bad` holds; line numbers count from 1."""
    first = bad.fill_null(False).arg_true().head(1)
    if len(first):
        row = int(first[0])
        raise InvalidData(
            f"{path} line {row + header}, column {column.name!r}: {column[row]!r} {problem}"
            if column[row] not in (None, "")
            else f"{path} line {row + header}, column {column.name!r} {problem}"
        )
