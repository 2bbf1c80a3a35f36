"""Whether the fit that is published agrees with the one that was measured."""

import numpy as np

from gnnrec_registry import VariantExport
from gnnrec_registry.scoring.ranking import NO_ROW
from gnnrec_training.errors import TrainingDiverged
from gnnrec_training.evaluation.ranking import rank
from gnnrec_training.graph.sparse import Csr

_USERS = 500
_LONGEST = 10
_LEAST = 0.02
"""Two fits of one model share far more, even by other random numbers."""


def shared(
    first: tuple[VariantExport, Csr, list[str], list[str]],
    second: tuple[VariantExport, Csr, list[str], list[str]],
) -> float:
    """Return the mean share of the ten best items for a user that two fits of a model both have.

    first, second: the model, its graph (U, I), and its user and item ids. Both rank all items for
    up to 500 users that both know, each by its own graph. Raises TrainingDiverged where they share
    less than a fiftieth.
    """
    row_of = {user_id: row for row, user_id in enumerate(second[2])}
    both = [(row, row_of[name]) for row, name in enumerate(first[2]) if name in row_of]
    both = both[:: -(-len(both) // _USERS)] if both else []
    if not both:
        return 1.0
    lists = []
    for (model, graph, _, item_ids), users in zip(
        (first, second), zip(*both, strict=True), strict=True
    ):
        which = np.array(users, np.int64)
        nothing = Csr(np.zeros(len(graph.indptr), np.int64), graph.columns[:0], graph.values[:0])
        _, ranked = rank(
            np.ascontiguousarray(model.users[which]), model.items, which, nothing,
            min(_LONGEST, len(item_ids)), lists=model.lists, history=graph,
        )  # fmt: skip
        lists.append([{item_ids[row] for row in line if row != NO_ROW} for line in ranked])
    found = float(np.mean([len(a & b) / max(1, len(a)) for a, b in zip(*lists, strict=True)]))
    if found < _LEAST:
        raise TrainingDiverged(
            f"the fit on all data does not agree with the one that was measured: of their lists "
            f"they share {found:.0%}; nothing is published; refit = false publishes what was "
            "measured"
        )
    return found
