"""The arrays and id lists of a version, written and read with their checks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import InvalidExport, VersionCorrupt

Embeddings = NDArray[np.float32]
"""(N, D): one row per user or item."""


def write_lines(path: Path, lines: Sequence[str], *, unique: bool) -> None:
    """Write UTF-8 texts, one a line.

    Raises InvalidExport for a text that holds a line break and, with `unique`, for an empty text
    or one that stands twice.
    """
    for row, line in enumerate(lines):
        if "\n" in line or (unique and not line):
            raise InvalidExport(
                f"{path.name} row {row}: {line!r} cannot stand on a line of its own"
            )
    if unique and len(set(lines)) != len(lines):
        raise InvalidExport(f"{path.name}: an id stands twice")
    # surrogates, which no UTF-8 file can hold, end in InvalidExport as well
    try:
        content = "".join(f"{line}\n" for line in lines).encode()
    except UnicodeEncodeError as error:
        raise InvalidExport(f"{path.name}: {error.object!r:.60} is not valid Unicode") from None
    path.write_bytes(content)


def read_lines(path: Path) -> list[str]:
    """Return the texts that write_lines wrote; line i is row i."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise VersionCorrupt(f"{path.name} is not UTF-8: {error.reason}") from None
    if text and not text.endswith("\n"):
        raise VersionCorrupt(f"{path.name} is cut short")
    return text.split("\n")[:-1]


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


def read_array(path: Path) -> NDArray[Any]:
    """Map an .npy file into memory, read-only; its pages are read as they are touched."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise VersionCorrupt(f"{path.name} is not a readable .npy file: {error}") from None
    return array
