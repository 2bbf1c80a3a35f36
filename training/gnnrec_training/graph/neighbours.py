"""Who passes messages to whom: all neighbours under a mask of edges, or a sample of them.

U users, I items, N = U + I nodes (users first), E directed edges, S seeds.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec_registry.files.arrays import distinct
from gnnrec_training.data.sorting import order_by
from gnnrec_training.graph.sparse import csr_tensor

Nodes = NDArray[np.int64]


@dataclass(frozen=True)
class Neighbours:
    """Directed edges by target: those of node n come from sources[indptr[n] : indptr[n + 1]]."""

    indptr: NDArray[np.int64]
    """(N + 1,)"""
    sources: NDArray[np.int32]
    """(E,)"""

    def csr(self) -> Tensor:
        """Return the adjacency, rows the targets: (N, N) of ones."""
        count = len(self.indptr) - 1
        return csr_tensor(
            torch.from_numpy(self.indptr.astype(np.int32)),
            torch.from_numpy(self.sources),
            torch.ones(len(self.sources)),
            (count, count),
        )


class Bipartite:
    """The interactions sorted both ways, so that neighbours under a mask are found quickly."""

    def __init__(
        self, user_rows: NDArray[np.int32], item_rows: NDArray[np.int32], users: int, items: int
    ) -> None:
        """Sort the interactions (E / 2,) by user and by item."""
        by_user = order_by(user_rows, item_rows)
        self.user_rows, self.item_rows = user_rows[by_user], item_rows[by_user]
        self._by_item = order_by(self.item_rows, self.user_rows)
        self.users, self.items = users, items

    def neighbours(self, passing: NDArray[np.bool_] | None = None) -> Neighbours:
        """Return the neighbours in both directions over some interactions; over all if None.

        passing (E / 2,): by interaction, in the order of user_rows and item_rows
        """
        order = self._by_item
        if passing is None:
            passing = np.ones(len(self.user_rows), bool)
        to_items = order[passing[order]]
        counts = np.concatenate(
            [
                np.bincount(self.user_rows[passing], minlength=self.users),
                np.bincount(self.item_rows[passing], minlength=self.items),
            ]
        )
        sources = np.concatenate([self.item_rows[passing] + self.users, self.user_rows[to_items]])
        return Neighbours(np.concatenate([[0], np.cumsum(counts)]), sources.astype(np.int32))


def sample_neighbourhood(
    neighbours: Neighbours, seeds: Nodes, fanout: tuple[int, ...], generator: np.random.Generator
) -> tuple[Nodes, Tensor]:
    """Return the seeds with their sampled neighbourhood: nodes (M,), and edges (2, E) among them.

    seeds (S,): distinct; they are the first S nodes. fanout: how many neighbours to draw for each
    node, hop by hop; a node with no more than that keeps all. They are drawn with replacement, and
    one drawn twice is one edge. Edges are (source, target), as places in nodes.
    """
    place = np.full(len(neighbours.indptr) - 1, -1)
    place[seeds] = np.arange(len(seeds))
    nodes, frontier = [seeds], seeds
    found = len(seeds)
    sources, targets = [], []
    for count in fanout:
        source, target = _draw(neighbours, frontier, count, generator)
        sources.append(source)
        targets.append(target)
        new = distinct(source[place[source] < 0])
        place[new] = found + np.arange(len(new))
        nodes.append(new)
        found += len(new)
        frontier = new
    edges = np.stack([place[np.concatenate(sources)], place[np.concatenate(targets)]])
    return np.concatenate(nodes), torch.from_numpy(edges)


def _draw(
    neighbours: Neighbours, targets: Nodes, count: int, generator: np.random.Generator
) -> tuple[Nodes, Nodes]:
    """Return distinct edges into the targets, at most `count` each: sources, targets (E,)."""
    starts = neighbours.indptr[targets]
    degrees = neighbours.indptr[targets + 1] - starts
    few = degrees <= count
    lines = np.repeat(np.arange(len(targets))[few], degrees[few])
    first = np.cumsum(degrees[few]) - degrees[few]
    offsets = np.arange(len(lines)) - np.repeat(first, degrees[few])
    many = np.flatnonzero(~few)
    drawn = (generator.random((len(many), count)) * degrees[many, None]).astype(np.int64)
    lines = np.concatenate([lines, np.repeat(many, count)])
    places = starts[lines] + np.concatenate([offsets, drawn.ravel()])
    distinct, chosen = np.unique(places, return_index=True)
    # a place belongs to one target alone, so distinct places are distinct edges
    return neighbours.sources[distinct].astype(np.int64), targets[lines[chosen]]
