"""Where nodes without interactions are placed. U users, I items, D dimensions."""

import numpy as np
import torch

from gnnrec_training.data.dataset import Interactions
from gnnrec_training.graph.propagation import EmbeddingPair


def place_unseen(embeddings: EmbeddingPair, edges: Interactions) -> EmbeddingPair:
    """Return copies with an embedding for nodes without edges.

    (U, D), (I, D) -> (U, D), (I, D). Such a user is the mean of the others; such an item is zero
    and so scores 0 for everybody.
    """
    users, items = (half.numpy(force=True).copy() for half in embeddings)
    has_items = np.bincount(edges.user_rows, minlength=len(users)) > 0
    users[~has_items] = users[has_items].mean(axis=0)
    items[np.bincount(edges.item_rows, minlength=len(items)) == 0] = 0
    return torch.from_numpy(users), torch.from_numpy(items)
