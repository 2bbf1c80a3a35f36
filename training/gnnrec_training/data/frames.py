"""Frames of polars and pandas to Parquet files, which are then read as any other file is.

pandas is never imported: its frames are told by their class and asked by their own methods.
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
from gnnrec_training.data.rows import table
from gnnrec_training.data.tables import Origin
from gnnrec_training.errors import InvalidData

_LARGEST_WHOLE = 2.0**53
"""Beyond it a floating-point number may stand for several whole ones."""


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
        _is_of_pandas(each) and each.__name__ == "DataFrame" for each in type(value).__mro__
    )


def write(frame: Frame, folder: Path, name: str) -> str:
    """Write a frame as NAME.parquet into a folder, and return its absolute path.

    Values stay what they are, whole numbers to their last digit. Of pandas: NaN, NaT and NA become
    missing values; numbers that are floating-point only because some are missing become whole
    again; moments with a zone become UTC; the levels of the index that have names become columns; a
    column of objects is read as docs/python.md says. Raises InvalidData, which names the column,
    for what no table can hold.

    Errors and manifests call the file "frame of NAME" if the folder's name begins with FRAMES of
    training/addresses.py.
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
    called = Origin(shown(path), 1)
    if isinstance(frame, pl.DataFrame):
        rows = _without_objects(frame, called)
    else:
        rows = _of_pandas(frame, called)
    if not rows.columns:
        raise InvalidData(f"{called.name} has no columns")
    try:
        rows.write_parquet(path, compression="lz4")
    except pl.exceptions.PolarsError as error:
        raise _refusal(rows, called, error) from None
    return path


def written(values: Any, folder: Path, steps: tuple[str, ...] = ()) -> Any:
    """Return the values of a configuration, every frame replaced by the path of its file.

    `steps`: the keys that lead to them, for the names of the files. Paths become texts. The values
    themselves stay as they are.
    """
    if is_frame(values):
        name = ".".join(step for step in steps if step not in ("data", "file"))
        return write(values, folder, name or "data")
    if isinstance(values, os.PathLike):
        return os.fspath(values)
    if isinstance(values, Mapping):
        return {key: written(each, folder, (*steps, str(key))) for key, each in values.items()}
    if isinstance(values, list | tuple):
        return [written(each, folder, (*steps, str(place))) for place, each in enumerate(values, 1)]
    return values


def _refusal(rows: pl.DataFrame, called: Origin, error: Exception) -> InvalidData:
    """Return what to say of a frame that no Parquet file can hold: which column it is."""
    for column in rows:
        try:
            column.head(0).to_frame().lazy().sink_parquet(os.devnull)
        except pl.exceptions.PolarsError:
            return InvalidData(
                f"{called.name}, column {column.name!r}: values of {column.dtype} cannot be taken; "
                "leave the column out, or write them as texts"
            )
    return InvalidData(f"{called.name} cannot be taken: {str(error).splitlines()[0]}")


def _without_objects(frame: pl.DataFrame, called: Origin) -> pl.DataFrame:
    return frame.with_columns(
        _of_values(column.to_list(), column.name, called)
        for column in frame
        if column.dtype == pl.Object
    )


def _of_pandas(frame: PandasFrame, called: Origin) -> pl.DataFrame:
    columns: dict[str, pl.Series] = {}
    for label, values in _labelled(frame):
        if isinstance(label, tuple):
            raise InvalidData(
                f"{called.name} has columns of several levels, such as {label!r}; give each "
                "one name"
            )
        name = str(label)
        if name in columns:
            raise InvalidData(f"{called.name} has two columns {name!r}; name them apart")
        columns[name] = _series(values, name, called)
    return pl.DataFrame(list(columns.values()))


def _labelled(frame: PandasFrame) -> Iterator[tuple[Any, Any]]:
    """Yield the names and values of the index, where it has names, then those of the columns."""
    for level, label in enumerate(frame.index.names):
        if label is not None:
            yield label, frame.index.get_level_values(level).to_series()
    yield from frame.items()


def _series(values: Any, name: str, called: Origin) -> pl.Series:
    """Return a column of pandas as one of polars."""
    dtype = values.dtype
    kind = type(dtype).__name__
    if kind == "SparseDtype":
        return _series(values.sparse.to_dense(), name, called)
    if kind == "CategoricalDtype":
        categories = _series(dtype.categories.to_series(), name, called)
        codes = pl.Series(values.cat.codes.to_numpy().astype(np.int64))
        return categories.gather(codes.set(codes < 0, None))
    if kind == "DatetimeTZDtype":
        moments = _numpy(values.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), name, called)
        return moments.dt.replace_time_zone("UTC")
    if kind == "StringDtype":
        texts = values.to_numpy(dtype=object, na_value=None).tolist()
        return _of_values(texts, name, called)
    if isinstance(dtype, np.dtype):
        if dtype.kind == "O":
            return _of_values(values.tolist(), name, called)
        return _numpy(values.to_numpy(), name, called)
    if kind != "ArrowDtype" and getattr(dtype, "kind", "") in ("b", "i", "u", "f"):
        there = values.array.to_numpy(dtype=dtype.numpy_dtype, na_value=0)
        missing = values.isna().to_numpy()
        return _numpy(there, name, called).set(pl.Series(missing), None)
    return _of_values(list(values), name, called)


def _numpy(values: NDArray[Any], name: str, called: Origin) -> pl.Series:
    """Return an array (N,) as a column, null for NaN and NaT."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind in "biu":
        return pl.Series(name, values)
    if kind in "mM":
        if np.datetime_data(values.dtype)[0] == "s":  # which polars does not have
            values = values.astype(f"{kind}8[ms]")
        return pl.Series(name, values)
    if kind == "f" and size <= 8:
        return _floats(values.astype(np.float32) if size < 4 else values, name)
    raise InvalidData(
        f"{called.name}, column {name!r}: values of {values.dtype} cannot be taken; make them "
        "float64, or leave the column out"
    )


def _floats(values: NDArray[Any], name: str) -> pl.Series:
    missing = np.isnan(values)
    if missing.any() and not missing.all():
        there = values[~missing]
        if (np.abs(there) <= _LARGEST_WHOLE).all() and (there == np.floor(there)).all():
            whole = pl.Series(name, np.where(missing, 0, values).astype(np.int64))
            return whole.set(pl.Series(missing), None)
    return pl.Series(name, values, nan_to_null=True)


_PLAIN = {str, int, bool, bytes, type(None)}
_TEXTS = (str, bytes, bytearray, memoryview)


def _of_values(values: Sequence[Any], name: str, called: Origin) -> pl.Series:
    """Return Python values as a column."""
    if not set(map(type, values)) <= _PLAIN:
        values = [_value(value, row, name, called) for row, value in enumerate(values)]
    column = table({name: values}, [name], called).rows[name]
    if column.dtype == pl.Float64 and column.has_nulls():
        return _floats(column.to_numpy(), name)
    return column


def _value(value: Any, row: int, name: str, called: Origin) -> Any:
    """Return a value as databases would give it; None for one that is missing."""
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
        return [_value(each, row, name, called) for each in value]
    if isinstance(value, Collection) and not isinstance(value, _TEXTS):
        raise InvalidData(
            f"{called.place(row)}, column {name!r} holds a {type(value).__name__}; make it a list "
            "or a text, or leave the column out"
        )
    return value


def _scalar(value: np.generic) -> Any:
    """Return a NumPy scalar as Python's; moments as texts, to the nanosecond."""
    if isinstance(value, np.datetime64 | np.timedelta64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.floating) and np.isnan(value):
        return None
    return value.item()


def _is_of_pandas(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "pandas"
