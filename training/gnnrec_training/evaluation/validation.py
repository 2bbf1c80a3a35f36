"""How good embeddings are on the validation part, while they are still being learned."""

from collections.abc import Callable

import numpy as np

from gnnrec_registry.arrays import distinct
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.graph.sparse import by_user

WATCHED_USERS = 1000
"""So many are asked at most where nothing hangs on it but the report's curve."""

Validate = Callable[[EmbeddingPair], float]
"""validate(users (U, D), items (I, D)) -> how good they are; more is better."""


def validation(config: Config, dataset: Dataset, *, all_users: bool = False) -> Validate | None:
    """Return the NDCG at the first of the configured list lengths; None without such a part.

    It draws no random number. Unless `all_users` are asked, they are a sample, evenly spaced.
    """
    part = dataset.validation
    if len(part) == 0:
        return None
    if not all_users:
        there = distinct(part.user_rows)
        watched = there[:: -(-len(there) // WATCHED_USERS)]
        part = part.take(np.isin(part.user_rows, watched))
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    seen, held_out = by_user(dataset.train, users), heldout(part, users, items)
    k = config.evaluation.k[0]

    def validate(embeddings: EmbeddingPair) -> float:
        ours, theirs = (np.ascontiguousarray(half.numpy()) for half in embeddings)
        return evaluate(ours, theirs, seen, held_out, (k,)).metrics[f"ndcg@{k}"]

    return validate
