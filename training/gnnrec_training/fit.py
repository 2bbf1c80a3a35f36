"""The training loop."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gnnrec_training import checkpoint
from gnnrec_training.checkpoint import Checkpoint, NoCheckpoint
from gnnrec_training.config import FitConfig
from gnnrec_training.errors import TrainingDiverged
from gnnrec_training.graph import Halves
from gnnrec_training.models.lightgcn import LightGCN
from gnnrec_training.steps import Steps
from gnnrec_training.validation import Validate

Progress = Callable[[float, str], None]
"""progress(epochs, note): how many epochs are done, parts of one included."""


@dataclass
class Best:
    """What validation has liked best: the model's layer 0 at that epoch, on the CPU."""

    score: float
    epoch: int
    layer0: Halves


@dataclass
class State:
    """Where a training stands: all that a resumed one needs to go on as if never stopped."""

    optimizer: torch.optim.Adam
    generator: torch.Generator
    epoch: int = 0
    """Epochs done."""
    losses: list[float] = field(default_factory=list)
    """The mean loss of each epoch."""
    validations: list[tuple[int, float]] = field(default_factory=list)
    """Epoch and score of each validation."""
    best: Best | None = None


def fit(
    model: LightGCN,
    steps: Steps,
    config: FitConfig,
    generator: torch.Generator,
    validate: Validate | None = None,
    kept: Checkpoint | None = None,
    progress: Progress = lambda epochs, note: None,
) -> tuple[Halves, State]:
    """Fit the model and return its embeddings: with patience those that validation liked best.

    Raises TrainingDiverged as soon as a loss is not finite.
    """
    kept = kept or NoCheckpoint()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    state = State(optimizer, generator)
    if (found := kept.load()) is not None:
        _go_on(model, state, found)
    with _repeatable():
        while state.epoch < config.epochs and not _is_stale(state, config):
            state.losses.append(_train_epoch(model, steps, config, state, progress))
            state.epoch += 1
            if validate is not None and state.epoch % config.validate_every == 0:
                _validate(model, state, validate, keep_best=config.patience is not None)
            kept.save(lambda: _stand(model, state), f"epoch {state.epoch}")
            progress(state.epoch, _note(state))
    kept.finish(lambda: _stand(model, state))
    if state.best is not None:
        model.take_layer0(state.best.layer0)
    return model.embeddings(), state


def _stand(model: LightGCN, state: State) -> checkpoint.State:
    """Return all that a training needs to go on from here."""
    best = state.best
    return {
        "parameters": {name: each.detach() for name, each in model.named_parameters()},
        "optimizer": state.optimizer.state_dict(),
        "generator": state.generator.get_state(),
        "epoch": state.epoch,
        "losses": state.losses,
        "validations": state.validations,
        "best": best and (best.score, best.epoch, *best.layer0),
    }


def _go_on(model: LightGCN, state: State, found: checkpoint.State) -> None:
    """Bring model and state to where a training stood."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(found["parameters"][name])
    state.optimizer.load_state_dict(found["optimizer"])
    state.generator.set_state(found["generator"])
    state.epoch, state.losses = found["epoch"], found["losses"]
    state.validations = [(epoch, score) for epoch, score in found["validations"]]
    if found["best"] is not None:
        score, epoch, users, items = found["best"]
        state.best = Best(score, epoch, (users, items))


def train_step(
    model: LightGCN,
    steps: Steps,
    optimizer: torch.optim.Optimizer,
    batch: Tensor,
    generator: torch.Generator,
) -> float:
    """Take one step on a batch and return its loss."""
    loss = steps.loss(model, batch, generator)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def learning_rate(config: FitConfig, done: float) -> float:
    """Return the learning rate after a share of all steps is done."""
    warm = min(1.0, done / config.warmup) if config.warmup > 0 else 1.0
    match config.schedule:
        case "constant":
            return config.learning_rate * warm
        case "linear":
            return config.learning_rate * warm * (1 - done)
        case "cosine":
            return config.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * done))


def _train_epoch(
    model: LightGCN, steps: Steps, config: FitConfig, state: State, progress: Progress
) -> float:
    batches = steps.epoch(state.generator)
    total, note = 0.0, _note(state)
    for step, batch in enumerate(batches):
        progress(state.epoch + step / len(batches), note)
        # half a step in, so that the first one moves and the last one still does
        rate = learning_rate(config, (state.epoch + (step + 0.5) / len(batches)) / config.epochs)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        loss = train_step(model, steps, state.optimizer, batch, state.generator)
        if not math.isfinite(loss):
            raise TrainingDiverged(
                f"the loss is {loss} at epoch {state.epoch + 1}, step {step + 1}, learning rate "
                f"{rate:g}; a smaller learning_rate may help"
            )
        total += loss * len(batch)
    return total / sum(map(len, batches))


def _validate(model: LightGCN, state: State, validate: Validate, *, keep_best: bool) -> None:
    score = validate(model.embeddings())
    state.validations.append((state.epoch, score))
    if keep_best and (state.best is None or score > state.best.score):
        state.best = Best(score, state.epoch, model.layer0())


def _is_stale(state: State, config: FitConfig) -> bool:
    """Tell whether `patience` validations have passed without a better one."""
    if config.patience is None or state.best is None:
        return False
    return sum(epoch > state.best.epoch for epoch, _ in state.validations) >= config.patience


def _note(state: State) -> str:
    if not state.losses:
        return ""
    note = f"loss {state.losses[-1]:.4f}"
    if state.best is not None:
        note += f", best {state.best.score:.4f} at epoch {state.best.epoch}"
    elif state.validations:
        note += f", validation {state.validations[-1][1]:.4f}"
    return note


@contextmanager
def _repeatable() -> Iterator[None]:
    """Have gradients of gathered rows added up in a fixed order; it is the faster way as well."""
    before = torch.are_deterministic_algorithms_enabled()
    settings: Any = torch.utils.deterministic
    fills = settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(not torch.cuda.is_available())
    settings.fill_uninitialized_memory = False  # nothing here reads any
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        settings.fill_uninitialized_memory = fills
