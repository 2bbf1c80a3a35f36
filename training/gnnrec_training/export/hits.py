"""The arrays behind the report, from which metrics by user follow, by the rows that are published.

U users published, V of them with held-out items, H hits.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.scoring.metrics import Hits, narrow
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.evaluation.measurement import Measured, held_out_file, ranks_file


def hit_arrays(
    measured: Measured, over: Dataset, published_ids: list[str]
) -> dict[str, NDArray[Any]]:
    """Return the ranks of hits, and the numbers of held-out items (U,), by the names of files.

    over: the data set that was measured on. A user whom training did not know then has held-out
    items and no hits.
    """
    rows = {user_id: row for row, user_id in enumerate(published_ids)}
    new_rows = np.array(
        [rows.get(user_id, -1) for user_id in (*over.user_ids, *over.new_user_ids)], np.int64
    )
    arrays: dict[str, NDArray[Any]] = {}
    for split, by_old_row in measured.held_out.items():
        moved = new_rows[: len(by_old_row)]
        sizes = np.zeros(len(rows), np.int64)
        sizes[moved[moved >= 0]] = by_old_row[moved >= 0]
        arrays[held_out_file(split)] = narrow(sizes)
        asked = np.flatnonzero(sizes)
        measured_users = np.flatnonzero(by_old_row[: len(over.user_ids)])
        places = np.searchsorted(asked, new_rows[measured_users])
        for name, by_split in measured.hits.items():
            hits = by_split[split]
            at = places[hits.places]
            order = np.argsort(at, kind="stable")
            arrays[ranks_file(name, split)] = Hits(
                at[order], hits.ranks[order], sizes[asked]
            ).packed()
    return arrays
