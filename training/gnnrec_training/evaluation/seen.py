"""What is left out of each user's ranking when models are measured. U users, I items."""

from typing import Literal

from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset, concatenate
from gnnrec_training.graph.sparse import Csr, by_user

Split = Literal["validation", "test"]
"""A part of the data that models are measured on."""


def seen_before(dataset: Dataset, split: Split) -> Csr:
    """Return what a server would leave out of each user's ranking before a part: (U, I).

    That is all interactions of the parts before it, and the pairs below data.min_weight that were
    known then.
    """
    known = dataset.train if split == "validation" else dataset.known
    return by_user(concatenate(known, dataset.disliked), len(dataset.user_ids))


def history(config: Config, dataset: Dataset) -> Csr:
    """Return the interactions whose item lists add to a user's scores, by the graph (U, I)."""
    return by_user(dataset.seen(config.graph.disliked_weight), len(dataset.user_ids)).positive()
