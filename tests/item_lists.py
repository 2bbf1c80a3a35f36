"""Random item lists, and scores with them by the definition, word by word."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import ItemLists
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import Scores


def random_lists(
    items: int, density: float, seed: int = 0, *, whole: bool = False, scale: float = 1.0
) -> ItemLists:
    """Return lists in which each item stands with a chance of `density`.

    Weights are up to `scale`; `whole` ones are small integers, of which many sums are equal.
    """
    generator = np.random.default_rng(seed)
    rows, columns = np.nonzero(generator.random((items, items)) < density)
    weights = generator.integers(1, 3, len(rows)) if whole else 1 - generator.random(len(rows))
    return ItemLists(
        np.cumsum([0, *np.bincount(rows, minlength=items)]).astype(np.int64),
        columns.astype(np.int32),
        np.maximum(weights * scale, 1e-45).astype(np.float32),
        0.5,
    )


def added(lists: ItemLists, history: Sequence[int] | NDArray[np.integer]) -> dict[int, float]:
    """Return what a history adds to which items."""
    sums: dict[int, float] = {}
    for had in history:
        for place in range(lists.indptr[had], lists.indptr[had + 1]):
            item = int(lists.items[place])
            sums[item] = sums.get(item, 0.0) + float(lists.weights[place])
    return {item: total * len(history) ** -lists.degree_exponent for item, total in sums.items()}


def scores(
    vector: Embeddings,
    items: Embeddings,
    lists: ItemLists | None = None,
    history: Sequence[int] | NDArray[np.integer] = (),
) -> Scores:
    """Return the score of every item: vector (D,), items (I, D) -> (I,)."""
    more = {} if lists is None else added(lists, history)
    sums = np.array([more.get(row, 0.0) for row in range(len(items))])
    with np.errstate(over="ignore"):
        products = np.vecdot(items.astype(np.float64), vector.astype(np.float64))
        found: Scores = (products + sums).astype(np.float32)
    return found
