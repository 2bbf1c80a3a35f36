"""The score of embeddings on the validation part, asked for while a model is in training."""

from collections.abc import Callable

import numpy as np

from gnnrec_registry.files.arrays import among, distinct
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.evaluation.seen import seen_before
from gnnrec_training.graph.propagation import EmbeddingPair

WATCHED_USERS = 1000
"""The most users who are asked where the score is only drawn in the report, and decides nothing."""
DECIDING_USERS = 3000
"""The most users who are asked where the score decides when training stops."""

Validate = Callable[[EmbeddingPair], float]
"""validate((users (U, D), items (I, D))) -> a score; more is better."""


def validation(config: Config, dataset: Dataset, *, decides: bool = False) -> Validate | None:
    """Return a function that scores embeddings; None where there is no validation part.

    The score is the NDCG at the first of the configured list lengths. At most about WATCHED_USERS
    are asked, evenly spaced by row, or DECIDING_USERS where the score `decides`. No random number
    is drawn.
    """
    part = dataset.validation
    if len(part) == 0:
        return None
    there = distinct(part.user_rows)
    asked = there[:: -(-len(there) // (DECIDING_USERS if decides else WATCHED_USERS))]
    part = part.take(among(part.user_rows, asked))
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    seen, held_out = seen_before(dataset, "validation"), heldout(part, users, items)
    k = config.evaluation.k[0]

    def validate(embeddings: EmbeddingPair) -> float:
        users_now, items_now = (np.ascontiguousarray(half.numpy()) for half in embeddings)
        return evaluate(users_now, items_now, seen, held_out, (k,)).metrics[f"ndcg@{k}"]

    return validate
