"""The training of GraphSAGE and of the hybrid, by episodes (see fitting/episodes).

An episode lets messages pass over a part P of the edges; N(v) are node v's neighbours over P, all
or a sample of them, and x_v are its features (registry.features).

GraphSAGE (Hamilton et al. 2017, Algorithm 1, lines 4 and 5 with the mean, without normalisation):

    h_v = relu(W_1 x_v + W_2 mean over u in N(v) of x_u + b_1)
    z_v =      W_3 h_v + W_4 mean over u in N(v) of h_u + b_2

The hybrid adds features to frozen graph embeddings e_v, which are zero for nodes that have none: in
an episode the new items and the isolated users, as they will be when somebody asks for new nodes.
Its features x'_v are x_v with the mean of the neighbours' over P beside them:

    g_v = scale * e_v
    f_v = MLP([g_v, x'_v]) + W x'_v            wide and deep: Cheng et al. 2016, eq. 3
    z_v = g_v + share * f_v                    where g_v is not zero
    z_v = f_v                                  where it is

`share` is 0 in a share still_share of the steps and 1 in the others: in the first, nodes seen in
training keep their graph embedding, as validation may decide for the published model, and the new
ones learn to stand beside them. Before the first step

    scale^2 = the factor of the scores <e_u, e_i> under which their softmax loss is least
    W       = the ridge regression from x_i to g_i over the items with interactions
    MLP     = 0

By default AdamW's learning rate warms up over a tenth of the steps and falls by a cosine. What is
validated and published is a moving average of the weights: after n steps,
average += (1 - min(averaging, n / (n + 10))) * (weights - average).

    x (N, F)    embeddings z of an episode's nodes (B + C + C', D)    graph: (U, D), (I, D)

U users, I items, N = U + I nodes (users first), F features, D dimensions.
"""

import copy
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from gnnrec_training import seeds
from gnnrec_training.config import HybridConfig, NodeFitConfig, SageConfig
from gnnrec_training.errors import InvalidData
from gnnrec_training.evaluation.validation import Validate
from gnnrec_training.fitting.checkpoint import Checkpoint, Saved
from gnnrec_training.fitting.episodes import (
    Episode,
    draw_episode,
    episode_loss,
    item_weights,
    question_loss,
)
from gnnrec_training.fitting.loop import History, train_epochs
from gnnrec_training.graph.neighbours import sample_neighbourhood
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.models.hybrid import Hybrid, embed_hybrid
from gnnrec_training.models.node_inputs import FLAGS, NodeInputs
from gnnrec_training.models.ridge import ridge
from gnnrec_training.models.sage import GraphSAGE, embed_sage
from gnnrec_training.reporter import Progress

_LARGE = 2_000_000
_FANOUT = (15, 10)
_SCALE_USERS = 512

Loss = Callable[[Any, Episode, np.random.Generator], Tensor]
"""loss(model, episode, generator) -> ()."""


def fit_sage(
    inputs: NodeInputs,
    config: SageConfig,
    seed: int,
    device: torch.device,
    progress: Progress = lambda epochs, note: None,
    validate: Validate | None = None,
    checkpoint: Checkpoint | None = None,
    stop_after: int | None = None,
) -> tuple[GraphSAGE, History]:
    """Return the fitted model, on the CPU, and how it went: with patience, of the best validation.

    stop_after: end after so many epochs of the schedule, if not earlier.
    """
    training, graph = config.training, inputs.graph
    fanout = config.fanout
    if fanout is None and len(graph.user_rows) >= _LARGE:
        fanout = _FANOUT

    def loss(model: GraphSAGE, episode: Episode, generator: np.random.Generator) -> Tensor:
        neighbours = graph.neighbours(episode.passing)
        nodes = episode.nodes(graph.users)
        if fanout is None:
            x = _dropped(inputs.x, training.feature_dropout).to(device)
            embeddings = model(x, neighbours.csr().to(device))[torch.from_numpy(nodes).to(device)]
        else:
            sampled, edges = sample_neighbourhood(neighbours, nodes, fanout, generator)
            x = _dropped(inputs.x[torch.from_numpy(sampled)], training.feature_dropout)
            embeddings = model(x.to(device), edges.to(device))[: len(nodes)]
        return episode_loss(embeddings, episode, inputs, training)

    torch.manual_seed(seed)
    model = GraphSAGE(
        inputs.x.shape[1], config.hidden_dim, config.embedding_dim, training.dropout
    ).to(device)
    trained = _Training(
        model, loss, lambda fitted: embed_sage(fitted, inputs), inputs, training, seed
    )
    history = train_epochs(trained, training, validate, checkpoint, progress, stop_after)
    return model.cpu(), history


def fit_hybrid(
    inputs: NodeInputs,
    graph: EmbeddingPair,
    config: HybridConfig,
    seed: int,
    device: torch.device,
    progress: Progress = lambda epochs, note: None,
    validate: Validate | None = None,
    checkpoint: Checkpoint | None = None,
    stop_after: int | None = None,
) -> tuple[Hybrid, History]:
    """Return the fitted model, on the CPU, and how it went: with patience, of the best validation.

    graph: users (U, D), items (I, D), frozen; zeros for nodes that have none. stop_after: end after
    so many epochs of the schedule, if not earlier.
    """
    training = config.training
    learned = torch.cat(graph)

    def loss(model: Hybrid, episode: Episode, generator: np.random.Generator) -> Tensor:
        neighbours = inputs.graph.neighbours(episode.passing)
        rows = torch.from_numpy(episode.nodes(inputs.graph.users))
        users, new = len(episode.users), len(episode.new.items)
        embeddings = learned[rows]
        embeddings[:users][torch.from_numpy(episode.isolated)] = 0
        embeddings[users : users + new] = 0
        x = _dropped(inputs.with_means(rows, neighbours), training.feature_dropout)
        model.share.fill_(float(generator.random() >= config.still_share))
        embeddings = model(embeddings.to(device), x.to(device))
        model.share.fill_(1.0)  # validation between the steps looks at the model in full
        return episode_loss(embeddings, episode, inputs, training)

    torch.manual_seed(seed)
    model = Hybrid(learned.shape[1], inputs.x.shape[1], config.hidden_dim, training.dropout)
    model.scale.fill_(math.sqrt(_scale(inputs, graph, training, seed)))
    known = torch.from_numpy(np.flatnonzero(inputs.item_degrees))
    items = graph[1][known] * model.scale
    features = inputs.x[known + inputs.graph.users]
    model.wide.weight.data = ridge(features, items, config.ridge_l2).T.contiguous()
    model = model.to(device)
    trained = _Training(
        model, loss, lambda fitted: embed_hybrid(fitted, inputs, graph), inputs, training, seed
    )
    history = train_epochs(trained, training, validate, checkpoint, progress, stop_after)
    return model.cpu(), history


class _Training:
    """A node model in training; what is validated and kept is a moving average of its weights."""

    divergence = (
        "the loss of a node model is {loss} at epoch {epoch}, step {step}; a smaller "
        "learning_rate may help"
    )

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        embed: Callable[[Any], EmbeddingPair],
        inputs: NodeInputs,
        config: NodeFitConfig,
        seed: int,
    ) -> None:
        """Raise InvalidData where fewer than two items have interactions."""
        self._model, self._loss, self._embed = model.train(), loss, embed
        self._inputs, self._config = inputs, config
        self._users = np.flatnonzero(inputs.user_degrees)
        if np.count_nonzero(inputs.item_degrees) < 2:
            raise InvalidData(
                "fewer than two items have interactions; there is nothing to tell apart"
            )
        self._generator = np.random.default_rng([seed, seeds.EPISODES])
        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._average = AveragedModel(model, avg_fn=_moving_average(config.averaging))

    def epoch(self) -> Sequence[NDArray[np.int64]]:
        shuffled = self._generator.permutation(self._users)
        count = max(1, round(len(shuffled) / self._config.batch_size))
        return np.array_split(shuffled, count)

    def weight(self, batch: NDArray[np.int64]) -> int:
        return 1  # the batches are of one size, give or take one

    def step(self, batch: NDArray[np.int64], rate: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        episode = draw_episode(self._inputs, batch, self._config, self._generator)
        loss = self._loss(self._model, episode, self._generator)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._average.update_parameters(self._model)
        return loss.item()

    def embeddings(self) -> EmbeddingPair:
        # on a copy, for `embed` puts the model into evaluation mode
        return self._embed(copy.deepcopy(self._average.module).cpu())

    def parameters(self) -> tuple[Tensor, ...]:
        averaged = self._average.module.state_dict()
        return tuple(values.to("cpu", copy=True) for values in averaged.values())

    def take(self, parameters: tuple[Tensor, ...]) -> None:
        names = self._average.module.state_dict()
        self._model.load_state_dict(dict(zip(names, parameters, strict=True)))
        self._model.eval()

    def state(self) -> Saved:
        return {
            "model": self._model.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": json.dumps(self._generator.bit_generator.state),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all(),
        }

    def restore(self, saved: Saved) -> None:
        self._model.load_state_dict(saved["model"])
        self._average.load_state_dict(saved["average"])
        self._optimizer.load_state_dict(saved["optimizer"])
        self._generator.bit_generator.state = json.loads(saved["generator"])
        torch.set_rng_state(saved["torch"])
        # a machine with other devices goes on with random numbers of its own
        if len(saved["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(saved["cuda"])


def _moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Return the update of an exponential moving average whose decay grows from 0 to `decay`."""

    def update(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        seen = int(count)
        return averaged + (current - averaged) * (1 - min(decay, seen / (seen + 10)))

    return update


def _dropped(x: Tensor, share: float) -> Tensor:
    """Return the inputs with a share of the features zeroed and the others raised to make up.

    x (N, F) -> (N, F); the flags of what is a user and what an item stay.
    """
    if share == 0:
        return x
    kept = torch.rand(x.shape) >= share
    kept[:, -FLAGS:] = True
    scaled = x / (1 - share)
    scaled[:, -FLAGS:] = x[:, -FLAGS:]
    return scaled * kept


def _scale(inputs: NodeInputs, graph: EmbeddingPair, config: NodeFitConfig, seed: int) -> float:
    """Return the factor of the graph's scores under which their softmax loss is least."""
    generator = np.random.default_rng([seed, seeds.GRAPH_SCALE])
    trained = np.flatnonzero(inputs.user_degrees)
    users = generator.choice(trained, min(len(trained), _SCALE_USERS), replace=False)
    question = draw_episode(inputs, users, config, generator).known
    scores = graph[0][torch.from_numpy(users)] @ graph[1][torch.from_numpy(question.items)].T
    spread = float(scores.std()) or 1.0
    plain = config.model_copy(update={"loss": "softmax"})
    weights = item_weights(inputs, question.items, config)
    factors = [2.0**power / spread for power in np.arange(-3, 5.25, 0.25)]
    losses = [float(question_loss(scores * factor, question, weights, plain)) for factor in factors]
    return float(factors[int(np.argmin(losses))])
