"""Tables of numbers about users or items, which LightGCN's embeddings can start from."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec_training.config import Source
from gnnrec_training.data.reading.sources import open_table
from gnnrec_training.errors import InvalidData


def read_numeric_table(
    source: Source | Path, id_column: str, ids: list[str], folder: str = ""
) -> NDArray[np.float32]:
    """Return the numeric columns of a table as an array (N, F), one row for each of the N `ids`.

    A column counts as numeric if every value of it is a number. Raises InvalidData for an id that
    has no row, and for a table without numeric columns.
    """
    table = open_table(source, folder, exact=[id_column])
    owners = table.texts(id_column)
    names = table.numeric_columns(id_column)
    if not names:
        raise InvalidData(f"{table.name} has no numeric column besides {id_column!r}")
    numbers = pl.DataFrame([table.numbers(name) for name in names])
    rows = {identity: row for row, identity in enumerate(owners)}
    missing = [identity for identity in ids if identity not in rows]
    if missing:
        raise InvalidData(f"{table.name} has no row for {missing[0]!r} and {len(missing) - 1} more")
    chosen = np.array([rows[identity] for identity in ids])
    features: NDArray[np.float32] = numbers.to_numpy()[chosen].astype(np.float32)
    return features
