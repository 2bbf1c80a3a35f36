"""The training loop that fits every model: epochs, learning rate, validation, checkpoints."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from gnnrec_training.config import FitConfig
from gnnrec_training.errors import TrainingDiverged
from gnnrec_training.evaluation.validation import Validate
from gnnrec_training.fitting.checkpoint import Checkpoint, Saved
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.reporter import Progress


@dataclass
class Best:
    """The validation with the highest score, and the parameters that the model had then."""

    score: float
    epoch: int
    parameters: tuple[Tensor, ...]
    """Copies on the CPU."""


@dataclass
class History:
    """How a training went."""

    epochs: int = 0
    """How many are done."""
    losses: list[float] = field(default_factory=list)
    """The mean loss of each epoch."""
    validations: list[tuple[int, float]] = field(default_factory=list)
    """Epoch and score of each validation."""
    best: Best | None = None
    """Kept only by a training with patience."""

    def is_stale(self, patience: int | None) -> bool:
        """Tell whether `patience` validations have passed since the best one."""
        if patience is None or self.best is None:
            return False
        return sum(epoch > self.best.epoch for epoch, _ in self.validations) >= patience

    def note(self) -> str:
        """Return the last loss and score in words; nothing before the first epoch is done."""
        if not self.losses:
            return ""
        note = f"loss {self.losses[-1]:.4f}"
        if self.best is not None:
            note += f", best {self.best.score:.4f} at epoch {self.best.epoch}"
        elif self.validations:
            note += f", validation {self.validations[-1][1]:.4f}"
        return note


class Training(Protocol):
    """A model with its optimizer, its batches and its random numbers."""

    divergence: str
    """The error's message where a loss is not finite: {loss}, {epoch}, {step}, {rate}."""

    def epoch(self) -> Sequence[Any]:
        """Return the batches of an epoch, in a random order."""

    def weight(self, batch: Any) -> int:
        """Return what a batch counts in the mean loss of its epoch."""

    def step(self, batch: Any, rate: float) -> float:
        """Take one step of the optimizer at a learning rate and return the loss before it."""

    def embeddings(self) -> EmbeddingPair:
        """Return the embeddings that would be published now, on the CPU."""

    def parameters(self) -> tuple[Tensor, ...]:
        """Return copies of what must be kept of the best epoch, on the CPU."""

    def state(self) -> Saved:
        """Return model, optimizer and random numbers: all that a later run needs to go on."""

    def restore(self, saved: Saved) -> None:
        """Go on from such a state."""


def train_epochs(
    training: Training,
    config: FitConfig,
    validate: Validate | None,
    checkpoint: Checkpoint,
    progress: Progress,
) -> History:
    """Train for the configured epochs, or until `patience` validations brought nothing better.

    Goes on from the checkpoint if there is one, bit by bit as if it had never been stopped. Raises
    TrainingDiverged as soon as a loss is not finite.
    """
    history = History()
    if (saved := checkpoint.load()) is not None:
        training.restore(saved)
        _restore(history, saved)
    while history.epochs < config.epochs and not history.is_stale(config.patience):
        history.losses.append(_train_epoch(training, config, history, progress))
        history.epochs += 1
        if validate is not None and history.epochs % config.validate_every == 0:
            score = validate(training.embeddings())
            history.validations.append((history.epochs, score))
            better = history.best is None or score > history.best.score
            if config.patience is not None and better:
                history.best = Best(score, history.epochs, training.parameters())
        checkpoint.save(lambda: _saved(training, history), f"epoch {history.epochs}")
        progress(history.epochs, history.note())
    checkpoint.finish(lambda: _saved(training, history))
    return history


def _train_epoch(
    training: Training, config: FitConfig, history: History, progress: Progress
) -> float:
    """Return the mean loss of an epoch."""
    batches = training.epoch()
    total, note = 0.0, history.note()
    for step, batch in enumerate(batches):
        progress(history.epochs + step / len(batches), note)
        # half a step in, so that the first one moves and the last one still does
        done = (history.epochs + (step + 0.5) / len(batches)) / config.epochs
        rate = learning_rate(config, done)
        loss = training.step(batch, rate)
        if not math.isfinite(loss):
            raise TrainingDiverged(
                training.divergence.format(
                    loss=loss, epoch=history.epochs + 1, step=step + 1, rate=f"{rate:g}"
                )
            )
        total += loss * training.weight(batch)
    return total / sum(map(training.weight, batches))


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


def _saved(training: Training, history: History) -> Saved:
    best = history.best
    return {
        **training.state(),
        "epoch": history.epochs,
        "losses": history.losses,
        "validations": history.validations,
        "best": best and (best.score, best.epoch, *best.parameters),
    }


def _restore(history: History, saved: Saved) -> None:
    history.epochs, history.losses = saved["epoch"], saved["losses"]
    history.validations = [(epoch, score) for epoch, score in saved["validations"]]
    if saved.get("best") is not None:
        score, epoch, *parameters = saved["best"]
        history.best = Best(score, epoch, tuple(parameters))
