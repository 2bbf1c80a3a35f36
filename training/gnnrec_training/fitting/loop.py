"""The training loop that fits every model: epochs, learning rate, validation, checkpoints."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from gnnrec_training.config import LoopConfig
from gnnrec_training.errors import TrainingDiverged
from gnnrec_training.evaluation.validation import Validate
from gnnrec_training.fitting.checkpoint import Checkpoint, NoCheckpoint, Saved
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

    def is_stale(self, patience: int) -> bool:
        """Tell whether `patience` validations have passed since the best one."""
        if patience == 0 or self.best is None:
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
        """Return copies of what would be published now, on the CPU."""

    def take(self, parameters: tuple[Tensor, ...]) -> None:
        """Put such copies into the model; no step is taken after that."""

    def state(self) -> Saved:
        """Return model, optimizer and random numbers: all that a later run needs to go on."""

    def restore(self, saved: Saved) -> None:
        """Go on from such a state."""


class Run:
    """A training that is advanced along its schedule, to the end or epoch by epoch.

    Where it stops on the way makes no difference: the learning rate follows the configured epochs,
    and a later `advance` goes on bit by bit as if there had been no stop.
    """

    def __init__(
        self,
        training: Training,
        config: LoopConfig,
        validate: Validate | None = None,
        checkpoint: Checkpoint | None = None,
        progress: Progress = lambda epochs, note: None,
    ) -> None:
        """Begin at the beginning, or at the checkpoint if there is one."""
        self.history = History()
        self._training, self._config, self._validate = training, config, validate
        self._checkpoint, self._progress = checkpoint or NoCheckpoint(), progress
        if (saved := self._checkpoint.load()) is not None:
            training.restore(saved)
            _restore(self.history, saved)

    def advance(self, epochs: int) -> None:
        """Train until `epochs` are done in all, or `patience` validations brought nothing better.

        epochs: at most those of the configuration. Raises TrainingDiverged as soon as a loss is
        not finite.
        """
        config, history = self._config, self.history
        if epochs > config.epochs:
            raise ValueError(f"the schedule has {config.epochs} epochs, not {epochs}")
        while history.epochs < epochs and not history.is_stale(config.patience):
            history.losses.append(_train_epoch(self._training, config, history, self._progress))
            history.epochs += 1
            if self._validate is not None and history.epochs % config.validate_every == 0:
                self._watch(self._validate)
            self._checkpoint.save(self._state, f"epoch {history.epochs}")
            self._progress(history.epochs, history.note())

    def score(self) -> float:
        """Return the validation score of what would be published now: with patience, the best.

        It is computed if the last epoch was not validated. Raises ValueError without a validation.
        """
        history = self.history
        if history.best is not None:
            return history.best.score
        if history.validations and history.validations[-1][0] == history.epochs:
            return history.validations[-1][1]
        if self._validate is None:
            raise ValueError("a training without a validation part has no score")
        return self._validate(self._training.embeddings())

    def finish(self) -> None:
        """End the training, with what is to be published in the model."""
        self._checkpoint.finish(self._state)
        best = self.history.best
        self._training.take(self._training.parameters() if best is None else best.parameters)

    def _watch(self, validate: Validate) -> None:
        """Validate, and keep the parameters if they are the best and patience asks for them."""
        history, score = self.history, validate(self._training.embeddings())
        history.validations.append((history.epochs, score))
        better = history.best is None or score > history.best.score
        if self._config.patience > 0 and better:
            history.best = Best(score, history.epochs, self._training.parameters())

    def _state(self) -> Saved:
        return _saved(self._training, self.history)


def train_epochs(
    training: Training,
    config: LoopConfig,
    validate: Validate | None,
    checkpoint: Checkpoint | None,
    progress: Progress,
    stop_after: int | None = None,
) -> History:
    """Train to the end, and leave in the model what is to be published.

    The end is that of the configured epochs, or comes after `patience` validations that brought
    nothing better; with `stop_after`, no later than after so many epochs of the same schedule. Goes
    on from the checkpoint if there is one, bit by bit as if it had never been stopped. Raises
    TrainingDiverged as soon as a loss is not finite.
    """
    run = Run(training, config, validate, checkpoint, progress)
    run.advance(config.epochs if stop_after is None else stop_after)
    run.finish()
    return run.history


def _train_epoch(
    training: Training, config: LoopConfig, history: History, progress: Progress
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


def learning_rate(config: LoopConfig, done: float) -> float:
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
