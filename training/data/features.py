"""Tables of numbers about users or items."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.readers import numeric_columns, read_table
from training.errors import InvalidData


def read_features(path: Path, id_column: str, ids: list[str]) -> NDArray[np.float32]:
    """Return the numeric columns of a table, a row for each of `ids`: (N, F).

    Raises InvalidData when an id has no row, or the table no numeric column.
    """
    names = numeric_columns(path, id_column)
    if not names:
        raise InvalidData(f"{path} has no numeric column besides {id_column!r}")
    table = read_table(path, [id_column], names)
    rows = {identity: row for row, identity in enumerate(table[id_column])}
    missing = [identity for identity in ids if identity not in rows]
    if missing:
        raise InvalidData(f"{path} has no row for {missing[0]!r} and {len(missing) - 1} more")
    chosen = np.array([rows[identity] for identity in ids])
    features: NDArray[np.float32] = table.select(names).to_numpy()[chosen].astype(np.float32)
    return features
