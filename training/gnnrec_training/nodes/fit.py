"""The training of GraphSAGE and of the hybrid. U users, I items, N nodes, D dimensions."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from gnnrec_training.checkpoint import Checkpoint, NoCheckpoint
from gnnrec_training.checkpoint import State as Kept
from gnnrec_training.config import FitConfig, HybridConfig, NodeFitConfig, SageConfig
from gnnrec_training.errors import InvalidData, TrainingDiverged
from gnnrec_training.fit import learning_rate
from gnnrec_training.graph import Halves
from gnnrec_training.models.hybrid import Hybrid
from gnnrec_training.models.sage import GraphSAGE
from gnnrec_training.nodes.inputs import NodeInputs
from gnnrec_training.nodes.ridge import ridge
from gnnrec_training.nodes.sampling import sample
from gnnrec_training.nodes.steps import Draw, draw, item_weights, joined, loss
from gnnrec_training.validation import Validate

_LARGE = 2_000_000
_FANOUT = (15, 10)
_CHUNK = 65_536

Advance = Callable[[float, str], None]
"""advance(epochs, note): how many epochs are done, parts of one included."""


@dataclass
class Course:
    """How a fitting went."""

    losses: list[float] = field(default_factory=list)
    """The mean loss of each epoch."""
    validations: list[tuple[int, float]] = field(default_factory=list)
    """Epoch and score of each validation, of the averaged weights."""


def fit_sage(
    inputs: NodeInputs,
    config: SageConfig,
    seed: int,
    device: torch.device,
    advance: Advance = lambda epochs, note: None,
    validate: Validate | None = None,
    kept: Checkpoint | None = None,
) -> tuple[GraphSAGE, Course]:
    """Return the fitted model, on the CPU, and how it went."""
    training = config.training
    fanout = config.fanout
    if fanout is None and len(inputs.graph.user_rows) >= _LARGE:
        fanout = _FANOUT
    users = inputs.graph.users

    def step(model: nn.Module, drawn: Draw, generator: np.random.Generator) -> Tensor:
        neighbours = inputs.graph.neighbours(drawn.passing)
        seeds = np.concatenate([drawn.users, drawn.new.items + users, drawn.known.items + users])
        if fanout is None:
            x = _dropped(inputs.x, training.feature_dropout).to(device)
            embeddings = model(x, neighbours.csr().to(device))[torch.from_numpy(seeds).to(device)]
        else:
            nodes, edges = sample(neighbours, seeds, fanout, generator)
            x = _dropped(inputs.x[torch.from_numpy(nodes)], training.feature_dropout)
            embeddings = model(x.to(device), edges.to(device))[: len(seeds)]
        mine, new, known = _split(embeddings, drawn)
        return _loss(inputs, drawn, mine @ new.T, mine @ known.T, training)

    torch.manual_seed(seed)
    model = GraphSAGE(
        inputs.x.shape[1], config.hidden_dim, config.embedding_dim, training.dropout
    ).to(device)
    look = _look(validate, lambda fitted: embed_sage(fitted, inputs))
    course = _fit(model, step, inputs, training, seed, advance, look, kept or NoCheckpoint())
    return model.cpu(), course


@torch.no_grad()
def embed_sage(model: GraphSAGE, inputs: NodeInputs) -> Halves:
    """Return the embeddings of all nodes over the whole graph: (U, D), (I, D)."""
    embeddings = model.eval()(inputs.x, inputs.graph.neighbours().csr())
    return embeddings[: inputs.graph.users], embeddings[inputs.graph.users :]


def fit_hybrid(
    inputs: NodeInputs,
    graph: Halves,
    config: HybridConfig,
    seed: int,
    device: torch.device,
    advance: Advance = lambda epochs, note: None,
    validate: Validate | None = None,
    kept: Checkpoint | None = None,
) -> tuple[Hybrid, Course]:
    """Return the fitted model, on the CPU, and how it went.

    graph: users (U, D), items (I, D), frozen; zeros for nodes that have none.
    """
    training = config.training
    users = inputs.graph.users
    every = torch.cat(graph)

    def step(model: nn.Module, drawn: Draw, generator: np.random.Generator) -> Tensor:
        neighbours = inputs.graph.neighbours(drawn.passing)
        seeds = np.concatenate([drawn.users, drawn.new.items + users, drawn.known.items + users])
        rows = torch.from_numpy(seeds)
        learned = every[rows]
        learned[: len(drawn.users)][torch.from_numpy(drawn.isolated)] = 0
        learned[len(drawn.users) : len(drawn.users) + len(drawn.new.items)] = 0
        x = inputs.with_means(rows, neighbours)
        x = _dropped(x, training.feature_dropout)
        share = model.get_buffer("share")
        share.fill_(float(generator.random() >= config.still_share))
        embeddings = model(learned.to(device), x.to(device))
        share.fill_(1.0)  # as whoever looks at the model between steps expects it
        mine, new, known = _split(embeddings, drawn)
        return _loss(inputs, drawn, mine @ new.T, mine @ known.T, training)

    torch.manual_seed(seed)
    model = Hybrid(every.shape[1], inputs.x.shape[1], config.hidden_dim, training.dropout)
    model.scale.fill_(math.sqrt(_scale(inputs, graph, training, seed)))
    known = torch.from_numpy(np.flatnonzero(inputs.item_degrees))
    items = graph[1][known] * model.scale
    model.wide.weight.data = ridge(inputs.x[known + users], items, config.ridge_l2).T.contiguous()
    model = model.to(device)
    look = _look(validate, lambda fitted: embed_hybrid(fitted, inputs, graph))
    course = _fit(model, step, inputs, training, seed, advance, look, kept or NoCheckpoint())
    return model.cpu(), course


@torch.no_grad()
def embed_hybrid(model: Hybrid, inputs: NodeInputs, graph: Halves) -> Halves:
    """Return the embeddings of all nodes over the whole graph: (U, D), (I, D)."""
    neighbours, every = inputs.graph.neighbours(), torch.cat(graph)
    parts = [
        model.eval()(every[rows], inputs.with_means(rows, neighbours))
        for rows in torch.split(torch.arange(len(every)), _CHUNK)
    ]
    embeddings = torch.cat(parts)
    return embeddings[: inputs.graph.users], embeddings[inputs.graph.users :]


def _fit(
    model: nn.Module,
    step: Callable[[nn.Module, Draw, np.random.Generator], Tensor],
    inputs: NodeInputs,
    config: NodeFitConfig,
    seed: int,
    advance: Advance,
    look: Callable[[Any], float] | None,
    kept: Checkpoint,
) -> Course:
    """Fit the model in place, to a moving average of its weights; return how it went."""
    trained = np.flatnonzero(inputs.user_degrees)
    if np.count_nonzero(inputs.item_degrees) < 2:
        raise InvalidData("fewer than two items have interactions; there is nothing to tell apart")
    generator = np.random.default_rng([seed, 3])
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    average = AveragedModel(model, avg_fn=_moving(config.averaging))
    schedule = FitConfig(learning_rate=config.learning_rate, schedule="cosine", warmup=0.1)
    course = Course()
    begin = 0

    def stand(epoch: int) -> Kept:
        return {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": json.dumps(generator.bit_generator.state),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all(),
            "epoch": epoch,
            "losses": course.losses,
            "validations": course.validations,
        }

    if (found := kept.load()) is not None:
        model.load_state_dict(found["model"])
        average.load_state_dict(found["average"])
        optimizer.load_state_dict(found["optimizer"])
        generator.bit_generator.state = json.loads(found["generator"])
        torch.set_rng_state(found["torch"])
        if len(found["cuda"]) == torch.cuda.device_count():  # else it goes on elsewhere
            torch.cuda.set_rng_state_all(found["cuda"])
        begin, course.losses = found["epoch"], found["losses"]
        course.validations = [(epoch, score) for epoch, score in found["validations"]]
    model.train()
    for epoch in range(begin, config.epochs):
        note = _note(course)
        batches = list(_batches(generator.permutation(trained), config.batch_size))
        total = 0.0
        for place, users in enumerate(batches):
            advance(epoch + place / len(batches), note)
            done = (epoch + (place + 0.5) / len(batches)) / config.epochs
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(schedule, done)
            value = step(model, draw(inputs, users, config, generator), generator)
            if not bool(value.isfinite()):
                raise TrainingDiverged(
                    f"the loss of a node model is {value.item()} at epoch {epoch + 1}, step "
                    f"{place + 1}; a smaller learning_rate may help"
                )
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            average.update_parameters(model)
            total += value.item()
        course.losses.append(total / len(batches))
        if look is not None and (epoch + 1) % config.validate_every == 0:
            # what will be published; the weights being learned stay as they are
            course.validations.append((epoch + 1, look(copy.deepcopy(average.module).cpu())))
        kept.save(partial(stand, epoch + 1), f"epoch {epoch + 1}")
        advance(epoch + 1, _note(course))
    kept.finish(partial(stand, config.epochs))
    model.load_state_dict(average.module.state_dict())
    model.eval()
    return course


def _look(
    validate: Validate | None, embed: Callable[[Any], Halves]
) -> Callable[[Any], float] | None:
    return None if validate is None else lambda model: validate(embed(model))


def _note(course: Course) -> str:
    if not course.losses:
        return ""
    note = f"loss {course.losses[-1]:.4f}"
    return f"{note}, validation {course.validations[-1][1]:.4f}" if course.validations else note


def _batches(users: np.ndarray, size: int) -> Iterator[np.ndarray]:
    count = max(1, round(len(users) / size))
    return iter(np.array_split(users, count))


def _moving(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Return a moving average that forgets its beginning quickly."""

    def update(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        seen = int(count)
        return averaged + (current - averaged) * (1 - min(decay, seen / (seen + 10)))

    return update


def _split(embeddings: Tensor, drawn: Draw) -> tuple[Tensor, Tensor, Tensor]:
    sizes = [len(drawn.users), len(drawn.new.items), len(drawn.known.items)]
    mine, new, known = torch.split(embeddings, sizes)
    return mine, new, known


def _loss(
    inputs: NodeInputs, drawn: Draw, of_new: Tensor, of_known: Tensor, config: NodeFitConfig
) -> Tensor:
    """Return the loss among the new items, and what is added for the new among all."""
    of_new, of_known = of_new.cpu(), of_known.cpu()
    total = loss(of_new, drawn.new, item_weights(inputs, drawn.new.items, config), config)
    if config.known_weight == 0:
        return total
    both = joined(drawn.new, drawn.known)
    weights = item_weights(inputs, both.items, config)
    among_all = loss(torch.cat([of_new, of_known], 1), both, weights, config)
    return total + config.known_weight * among_all


def _dropped(x: Tensor, share: float) -> Tensor:
    """Return the inputs with features left out and the others raised; never the flags."""
    if share == 0:
        return x
    kept = torch.rand(x.shape) >= share
    kept[:, -2:] = True
    scaled = x / (1 - share)
    scaled[:, -2:] = x[:, -2:]
    return scaled * kept


def _scale(inputs: NodeInputs, graph: Halves, config: NodeFitConfig, seed: int) -> float:
    """Return the factor of the graph's scores under which the softmax finds the most."""
    generator = np.random.default_rng([seed, 4])
    trained = np.flatnonzero(inputs.user_degrees)
    users = generator.choice(trained, min(len(trained), 512), replace=False)
    drawn = draw(inputs, users, config, generator)
    scores = graph[0][torch.from_numpy(users)] @ graph[1][torch.from_numpy(drawn.known.items)].T
    question = drawn.known
    spread = float(scores.std()) or 1.0
    plain = config.model_copy(update={"loss": "softmax"})
    weights = item_weights(inputs, question.items, config)
    factors = [2.0**power / spread for power in np.arange(-3, 5.25, 0.25)]
    found = [float(loss(scores * factor, question, weights, plain)) for factor in factors]
    return float(factors[int(np.argmin(found))])
