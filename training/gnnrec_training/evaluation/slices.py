"""Metrics of parts: of users by how active they are, of items by how popular they are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.manifest import Json, Metrics
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.graph.sparse import Csr

_PARTS = 3


@dataclass(frozen=True)
class Slices:
    """Which part each user and each item is in, and how the parts are called."""

    user_part: NDArray[np.int64]
    user_names: list[str]
    item_part: NDArray[np.int64]
    item_names: list[str]


def slices(seen: Csr, items: int) -> Slices:
    """Part the users into thirds by their interactions, the items into thirds of all interactions.

    So the popular part holds few items, and the rare one many, with as many interactions each.
    """
    activity = np.diff(seen.indptr)
    popularity = np.bincount(seen.columns, minlength=items)
    edges = np.quantile(activity, [part / _PARTS for part in range(1, _PARTS)])
    user_part = np.searchsorted(edges, activity, side="left")
    order = np.argsort(popularity, kind="stable")
    share = np.cumsum(popularity[order]) / max(1, popularity.sum())
    item_part = np.empty(items, np.int64)
    item_part[order] = np.minimum((share * _PARTS - 1e-9).astype(np.int64), _PARTS - 1)
    return Slices(
        user_part,
        [_range("interactions", activity[user_part == part]) for part in range(_PARTS)],
        item_part,
        [_range("users", popularity[item_part == part]) for part in range(_PARTS)],
    )


def by_activity(
    users: NDArray[np.int64], per_user: dict[str, NDArray[np.float64]], parts: Slices
) -> list[Json]:
    """Return the mean metrics of each part of the users (V,) that were evaluated."""
    rows = []
    for part, name in enumerate(parts.user_names):
        chosen = parts.user_part[users] == part
        if chosen.any():
            means: Metrics = {key: float(values[chosen].mean()) for key, values in per_user.items()}
            rows.append({"users_with": name, "users": int(chosen.sum()), "metrics": means})
    return rows


def by_popularity(
    found: NDArray[np.int64], wanted: NDArray[np.int64], parts: Slices, k: int
) -> list[Json]:
    """Return which share of the held-out items of each part stood in the first k.

    found (P,), wanted (P,): counts by part
    """
    return [
        {
            "items_with": name,
            "items": int((parts.item_part == part).sum()),
            "held_out": int(wanted[part]),
            f"found@{k}": float(found[part] / wanted[part]),
        }
        for part, name in enumerate(parts.item_names)
        if wanted[part]
    ]


def wanted_by_part(wanted: Interactions, parts: Slices) -> NDArray[np.int64]:
    """Count the held-out items of each part; unknown ones are in none."""
    known = wanted.item_rows[wanted.item_rows < len(parts.item_part)]
    return np.bincount(parts.item_part[known], minlength=_PARTS)


def _range(what: str, counts: NDArray[np.int64]) -> str:
    if len(counts) == 0:
        return f"no {what}"
    return f"{int(counts.min())} to {int(counts.max())} {what}"
