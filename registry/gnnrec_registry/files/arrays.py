"""The arrays and id lists of a version, written and read with their checks."""

import re
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.errors import InvalidExport, VersionCorrupt

Number = TypeVar("Number", bound=np.integer[Any])
Embeddings = NDArray[np.float32]
"""(N, D): one row per user or item."""

# How many numbers are checked at a time: as many as fit a processor's cache.
_CHUNK = 1 << 20

CONTROLS = "".join(map(chr, range(32)))
"""The characters that no id may contain: controls below U+0020, line breaks included."""


def write_lines(path: Path, lines: Sequence[str], *, unique: bool, forbidden: str = "\n") -> None:
    """Write UTF-8 texts, one a line.

    Raises InvalidExport for a text with a `forbidden` character, such as a line break. With
    `unique`, an empty or a repeated text raises it too.
    """
    controls = re.compile(f"[{re.escape(forbidden)}]")
    for row, line in enumerate(lines):
        if controls.search(line) or (unique and not line):
            raise InvalidExport(
                f"{path.name} row {row}: {line!r} cannot stand on a line of its own"
            )
    if unique and len(set(lines)) != len(lines):
        raise InvalidExport(f"{path.name}: an id stands twice")
    # UTF-8 cannot hold lone surrogates
    try:
        content = "".join(f"{line}\n" for line in lines).encode()
    except UnicodeEncodeError as error:
        raise InvalidExport(f"{path.name}: {error.object!r:.60} is not valid Unicode") from None
    path.write_bytes(content)


def read_lines(path: Path, where: str) -> list[str]:
    """Return the texts that write_lines wrote; line i is row i.

    `where` names the file in the message of VersionCorrupt.
    """
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise VersionCorrupt(f"{where} is not UTF-8: {error.reason}") from None
    except OSError as error:
        raise VersionCorrupt(f"{where} cannot be read: {error.strerror}") from None
    if text and not text.endswith("\n"):
        raise VersionCorrupt(f"{where} is cut short")
    return text.split("\n")[:-1]


def write_integers(path: Path, array: NDArray[Any], kind: str) -> None:
    """Write integers as dtype `kind`, such as <i4; InvalidExport if one does not fit it."""
    if array.dtype.kind not in "iu":
        raise InvalidExport(f"{path.name}: expected integers, got {array.dtype}")
    converted = np.ascontiguousarray(array, dtype=kind)
    if not np.array_equal(converted, array):
        raise InvalidExport(f"{path.name}: a number does not fit {converted.dtype}")
    np.save(path, converted, allow_pickle=False)


def write_embeddings(path: Path, embeddings: Embeddings) -> None:
    """Write embeddings (N, D) as little-endian float32; NaN and infinity raise InvalidExport."""
    if embeddings.ndim != 2 or embeddings.dtype != np.float32:
        raise InvalidExport(
            f"{path.parent.name}/{path.name}: expected a float32 matrix, got "
            f"{embeddings.dtype} of shape {embeddings.shape}"
        )
    finite = np.asarray(np.isfinite(embeddings).all(axis=1))
    if not finite.all():
        raise InvalidExport(
            f"{path.parent.name}/{path.name}: row {int(np.argmin(finite))} holds NaN or infinity; "
            f"{int((~finite).sum())} of {len(finite)} rows do. Nothing was published"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(embeddings, dtype="<f4"), allow_pickle=False)


# What NumPy may raise for a file without a valid .npy header.
_NO_HEADER = (
    ValueError, EOFError, OSError, TypeError, KeyError, OverflowError, SyntaxError,
    tokenize.TokenError, RecursionError, MemoryError,
)  # fmt: skip


def read_array(path: Path, where: str) -> NDArray[Any]:
    """Map an .npy file into memory, read-only.

    `where` names the file in the message of VersionCorrupt.
    """
    try:
        # np.load would also unpack a zip archive that has this name
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except _NO_HEADER as error:
        raise VersionCorrupt(f"{where} is not a readable .npy file: {error}") from None
    return array


def distinct(numbers: NDArray[Number]) -> NDArray[Number]:
    """Return the distinct integers of an array (N,), ascending.

    np.unique uses a hash table here, which takes up to a hundred times as long for millions.
    """
    ordered = np.sort(numbers)
    is_new = np.append(True, ordered[1:] != ordered[:-1])
    found: NDArray[Number] = ordered[is_new[: len(ordered)]]
    return found


def among(numbers: NDArray[np.integer], others: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Tell which integers of an array of any shape are among others (N,), sorted or not.

    np.isin looks for distinct ones first, by a hash table; see distinct.
    """
    ordered = np.sort(others)  # quick where it is sorted already
    if len(ordered) == 0:
        return np.zeros(numbers.shape, bool)
    places = np.searchsorted(ordered, numbers)
    found: NDArray[np.bool_] = ordered[np.minimum(places, len(ordered) - 1)] == numbers
    return found


def csr_problem(indptr: NDArray[Any], columns: NDArray[Any], rows: int, width: int) -> str | None:
    """Return what is wrong with a CSR matrix of shape (rows, width), or None.

    indptr int64 (rows + 1,), columns int32 (E,), strictly ascending within each row
    """
    if indptr.dtype != np.int64 or indptr.shape != (rows + 1,):
        return f"its row pointers are {indptr.dtype} {indptr.shape}, not int64 ({rows + 1},)"
    if columns.dtype != np.int32 or columns.ndim != 1:
        return f"its columns are {columns.dtype} {columns.shape}, not int32 (E,)"
    if indptr[0] != 0 or bool((indptr[1:] < indptr[:-1]).any()):
        return "its row pointers do not ascend from 0"
    if indptr[-1] != len(columns):
        return f"it has {len(columns)} columns, and {indptr[-1]} by its row pointers"
    for start in range(0, len(columns), _CHUNK):
        part = columns[
            start : start + _CHUNK + 1
        ]  # and the first of the next chunk, to compare with
        if part.min() < 0 or part.max() >= width:
            return f"a column is not within 0 and {width - 1}"
        falls = np.flatnonzero(part[1:] <= part[:-1]) + start + 1
        outside = indptr[np.searchsorted(indptr, falls)] != falls
        if outside.any():
            place = int(falls[np.argmax(outside)])
            row = int(np.searchsorted(indptr, place, side="right")) - 1
            return f"the columns of row {row} do not ascend, or one stands twice"
    return None


def has_controls(content: NDArray[np.uint8]) -> bool:
    """Tell whether UTF-8 bytes (N,) hold a control below U+0020 that is no line break."""
    parts = (content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK))
    return any(bool(((part < 32) & (part != 10)).any()) for part in parts)


def is_finite(array: NDArray[Any]) -> bool:
    """Tell whether a matrix (N, D) is free of NaN and infinity."""
    step = max(1, _CHUNK // max(1, array.shape[1]))
    parts = (array[start : start + step] for start in range(0, len(array), step))
    return all(bool(np.isfinite(part).all()) for part in parts)
