"""What a step of the node models asks: which items its users find, some of them as if new.

B users and C items of a step, N nodes, D dimensions.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec_training.config import NodeFitConfig
from gnnrec_training.losses import bce, listwise
from gnnrec_training.nodes.inputs import NodeInputs

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Question:
    """Items of a step, and which of its users find them."""

    items: NDArray[np.int64]
    """(C,): rows."""
    found: Tensor
    """(B, C): 1 where a user is to find an item."""
    given: Tensor
    """(B, C): whether the edge passes messages, so that to find it is no merit."""


@dataclass(frozen=True)
class Draw:
    """The users of a step, the edges that pass messages, and the questions."""

    users: NDArray[np.int64]
    """(B,): rows."""
    isolated: Mask
    """(B,): whose edges all are left out."""
    passing: Mask
    """(E,): by pair of the graph."""
    new: Question
    """Items that no message passes from or to."""
    known: Question


def draw(
    inputs: NodeInputs,
    users: NDArray[np.int64],
    config: NodeFitConfig,
    generator: np.random.Generator,
) -> Draw:
    """Draw a step for `users` (B,)."""
    graph = inputs.graph
    trained = np.flatnonzero(inputs.item_degrees)
    count = min(max(1, round(config.new_share * len(trained))), len(trained) - 1)
    shuffled = generator.permutation(trained)
    new, known = shuffled[:count], shuffled[count:]
    is_new = np.zeros(graph.items, bool)
    is_new[new] = True
    isolated = generator.random(len(users)) < config.isolated_share
    is_isolated = np.zeros(graph.users, bool)
    is_isolated[users[isolated]] = True
    dropped = generator.random(len(graph.user_rows)) < config.edge_dropout
    passing = ~(is_new[graph.item_rows] | is_isolated[graph.user_rows] | dropped)
    mine = np.full(graph.users, -1)
    mine[users] = np.arange(len(users))
    lines = mine[graph.user_rows]
    pairs = np.flatnonzero(lines >= 0)
    return Draw(
        users,
        isolated,
        passing,
        _question(inputs, new[: config.candidates], lines, pairs, passing, len(users)),
        _question(inputs, known[: config.candidates], lines, pairs, passing, len(users)),
    )


def _question(
    inputs: NodeInputs,
    items: NDArray[np.int64],
    lines: NDArray[np.int64],
    pairs: NDArray[np.int64],
    passing: Mask,
    users: int,
) -> Question:
    place = np.full(inputs.graph.items, -1)
    place[items] = np.arange(len(items))
    places = place[inputs.graph.item_rows[pairs]]
    pairs, places = pairs[places >= 0], places[places >= 0]
    asked = ~passing[pairs]
    found = torch.zeros(users, len(items))
    found[torch.from_numpy(lines[pairs[asked]]), torch.from_numpy(places[asked])] = 1
    given = torch.zeros(users, len(items), dtype=torch.bool)
    given[torch.from_numpy(lines[pairs[~asked]]), torch.from_numpy(places[~asked])] = True
    return Question(items, found, given)


def joined(first: Question, second: Question) -> Question:
    """Return both questions as one."""
    return Question(
        np.concatenate([first.items, second.items]),
        torch.cat([first.found, second.found], 1),
        torch.cat([first.given, second.given], 1),
    )


def loss(scores: Tensor, question: Question, weights: Tensor, config: NodeFitConfig) -> Tensor:
    """Return the loss of scores (B, C) for a question; 0 if nothing is to be found.

    weights (C,): what an interaction with each item counts.
    """
    found = question.found
    if not bool(found.any()):
        return scores.sum() * 0
    scores = scores.masked_fill(question.given, -torch.inf)
    if config.loss == "bce":
        return bce(scores[found.bool()], scores[~(found.bool() | question.given)])
    counts = found.sum(1, keepdim=True).clamp(min=1)
    return listwise(scores, found, weights * counts**-config.activity_exponent)


def item_weights(inputs: NodeInputs, items: NDArray[np.int64], config: NodeFitConfig) -> Tensor:
    """Return what an interaction with each item counts: (C,)."""
    degrees = np.maximum(inputs.item_degrees[items], 1.0)
    return torch.from_numpy(degrees**-config.popularity_exponent).float()
