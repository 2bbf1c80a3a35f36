"""Episodes: which edges a step of the node models hides, and what it asks about them.

GraphSAGE and the hybrid must place users and items that nobody interacted with yet, so each step
makes some. (The same is done by Volkovs et al. 2017, "DropoutNet: Addressing Cold Start in
Recommender Systems".) Let E be the training interactions, d_i the degree of item i in E, and take
B users. The episode draws

    N   the new items: a share new_share of the items with interactions
    O   the isolated users: each of the B with probability isolated_share
    P   the edges that pass messages: (u, i) in E with i not in N and u not in O, and each of these
        left out with probability edge_dropout

A question about items C, at most `candidates` of N (new) or of the others (known), is

    y_ui = 1 for (u, i) in E without P    the targets: hidden, and asked for
    s_ui = -inf for (u, i) in P           visible: it passes messages, so to find it is no merit

With scores s_ui = <z_u, z_i> of the model's embeddings over the edges P, the softmax loss is

    w_ui = d_i^-popularity_exponent * (sum over j of y_uj)^-activity_exponent
    L(C) = - sum of w_ui y_ui log softmax over j in C of s_uj  /  sum of w_ui y_ui

and `bce` takes the mean of -log sigmoid(s_ui) over the targets plus the mean of -log sigmoid(-s_ui)
over the pairs that are neither targets nor visible. The episode's loss is

    L(new) + known_weight * L(new and known)

The first term alone lets an item compete with others that are as new as it is; the second sets new
and known items beside each other, and asks for the left-out edges of known ones.

    users (B,)  passing (E,)  new.items (C,)  known.items (C',)
    targets, visible, scores (B, C)    embeddings (B + C + C', D)
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec_training.config import NodeFitConfig
from gnnrec_training.losses.formulas import bce, listwise
from gnnrec_training.models.node_inputs import NodeInputs


@dataclass(frozen=True)
class Question:
    """Items of an episode, and which of its users interacted with them."""

    items: NDArray[np.int64]
    """(C,): rows."""
    targets: Tensor
    """(B, C): 1 where an interaction is hidden and asked for."""
    visible: Tensor
    """(B, C): true where an interaction passes messages, so that it is no question."""


@dataclass(frozen=True)
class Episode:
    """The users of a step, the edges that pass messages, and what is asked."""

    users: NDArray[np.int64]
    """(B,): rows."""
    isolated: NDArray[np.bool_]
    """(B,): the users without any edge in this episode."""
    passing: NDArray[np.bool_]
    """(E,): which interactions of the graph pass messages."""
    new: Question
    """About items that have no edge in this episode."""
    known: Question
    """About the other items."""

    def nodes(self, users: int) -> NDArray[np.int64]:
        """Return the node rows of users, new items and known items: (B + C + C',).

        users: how many the graph has, for items come after them
        """
        return np.concatenate([self.users, self.new.items + users, self.known.items + users])


def draw_episode(
    inputs: NodeInputs,
    users: NDArray[np.int64],
    config: NodeFitConfig,
    generator: np.random.Generator,
) -> Episode:
    """Draw an episode for `users` (B,)."""
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
    place = np.full(graph.users, -1)
    place[users] = np.arange(len(users))
    lines = place[graph.user_rows]
    pairs = np.flatnonzero(lines >= 0)
    return Episode(
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
    passing: NDArray[np.bool_],
    users: int,
) -> Question:
    """Return what is asked about some items.

    lines (E,): the place in the episode of each interaction's user, -1 for none; pairs: the
    interactions whose users have one
    """
    place = np.full(inputs.graph.items, -1)
    place[items] = np.arange(len(items))
    places = place[inputs.graph.item_rows[pairs]]
    pairs, places = pairs[places >= 0], places[places >= 0]
    asked = ~passing[pairs]
    targets = torch.zeros(users, len(items))
    targets[torch.from_numpy(lines[pairs[asked]]), torch.from_numpy(places[asked])] = 1
    visible = torch.zeros(users, len(items), dtype=torch.bool)
    visible[torch.from_numpy(lines[pairs[~asked]]), torch.from_numpy(places[~asked])] = True
    return Question(items, targets, visible)


def episode_loss(
    embeddings: Tensor, episode: Episode, inputs: NodeInputs, config: NodeFitConfig
) -> Tensor:
    """Return the loss among the new items, plus `known_weight` times that among all.

    embeddings (B + C + C', D), as `Episode.nodes` orders them -> ()
    """
    new, known = episode.new, episode.known
    sizes = [len(episode.users), len(new.items), len(known.items)]
    of_users, of_new, of_known = torch.split(embeddings, sizes)
    new_scores, known_scores = (of_users @ of_new.T).cpu(), (of_users @ of_known.T).cpu()
    loss = question_loss(new_scores, new, item_weights(inputs, new.items, config), config)
    if config.known_weight == 0:
        return loss
    both = _joined(new, known)
    weights = item_weights(inputs, both.items, config)
    among_all = question_loss(torch.cat([new_scores, known_scores], 1), both, weights, config)
    return loss + config.known_weight * among_all


def question_loss(
    scores: Tensor, question: Question, weights: Tensor, config: NodeFitConfig
) -> Tensor:
    """Return the loss of scores (B, C) for a question; 0 if nothing is asked for.

    weights (C,): what an interaction with each item counts.
    """
    targets = question.targets
    if not bool(targets.any()):
        return scores.sum() * 0
    scores = scores.masked_fill(question.visible, -torch.inf)
    if config.loss == "bce":
        return bce(scores[targets.bool()], scores[~(targets.bool() | question.visible)])
    counts = targets.sum(1, keepdim=True).clamp(min=1)
    return listwise(scores, targets, weights * counts**-config.activity_exponent)


def item_weights(inputs: NodeInputs, items: NDArray[np.int64], config: NodeFitConfig) -> Tensor:
    """Return what an interaction with each item counts, by its popularity: (C,)."""
    degrees = np.maximum(inputs.item_degrees[items], 1.0)
    return torch.from_numpy(degrees**-config.popularity_exponent).float()


def _joined(first: Question, second: Question) -> Question:
    """Return both questions as one."""
    return Question(
        np.concatenate([first.items, second.items]),
        torch.cat([first.targets, second.targets], 1),
        torch.cat([first.visible, second.visible], 1),
    )
