"""Data frames of polars and pandas: written to Parquet files, which are read as other files are.

pandas is never imported: its frames are recognized by the module of their class, and read by their
own methods.
"""

import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeGuard

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec_training.addresses import shown
from gnnrec_training.data.tables.origins import Origin
from gnnrec_training.data.tables.python_values import table_of_values
from gnnrec_training.data.tables.table import LARGEST_WHOLE
from gnnrec_training.errors import InvalidData


class PandasFrame(Protocol):
    """A DataFrame of pandas."""

    @property
    def columns(self) -> Any:
        """Its labels."""

    @property
    def index(self) -> Any:
        """Its index."""

    def items(self) -> Iterable[tuple[Any, Any]]:
        """Return each label and column."""


Frame = pl.DataFrame | pl.LazyFrame | PandasFrame
"""A table in memory, or a query of polars that makes one."""


def is_frame(value: object) -> TypeGuard[Frame]:
    """Tell whether a value is a frame of polars or pandas."""
    return isinstance(value, pl.DataFrame | pl.LazyFrame) or any(
        _is_of_pandas(cls) and cls.__name__ == "DataFrame" for cls in type(value).__mro__
    )


def write(frame: Frame, folder: Path, name: str) -> str:
    """Write a frame as NAME.parquet into a folder, and return its absolute path.

    Values keep their type, integers their every digit. For pandas: NaN, NaT and NA become missing
    values; integers that pandas made floating-point because some are missing become integers again;
    times with a zone become UTC; levels of the index that have names become columns; docs/python.md
    says how a column of objects is read. Raises InvalidData, which names the column, for values
    that no table can hold.

    Errors and manifests call the file "frame of NAME" if the folder's name begins with FRAMES of
    gnnrec_training.addresses.
    """
    path = str(folder.absolute() / f"{name}.parquet")
    try:
        if isinstance(frame, pl.LazyFrame):
            if pl.Object not in frame.collect_schema().dtypes():
                frame.sink_parquet(path, compression="lz4")
                return path
            frame = frame.collect()
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise InvalidData(f"{shown(path)} cannot be computed: {reason}") from None
    origin = Origin(shown(path), 1)
    if isinstance(frame, pl.DataFrame):
        rows = _without_objects(frame, origin)
    else:
        rows = _of_pandas(frame, origin)
    if not rows.columns:
        raise InvalidData(f"{origin.name} has no columns")
    try:
        rows.write_parquet(path, compression="lz4")
    except pl.exceptions.PolarsError as error:
        raise _refusal(rows, origin, error) from None
    return path


def frames_to_files(values: Any, folder: Path, steps: tuple[str, ...] = ()) -> Any:
    """Return a copy of a configuration's values in which every frame is the path of a file.

    The frames are written into `folder`. `steps`: the keys that lead to `values`, which name the
    files. Paths become texts.
    """
    if is_frame(values):
        name = ".".join(step for step in steps if step not in ("data", "file"))
        return write(values, folder, name or "data")
    if isinstance(values, os.PathLike):
        return os.fspath(values)
    if isinstance(values, Mapping):
        return {
            key: frames_to_files(value, folder, (*steps, str(key))) for key, value in values.items()
        }
    if isinstance(values, list | tuple):
        return [
            frames_to_files(value, folder, (*steps, str(place)))
            for place, value in enumerate(values, 1)
        ]
    return values


def _refusal(rows: pl.DataFrame, origin: Origin, error: Exception) -> InvalidData:
    """Return the error for a frame that Parquet cannot hold, which names the column if one is."""
    for column in rows:
        try:
            column.head(0).to_frame().lazy().sink_parquet(os.devnull)
        except pl.exceptions.PolarsError:
            return InvalidData(
                f"{origin.name}, column {column.name!r}: values of {column.dtype} cannot be taken; "
                "leave the column out, or write them as texts"
            )
    return InvalidData(f"{origin.name} cannot be taken: {str(error).splitlines()[0]}")


def _without_objects(frame: pl.DataFrame, origin: Origin) -> pl.DataFrame:
    return frame.with_columns(
        _of_values(column.to_list(), column.name, origin)
        for column in frame
        if column.dtype == pl.Object
    )


def _of_pandas(frame: PandasFrame, origin: Origin) -> pl.DataFrame:
    columns: dict[str, pl.Series] = {}
    for label, values in _labelled(frame):
        if isinstance(label, tuple):
            raise InvalidData(
                f"{origin.name} has columns of several levels, such as {label!r}; give each "
                "one name"
            )
        name = str(label)
        if name in columns:
            raise InvalidData(f"{origin.name} has two columns {name!r}; name them apart")
        columns[name] = _series(values, name, origin)
    return pl.DataFrame(list(columns.values()))


def _labelled(frame: PandasFrame) -> Iterator[tuple[Any, Any]]:
    """Yield the levels of the index that have names, then the columns: each label and values."""
    for level, label in enumerate(frame.index.names):
        if label is not None:
            yield label, frame.index.get_level_values(level).to_series()
    yield from frame.items()


def _series(values: Any, name: str, origin: Origin) -> pl.Series:
    """Return a column of pandas, or a level of its index, as one of polars."""
    dtype = values.dtype
    kind = type(dtype).__name__
    if kind == "SparseDtype":
        return _series(values.sparse.to_dense(), name, origin)
    if kind == "CategoricalDtype":
        categories = _series(dtype.categories.to_series(), name, origin)
        codes = pl.Series(values.cat.codes.to_numpy().astype(np.int64))
        return categories.gather(codes.set(codes < 0, None))
    if kind == "DatetimeTZDtype":
        moments = _numpy(values.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), name, origin)
        return moments.dt.replace_time_zone("UTC")
    if kind == "StringDtype":
        texts = values.to_numpy(dtype=object, na_value=None).tolist()
        return _of_values(texts, name, origin)
    if isinstance(dtype, np.dtype):
        if dtype.kind == "O":
            return _of_values(values.tolist(), name, origin)
        return _numpy(values.to_numpy(), name, origin)
    if kind != "ArrowDtype" and getattr(dtype, "kind", "") in ("b", "i", "u", "f"):
        there = values.array.to_numpy(dtype=dtype.numpy_dtype, na_value=0)
        missing = values.isna().to_numpy()
        return _numpy(there, name, origin).set(pl.Series(missing), None)
    return _of_values(list(values), name, origin)


def _numpy(values: NDArray[Any], name: str, origin: Origin) -> pl.Series:
    """Return an array (N,) as a column, null for NaN and NaT."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind in "biu":
        return pl.Series(name, values)
    if kind in "mM":
        if np.datetime_data(values.dtype)[0] == "s":  # polars has no seconds
            values = values.astype(f"{kind}8[ms]")
        return pl.Series(name, values)
    if kind == "f" and size <= 8:
        return _floats(values.astype(np.float32) if size < 4 else values, name)
    raise InvalidData(
        f"{origin.name}, column {name!r}: values of {values.dtype} cannot be taken; make them "
        "float64, or leave the column out"
    )


def _floats(values: NDArray[Any], name: str) -> pl.Series:
    """Return floats (N,), null for NaN; integers if they are whole and some are NaN."""
    missing = np.isnan(values)
    if missing.any() and not missing.all():
        there = values[~missing]
        if (np.abs(there) <= LARGEST_WHOLE).all() and (there == np.floor(there)).all():
            whole = pl.Series(name, np.where(missing, 0, values).astype(np.int64))
            return whole.set(pl.Series(missing), None)
    return pl.Series(name, values, nan_to_null=True)


_PLAIN = {str, int, bool, bytes, type(None)}
_TEXTS = (str, bytes, bytearray, memoryview)


def _of_values(values: Sequence[Any], name: str, origin: Origin) -> pl.Series:
    """Return Python values as a column."""
    if not set(map(type, values)) <= _PLAIN:
        values = [_value(value, row, name, origin) for row, value in enumerate(values)]
    column = table_of_values({name: values}, [name], origin).rows[name]
    if column.dtype == pl.Float64 and column.has_nulls():
        return _floats(column.to_numpy(), name)
    return column


def _value(value: Any, row: int, name: str, origin: Origin) -> Any:
    """Return a value as a plain Python value that table_of_values takes; None for missing ones."""
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, np.generic):
        return _scalar(value)
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if _is_of_pandas(type(value)):
        if type(value).__name__ in ("NAType", "NaTType"):
            return None
        if isinstance(value, datetime):  # a Timestamp
            return value.isoformat() if value.nanosecond else value.to_pydatetime()  # type: ignore[attr-defined]
    if isinstance(value, list | tuple | np.ndarray):
        return [_value(entry, row, name, origin) for entry in value]
    if isinstance(value, Collection) and not isinstance(value, _TEXTS):
        raise InvalidData(
            f"{origin.place(row)}, column {name!r} holds a {type(value).__name__}; make it a list "
            "or a text, or leave the column out"
        )
    return value


def _scalar(value: np.generic) -> Any:
    """Return a NumPy scalar as a Python value; times as texts, which keep their nanoseconds."""
    if isinstance(value, np.datetime64 | np.timedelta64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.floating) and np.isnan(value):
        return None
    return value.item()


def _is_of_pandas(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "pandas"
