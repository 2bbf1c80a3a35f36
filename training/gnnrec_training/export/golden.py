"""Golden queries: queries with the answers that a server must reproduce before it serves."""

from collections.abc import Mapping

import numpy as np

from gnnrec_registry import VariantExport
from gnnrec_registry.files.json import Json
from gnnrec_registry.scoring.ranking import NO_ROW
from gnnrec_training.evaluation.ranking import rank
from gnnrec_training.graph.sparse import Csr

_QUERIES = 16
_K = 10


def golden(
    variants: Mapping[str, VariantExport], user_ids: list[str], item_ids: list[str], seen: Csr
) -> Json:
    """Return the best unseen items of 16 users, evenly spaced by row, for each variant.

    seen (U, I): what users had, with a value above 0 for the edges of the graph

    {"k", "queries": [{"variant", "user_id", "item_ids", "scores"}]}
    """
    history = seen.positive()
    which = np.unique(np.linspace(0, len(user_ids) - 1, _QUERIES).astype(np.int64))
    queries = []
    for name, variant in variants.items():
        scores, rows = rank(
            np.ascontiguousarray(variant.users[which]), variant.items, which, seen,
            min(_K, len(item_ids)), lists=variant.lists, history=history,
        )  # fmt: skip
        for user, user_scores, user_items in zip(which, scores, rows, strict=True):
            there = user_items != NO_ROW
            queries.append(
                {
                    "variant": name,
                    "user_id": user_ids[user],
                    "item_ids": [item_ids[row] for row in user_items[there]],
                    "scores": [float(score) for score in user_scores[there]],
                }
            )
    return {"k": _K, "queries": queries}
