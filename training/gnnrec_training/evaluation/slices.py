"""Metrics by slice: of users by how active they are, of items by how popular they are.

V evaluated users, P slices.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.files.json import Json
from gnnrec_registry.versions.manifest import Metrics
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.graph.sparse import Csr

_SLICES = 3


@dataclass(frozen=True)
class Slices:
    """Which slice each user and each item is in, and how the slices are called."""

    user_slice: NDArray[np.int64]
    user_names: list[str]
    item_slice: NDArray[np.int64]
    item_names: list[str]


def slices(seen: Csr, items: int) -> Slices:
    """Return thirds of the users by activity, and of the items by popularity.

    The slices of items have as many interactions each, so the popular one holds few items.
    """
    activity = np.diff(seen.indptr)
    popularity = np.bincount(seen.columns, minlength=items)
    edges = np.quantile(activity, [place / _SLICES for place in range(1, _SLICES)])
    user_slice = np.searchsorted(edges, activity, side="left")
    order = np.argsort(popularity, kind="stable")
    share = np.cumsum(popularity[order]) / max(1, popularity.sum())
    item_slice = np.empty(items, np.int64)
    item_slice[order] = np.minimum((share * _SLICES - 1e-9).astype(np.int64), _SLICES - 1)
    return Slices(
        user_slice,
        [_range("interactions", activity[user_slice == place]) for place in range(_SLICES)],
        item_slice,
        [_range("users", popularity[item_slice == place]) for place in range(_SLICES)],
    )


def by_activity(
    users: NDArray[np.int64], per_user: dict[str, NDArray[np.float64]], sliced: Slices
) -> list[Json]:
    """Return the mean metrics of each slice of the users (V,) that were evaluated."""
    rows = []
    for place, name in enumerate(sliced.user_names):
        chosen = sliced.user_slice[users] == place
        if chosen.any():
            means: Metrics = {key: float(values[chosen].mean()) for key, values in per_user.items()}
            rows.append({"users_with": name, "users": int(chosen.sum()), "metrics": means})
    return rows


def by_popularity(
    found: NDArray[np.int64], wanted: NDArray[np.int64], sliced: Slices, k: int
) -> list[Json]:
    """Return the share of the held-out interactions of each slice that stood in the first k.

    found (P,), wanted (P,): counts by slice
    """
    return [
        {
            "items_with": name,
            "items": int((sliced.item_slice == place).sum()),
            "held_out": int(wanted[place]),
            f"found@{k}": float(found[place] / wanted[place]),
        }
        for place, name in enumerate(sliced.item_names)
        if wanted[place]
    ]


def wanted_by_slice(wanted: Interactions, sliced: Slices) -> NDArray[np.int64]:
    """Count the held-out interactions of each slice of the items; unknown items are in none."""
    known = wanted.item_rows[wanted.item_rows < len(sliced.item_slice)]
    return np.bincount(sliced.item_slice[known], minlength=_SLICES)


def _range(what: str, counts: NDArray[np.int64]) -> str:
    if len(counts) == 0:
        return f"no {what}"
    return f"{int(counts.min())} to {int(counts.max())} {what}"
