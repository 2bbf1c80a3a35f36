"""Co-occurrence: an item speaks for the items that the same people had.

With R (U, I) the weighted interactions, d_u and d_i the degrees of users and items, and exponents
a = user_exponent, h = history_exponent and b = item_exponent, the weight of item j in somebody's
history for item i is

    L_ji = d_j^-h * d_i^-b * sum over users u of d_u^-a R_uj R_ui,   and 0 for i = j

of which each item j keeps the N largest. With a = 0 and h = b = 1/2 it is the cosine of item-kNN
(Sarwar et al. 2001, "Item-based Collaborative Filtering Recommendation Algorithms"); with a = 1,
h = 1 and b = 0 the chance that a walk from j over one of its users ends at i (Cooper et al. 2014,
"Random Walks in Recommender Systems").

A score is the sum of L_ji over a user's history.

U users, I items, N neighbours.
"""

import numpy as np
import torch
from torch import Tensor

from gnnrec_training.config import CooccurrenceConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.graph.sparse import sparse_matrix, take_rows
from gnnrec_training.models.item_lists import ListModel, largest, list_model

_LONGEST = 2_000
"""Of a user with more items only so many count, evenly spaced: they say little and cost much."""


def cooccurrence(
    train: Interactions, users: int, items: int, config: CooccurrenceConfig
) -> ListModel:
    """Return the lists of all items."""
    user_degree = np.bincount(train.user_rows, train.weights, users)
    item_degree = np.bincount(train.item_rows, train.weights, items)
    some = _thinned(train, users)
    of_users = np.where(user_degree > 0, user_degree, 1)[some.user_rows] ** -config.user_exponent
    degree = np.where(item_degree > 0, item_degree, 1)
    of_history = degree[some.item_rows] ** -config.history_exponent
    of_items = degree[some.item_rows] ** -config.item_exponent
    history = sparse_matrix(
        some.item_rows, some.user_rows, some.weights * of_users * of_history, (items, users)
    )
    ranked = sparse_matrix(some.user_rows, some.item_rows, some.weights * of_items, (users, items))

    def weights(rows: Tensor) -> Tensor:
        found: Tensor = (take_rows(history, rows) @ ranked).to_dense()
        found[torch.arange(len(rows)), rows] = 0
        return found

    had = sparse_matrix(train.user_rows, train.item_rows, train.weights, (users, items))
    popularity = torch.from_numpy(item_degree).float()[:, None]
    return list_model(had, popularity, largest(weights, items, config.neighbours))


def _thinned(train: Interactions, users: int) -> Interactions:
    """Return the interactions, of the longest histories only _LONGEST each."""
    counts = np.bincount(train.user_rows, minlength=users)
    if counts.max(initial=0) <= _LONGEST:
        return train
    order = np.argsort(train.user_rows, kind="stable")
    starts = np.cumsum(counts) - counts
    place = np.empty(len(train), np.int64)
    place[order] = np.arange(len(train)) - np.repeat(starts, counts)
    step = -(-counts // _LONGEST)
    return train.take(place % step[train.user_rows] == 0)
