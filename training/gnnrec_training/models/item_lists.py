"""Item lists: for each item the other items that it speaks for, largest weights first kept.

U users, I items, N neighbours.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gnnrec_registry import ItemLists
from gnnrec_training.graph.propagation import EmbeddingPair

ListModel = tuple[EmbeddingPair, Tensor, ItemLists]
"""Embeddings of users (U, 1) and items (I, 1), the fold (I, 1), and the lists that make the score.

The embeddings only order the items that no list reaches: by popularity, below all others.
"""

_NUMBERS = 1 << 25
"""How many weights are looked at together."""


def largest(weights: Callable[[Tensor], Tensor], items: int, neighbours: int) -> ItemLists:
    """Return the `neighbours` largest positive weights of each item.

    weights(rows (B,)) -> (B, I), called for all items in ascending blocks
    """
    counts, columns, values = [], [], []
    height = max(1, _NUMBERS // items)
    for rows in torch.split(torch.arange(items), height):
        top, places = weights(rows).topk(min(neighbours, items), dim=1)
        places, order = places.sort(dim=1)
        top = top.gather(1, order)
        there = top > 0
        counts.append(there.sum(1))
        columns.append(places[there].int())
        values.append(top[there].float())
    indptr = torch.cat([torch.zeros(1, dtype=torch.long), torch.cat(counts).cumsum(0)])
    return ItemLists(indptr.numpy(), torch.cat(columns).numpy(), torch.cat(values).numpy(), 0.0)


def list_model(had: Tensor, item_degree: Tensor, lists: ItemLists) -> ListModel:
    """Return lists as a model: had (U, I), item_degree (I, 1).

    A new user's embedding is the weighted mean of the fold's rows, which is 1.
    """
    least = float(lists.weights.min()) if len(lists.weights) else 1.0
    popularity = item_degree / item_degree.max().clamp(min=1)
    embeddings = torch.ones(had.shape[0], 1), popularity * (least / 2)
    return embeddings, torch.ones(len(item_degree), 1), lists


def joined(parts: list[tuple[ItemLists, float]], items: int) -> ItemLists:
    """Return the weighted sum of several lists of the same items; weights above 0."""
    lines = np.concatenate([np.repeat(np.arange(items), np.diff(part.indptr)) for part, _ in parts])
    columns = np.concatenate([part.items for part, _ in parts])
    values = np.concatenate([part.weights.astype(np.float64) * weight for part, weight in parts])
    keys, places = np.unique(lines * items + columns, return_inverse=True)
    sums = np.bincount(places, values, len(keys)).astype(np.float32)
    keys, sums = keys[sums > 0], sums[sums > 0]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(keys // items, minlength=items))])
    return ItemLists(indptr.astype(np.int64), (keys % items).astype(np.int32), sums, 0.0)
