"""What is left out of each user's ranking when models are measured. U users, I items."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset, Interactions, concatenate
from gnnrec_training.graph.sparse import Csr, by_user

Split = Literal["validation", "test"]
"""A part of the data that models are measured on."""


def seen_before(config: Config, dataset: Dataset, split: Split) -> Csr:
    """Return what a server would leave out of each user's ranking before a part: (U, I).

    That is all interactions of the parts before it, and the pairs below data.min_weight. Where the
    split is by time, such pairs count only if they are earlier than the part: than all of it with
    method "time", than the user's own first interaction in it with "leave_last_out".
    """
    known = dataset.train if split == "validation" else dataset.known
    held_out = dataset.validation if split == "validation" else dataset.test
    disliked = dataset.disliked
    if config.split.method in ("time", "leave_last_out") and len(disliked) and len(held_out):
        begin = _begin(held_out, len(dataset.user_ids), for_all=config.split.method == "time")
        assert disliked.times is not None
        disliked = disliked.take(disliked.times < begin[disliked.user_rows])
    return by_user(concatenate(known, disliked), len(dataset.user_ids))


def _begin(held_out: Interactions, users: int, *, for_all: bool) -> NDArray[np.float64]:
    """Return the moment of each user's first held-out interaction (U,), or `for_all` of any."""
    assert held_out.times is not None
    if for_all:
        return np.full(users, held_out.times.min())
    begin = np.full(users, np.inf)
    there = held_out.user_rows < users
    np.minimum.at(begin, held_out.user_rows[there], held_out.times[there])
    return begin
