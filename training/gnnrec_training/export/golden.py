"""Golden queries: queries with the answers that a server must reproduce before it serves."""

from collections.abc import Mapping

import numpy as np

from gnnrec_registry import ItemLists
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.files.json import Json
from gnnrec_registry.scoring.ranking import NO_ROW
from gnnrec_training.evaluation.ranking import rank
from gnnrec_training.graph.sparse import Csr

_QUERIES = 16
_K = 10


def golden(
    variants: dict[str, tuple[Embeddings, Embeddings]],
    user_ids: list[str],
    item_ids: list[str],
    seen: Csr,
    lists: Mapping[str, ItemLists],
) -> Json:
    """Return the best unseen items of 16 users, evenly spaced by row, for each variant.

    {"k", "queries": [{"variant", "user_id", "item_ids", "scores"}]}

    lists: those of the variants that have some, added up over what users have seen with a value
    above 0
    """
    history = seen.positive()
    which = np.unique(np.linspace(0, len(user_ids) - 1, _QUERIES).astype(np.int64))
    queries = []
    for variant, (users, items) in variants.items():
        k = min(_K, len(item_ids))
        scores, rows = rank(
            np.ascontiguousarray(users[which]), items, which, seen, k,
            lists=lists.get(variant), history=history,
        )  # fmt: skip
        for user, user_scores, user_items in zip(which, scores, rows, strict=True):
            there = user_items != NO_ROW
            queries.append(
                {
                    "variant": variant,
                    "user_id": user_ids[user],
                    "item_ids": [item_ids[row] for row in user_items[there]],
                    "scores": [float(score) for score in user_scores[there]],
                }
            )
    return {"k": _K, "queries": queries}
