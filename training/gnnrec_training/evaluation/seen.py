"""What is left out of each user's ranking when models are measured. U users, I items."""

from typing import Literal

from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset, concatenate
from gnnrec_training.graph.sparse import Csr, by_user

Split = Literal["validation", "test"]
"""A part of the data that models are measured on."""


def seen_before(config: Config, dataset: Dataset, split: Split) -> Csr:
    """Return what a server would leave out of each user's ranking before a part: (U, I).

    That is all interactions of the parts before it, and the pairs below data.min_weight. Where the
    split is by one moment for all, such pairs count only if they are earlier than the part.
    """
    known = dataset.train if split == "validation" else dataset.known
    held_out = dataset.validation if split == "validation" else dataset.test
    disliked = dataset.disliked
    if config.split.method == "time" and len(disliked) and len(held_out):
        assert disliked.times is not None
        assert held_out.times is not None
        disliked = disliked.take(disliked.times < held_out.times.min())
    return by_user(concatenate(known, disliked), len(dataset.user_ids))
